"""POST /model/predict: a picture in, a PNG four times as wide and high out."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, ClassVar

from flask import Response, request
from flask_restx import Resource
from werkzeug.datastructures import FileStorage

from api.client import watch_client
from api.errors import InvalidUpload
from api.service import Service, current_service, error_schema, model
from api.tracing import describe_work
from core.costs import memory_cost
from core.errors import InvalidDetail
from core.images import FORMAT_NAMES
from core.picture import Picture
from core.scheduler import Patience
from core.upscaler import FULL_DETAIL

FIELD = "image"
DETAIL_FIELD = "detail"
PARTS_BEFORE_A_ROW = 1  # of a PNG: its header
LONGEST_QUOTE = 40  # characters of a caller's text in an answer


class DocumentedDetail(float):
    """The type of `detail` for the OpenAPI document; `read_detail` reads it."""

    __schema__: ClassVar = {"type": "number", "minimum": 0, "maximum": FULL_DETAIL}


upload = model.parser()
upload.add_argument(
    FIELD,
    type=FileStorage,
    location="files",
    required=True,
    help=f"A {FORMAT_NAMES} file; the limits on its size are in /model/metadata.",
)

upload.add_argument(
    DETAIL_FIELD,
    type=DocumentedDetail,
    location="form",
    default=FULL_DETAIL,
    help="How much texture is made up, from 0 (faithful, soft) to 1 (photo-realistic).",
)

picture_schema = model.schema_model("Picture", {"type": "string", "format": "binary"})


@model.route("/predict")
class Predict(Resource):
    """The one thing the service does."""

    @model.doc("predict")
    @model.expect(upload)
    @model.produces(["image/png", "application/json"])
    @model.response(200, "PNG, four times as wide and high", picture_schema)
    @model.response(400, "No readable picture in `image`, or a wrong `detail`", error_schema)
    @model.response(413, "Picture or request over the limits", error_schema)
    @model.response(415, "A kind of picture that is not taken", error_schema)
    @model.response(503, "Too many pictures are waiting; Retry-After says when", error_schema)
    @model.response(504, "The picture was not finished in time", error_schema)
    @model.response(500, "A fault of the service; it is in the log", error_schema)
    def post(self) -> Response:
        """Make a picture four times as wide and high"""
        service = current_service()
        detail = read_detail()
        service.upscaler.check_detail(detail)
        with ExitStack() as stack:  # closed here if something fails, else with the answer
            work = begin_work(service, detail, stack)
            response = answer_whole(work) if work.is_short else answer_in_parts(work)
            response.call_on_close(stack.pop_all().close)
        return response


@dataclass
class Work:
    """A picture under way.

    Attributes:
        parts: of its PNG, made as they are asked for.
        tiles: that it is cut into.
        is_short: one row of tiles, so that nothing is ready before nearly all is.
        timings_ms: milliseconds by stage, as far as they are over.
    """

    lr: Picture
    detail: float
    parts: Iterator[bytes]
    tiles: int
    is_short: bool
    timings_ms: dict[str, float]


def begin_work(service: Service, detail: float, stack: ExitStack) -> Work:
    """Admit the picture of a request, decode it and begin to upscale it.

    Args:
        stack: closed when the answer has been sent, or nobody waits for it any more.
    """
    patience = Patience(time.monotonic() + service.deadline_s, watch_client(request.environ))
    timings_ms: dict[str, float] = {}
    file = read_upload()
    header = service.decoder.read_header(file, service.limits)
    rows = service.upscaler.plan(header.height, header.width)
    with stopwatch(timings_ms, "queue"):
        cost = memory_cost(header, rows, service.upscaler.scale)
        stack.enter_context(service.admission.admit(cost, patience))
    with stopwatch(timings_ms, "decode"):
        lr = service.decoder.decode(file, service.limits)
    parts = service.upscaler.encode(lr, detail=detail, patience=patience)
    stack.callback(parts.close)
    tiles = sum(len(row) for row in rows)
    return Work(lr, detail, parts, tiles, len(rows) == 1, timings_ms)


def answer_whole(work: Work) -> Response:
    """The answer with its length, and all timings."""
    with stopwatch(work.timings_ms, "upscale"):
        png = b"".join(work.parts)
    return send_png(work, png)


def answer_in_parts(work: Work) -> Response:
    """The answer as it is made; it begins when the first row of tiles is there.

    Until then, an error is still told by its status. Later, the connection is cut.
    """
    with stopwatch(work.timings_ms, "first"):
        first = b"".join(islice(work.parts, PARTS_BEFORE_A_ROW + 1))
    return send_png(work, chain([first], work.parts))


def send_png(work: Work, body: bytes | Iterable[bytes]) -> Response:
    describe_work(work.lr, work.tiles, work.detail, work.timings_ms)
    disposition = "inline; filename=result.png"
    return Response(body, mimetype="image/png", headers={"Content-Disposition": disposition})


def read_upload() -> IO[bytes]:
    """The one file in the field `image`; large ones are on disk.

    Raises:
        InvalidUpload: if there is none, more than one, or an empty one.
    """
    files = request.files.getlist(FIELD)
    if len(files) != 1:
        raise InvalidUpload(
            f"Request must be multipart/form-data with one file in the field `{FIELD}`. "
            f"Received: {describe_request(len(files))}."
        )
    file: IO[bytes] = files[0].stream
    if not file.read(1):
        raise InvalidUpload(
            f"The file in the field `{FIELD}` must be a picture. Received: 0 bytes."
        )
    file.seek(0)
    return file


def read_detail() -> float:
    """The number in the field `detail`; without one, all of it.

    Raises:
        InvalidDetail: if it is no number, or there are several.
    """
    texts = request.form.getlist(DETAIL_FIELD)
    if DETAIL_FIELD in request.files:
        raise InvalidDetail(f"`{DETAIL_FIELD}` must be a number. Received: a file.")
    if len(texts) > 1:
        raise InvalidDetail(f"`{DETAIL_FIELD}` must be one number. Received: {len(texts)} fields.")
    try:
        return float(texts[0]) if texts else FULL_DETAIL
    except ValueError:
        raise InvalidDetail(
            f"`{DETAIL_FIELD}` must be a number. Received: {texts[0][:LONGEST_QUOTE]!r}"
        ) from None


def describe_request(count: int) -> str:
    """What came instead of one file."""
    if count:
        return f"{count} files"
    if request.mimetype != "multipart/form-data":
        return f"Content-Type {request.mimetype!r}"
    if FIELD in request.form:
        return f"a text in the field `{FIELD}`"
    names = sorted(str(name) for name in {*request.files, *request.form})  # None without one
    return f"the fields {names}" if names else "no fields"


@contextmanager
def stopwatch(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note the milliseconds that the block takes."""
    started = time.perf_counter()
    yield
    timings_ms[stage] = 1000 * (time.perf_counter() - started)
