"""The server of a trial: the page, the pictures of the next question, and the answers.

A browser learns nothing that tells outputs apart: addresses count questions, versions of a
picture have equal numbers of bytes, and the server never opens the key of the trial.
"""

import math
import sqlite3
import sys
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from training.opinion.answers import (
    AnsweredAlready,
    AnswerStore,
    Conditions,
    TrialFull,
    UnknownRater,
)
from training.opinion.trial import ANSWERS_FILE, picture_path, read_trial

PAGE = Path(__file__).parent / "page"
STYLE = Path(__file__).parents[2] / "web"  # the page of the service: same colours, same controls
FILES = {
    "": (PAGE / "index.html", "text/html"),
    "main.js": (PAGE / "main.js", "text/javascript"),
    "requests.js": (PAGE / "requests.js", "text/javascript"),
    "picture.js": (PAGE / "picture.js", "text/javascript"),
    "trial.css": (PAGE / "trial.css", "text/css"),
    "page.css": (STYLE / "page.css", "text/css"),
    "dom.js": (STYLE / "dom.js", "text/javascript"),
    "mark.svg": (STYLE / "mark.svg", "image/svg+xml"),
}

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

CODE_HEADER = "X-Rater-Code"
MAX_BODY_BYTES = 4096
AHEAD = 1  # number of questions whose pictures may be loaded before the next one is answered

CHOICES = {
    "screen": ("phone", "tablet", "laptop", "monitor", "television"),
    "distance": ("up to 30 cm", "30 to 60 cm", "60 to 100 cm", "over 100 cm"),
    "light": ("dark", "lamps", "daylight"),
}
"""Viewing conditions that a rater chooses from."""

MAX_DURATION_MS = 24 * 60 * 60 * 1000
PIXEL_RATIOS = (0.1, 20.0)  # least and greatest, of any screen and zoom


def create_app(folder: Path) -> Flask:
    """Return the application for a trial. Its `extensions["answers"]` must be closed.

    Raises:
        CommandFailed: if the folder holds no trial.
    """
    trial = read_trial(folder)
    answers = AnswerStore(folder / ANSWERS_FILE)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.extensions["answers"] = answers

    @app.get("/", defaults={"name": ""})
    @app.get("/<name>")
    def get_file(name: str) -> Response:
        if name not in FILES:
            abort(404)
        path, media_type = FILES[name]
        return Response(path.read_bytes(), content_type=f"{media_type}; charset=utf-8")

    @app.get("/api/trial")
    def get_trial() -> Response:
        return jsonify(
            design=trial.design,
            consent=trial.consent,
            height=trial.height,
            width=trial.width,
            questions=trial.question_count,
            examples=[example.answer for example in trial.examples],
            choices=CHOICES,
        )

    @app.get("/api/examples/<int:index>/<int:part>")
    def get_example(index: int, part: int) -> Response:
        if index >= len(trial.examples):
            abort(404)
        return send_picture(trial.examples[index].shown, part)

    @app.post("/api/raters")
    def enrol() -> tuple[Response, int]:
        fields = read_fields()
        if fields.get("consent") is not True:
            refuse("consent", "true", fields)
        chosen = {}
        for name, choices in CHOICES.items():
            if fields.get(name) not in choices:
                refuse(name, f"one of {', '.join(choices)}", fields)
            chosen[name] = fields[name]
        code = answers.enrol(Conditions(**chosen), len(trial.orders))
        return jsonify(code=code), 201

    @app.get("/api/rater")
    def get_rater() -> Response:
        _, question = answers.find(read_code())
        return jsonify(question=question)

    @app.delete("/api/rater")
    def withdraw() -> tuple[str, int]:
        answers.withdraw(read_code())
        return "", 204

    @app.get("/api/questions/<int:question>/<int:part>")
    def get_picture(question: int, part: int) -> Response:
        rater, expected = answers.find(read_code())
        order = trial.orders[rater]
        if question >= len(order) or not expected <= question <= expected + AHEAD:
            abort(404, "Only pictures of the next questions can be loaded.")
        return send_picture(order[question], part)

    @app.put("/api/answers/<int:question>")
    def put_answer(question: int) -> Response:
        code, fields = read_code(), read_fields()
        if question >= trial.question_count:
            abort(404, f"There are {trial.question_count} questions. Received: {question}.")
        value, duration = fields.get("value"), fields.get("duration_ms")
        if not is_whole(value) or value not in trial.design.values:
            refuse("value", f"one of {', '.join(map(str, trial.design.values))}", fields)
        if not is_whole(duration) or not 0 <= duration <= MAX_DURATION_MS:
            refuse("duration_ms", f"a whole number from 0 to {MAX_DURATION_MS}", fields)
        ratio = fields.get("pixel_ratio")
        least, greatest = PIXEL_RATIOS
        if not is_number(ratio) or not least <= ratio <= greatest:
            refuse("pixel_ratio", f"a number from {least} to {greatest}", fields)
        answers.add(code, question, value, duration, float(ratio))
        return jsonify(question=answers.find(code)[1])

    def send_picture(shown: tuple[str, ...], part: int) -> Response:
        if part >= len(shown):
            abort(404)
        return Response(picture_path(folder, shown[part]).read_bytes(), content_type="image/png")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def answer_http(error: HTTPException) -> tuple[Response, int]:
        return jsonify(message=error.description), error.code or 500

    @app.errorhandler(sqlite3.OperationalError)
    def answer_unstored(error: sqlite3.OperationalError) -> tuple[Response, int]:
        app.logger.error("An answer was not stored: %s", error)
        message = "The answer could not be stored. Try again in a moment."
        return jsonify(message=message), HTTPStatus.SERVICE_UNAVAILABLE

    @app.errorhandler(TrialFull)
    def answer_full(_error: TrialFull) -> tuple[Response, int]:
        count = len(trial.orders)
        return jsonify(message=f"All {count} places of this trial are taken."), HTTPStatus.CONFLICT

    @app.errorhandler(UnknownRater)
    def answer_unknown(_error: UnknownRater) -> tuple[Response, int]:
        return jsonify(message="No rater has this code."), HTTPStatus.UNAUTHORIZED

    @app.errorhandler(AnsweredAlready)
    def answer_again(_error: AnsweredAlready) -> tuple[Response, int]:
        message = "Another question is next; this one was answered, perhaps in another tab."
        return jsonify(message=message), HTTPStatus.CONFLICT

    return app


def read_code() -> str:
    """Return the code of the request, as it is stored."""
    return request.headers.get(CODE_HEADER, "").replace("-", "").upper()


def read_fields() -> dict[str, object]:
    """Return the JSON object of the request; 400 or 415 if there is none."""
    try:
        fields = request.get_json()
    except (BadRequest, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        abort(400, "The body must be a JSON object.")
    return fields


def refuse(name: str, expected: str, fields: dict[str, object]) -> None:
    """Answer 400 because of a field."""
    received = repr(fields[name])[:100] if name in fields else "nothing"
    abort(400, f"{name} must be {expected}. Received: {received}.")


def is_whole(value: object) -> bool:
    """Return whether a value of JSON is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a finite number."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


class SilentHandler(WSGIRequestHandler):
    """Answers requests without a log of them, and without addresses of raters in messages."""

    def log_request(self, *_code_and_size: object) -> None:
        """Log nothing."""

    def address_string(self) -> str:
        """Return what messages about broken requests state instead of an address."""
        return "a rater"


def serve(folder: Path, host: str, port: int) -> None:
    """Serve a trial until the process is interrupted, and print where.

    Args:
        folder: of the trial.
        host: address to listen at.
        port: TCP port.
    """
    app = create_app(folder)
    try:
        server = make_server(host, port, app, threaded=True, request_handler=SilentHandler)
        sys.stdout.write(f"http://{host}:{port}/ (Ctrl+C ends it)\n")
        sys.stdout.flush()
        server.serve_forever()
    finally:
        app.extensions["answers"].close()
