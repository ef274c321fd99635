import io
import json
import logging
import logging.config

import pytest

from api.observability.logs import logging_config
from tests.support.stand_ins import noise

FORGED = '/a\nERROR forged\r\x1b[2K\x85\u2028{"level": "ERROR"}'


@pytest.fixture
def lines(monkeypatch):
    """Return the lines that are logged in a format while a function runs."""

    def lines(log_format, action, level="info"):
        names = (None, "gunicorn.error")
        kept = {n: (logging.getLogger(n).handlers[:], logging.getLogger(n).level) for n in names}
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        # Configuring closes every handler there is, those of other libraries' streams included.
        monkeypatch.setattr(logging, "_handlerList", [])
        monkeypatch.setattr(logging, "_handlers", {})
        logging.config.dictConfig(logging_config(log_format, level))
        try:
            action()
        finally:
            for name, (handlers, old_level) in kept.items():
                logger = logging.getLogger(name)
                logger.handlers[:], logger.filters[:] = handlers, []
                logger.setLevel(old_level)
        return stream.getvalue().splitlines()

    return lines


def forge():
    logging.getLogger("enhancer").info("GET %s", FORGED, extra={"path": FORGED})


def test_json_has_one_object_per_line_for_any_path(lines):
    (line,) = lines("json", forge)
    record = json.loads(line)
    assert record["message"] == f"GET {FORGED}"
    assert record["path"] == FORGED
    assert (record["level"], record["logger"]) == ("INFO", "enhancer")
    assert record["time"].startswith("20")
    assert record["time"].endswith("+00:00")


def test_text_has_one_line_per_record_for_any_path(lines):
    (line,) = lines("text", forge)
    assert r"GET /a\nERROR forged\r\x1b[2K" in line
    assert "INFO enhancer: GET" in line
    assert " path='/a" in line


def fail():
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        logging.getLogger("enhancer").exception("Request failed")


def test_a_traceback_is_inside_the_json_object(lines):
    (line,) = lines("json", fail)
    assert "ValueError: one\ntwo" in json.loads(line)["exc_info"]


def test_a_traceback_is_indented_in_text(lines):
    first, *others = lines("text", fail)
    assert first.endswith("Request failed")
    assert others
    assert all(line.startswith("    ") for line in others)


def test_records_of_a_request_carry_its_id(lines, app):
    app.add_url_rule("/fault", view_func=lambda: 1 / 0)
    answers = []
    logged = lines("json", lambda: answers.append(app.test_client().get("/fault", buffered=True)))
    ids = {json.loads(line)["request_id"] for line in logged}
    assert ids == {answers[0].headers["X-Request-Id"]}
    assert len(logged) == 2


def test_the_log_of_a_picture_has_numbers_but_no_content(lines, post, encode):
    (line,) = lines("json", lambda: post(encode(noise(9, 8)), buffered=True))
    record = json.loads(line)
    assert record["logger"] == "enhancer.requests"
    assert record["status"] == 200
    assert record["input_size"] == "8x9"
    assert "PNG" not in line


def test_gunicorn_logs_in_the_same_format_without_query_strings(lines):
    def complain():
        logging.getLogger("gunicorn.error").error("Error handling request %s", "/a?key=secret")

    (line,) = lines("json", complain)
    assert json.loads(line)["message"] == "Error handling request /a?..."


@pytest.mark.parametrize(("level", "count"), [("debug", 2), ("info", 1), ("error", 0)])
def test_records_below_the_level_are_dropped(lines, level, count):
    def log():
        logging.getLogger("enhancer").debug("details")
        logging.getLogger("enhancer").info("news")

    assert len(lines("json", log, level)) == count
