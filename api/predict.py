"""POST /model/predict: a picture in, a PNG four times as wide and high out."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response, request, send_file
from flask_restx import Resource
from werkzeug.datastructures import FileStorage

from api.errors import InvalidUpload
from api.service import current_service, error_schema, model
from api.tracing import describe_work
from core.errors import InvalidDetail
from core.images import FORMAT_NAMES, decode_image, encode_png
from core.upscaler import FULL_DETAIL

FIELD = "image"
DETAIL_FIELD = "detail"
LONGEST_QUOTE = 40  # characters of a caller's text in an answer

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
    type=float,
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
    @model.produces(["image/png"])
    @model.response(200, "PNG, four times as wide and high", picture_schema)
    @model.response(400, "No readable picture in `image`, or a wrong `detail`", error_schema)
    @model.response(413, "Picture or request over the limits", error_schema)
    @model.response(415, "A kind of picture that is not taken", error_schema)
    @model.response(500, "A fault of the service; it is in the log", error_schema)
    def post(self) -> Response:
        """Make a picture four times as wide and high"""
        service = current_service()
        timings_ms: dict[str, float] = {}
        detail = read_detail()
        service.upscaler.check_detail(detail)
        with stopwatch(timings_ms, "decode"):
            lr = decode_image(read_upload(), service.limits)
        upscaled = service.upscaler.upscale_picture(lr, detail=detail)
        timings_ms["inference"] = upscaled.inference_ms
        with stopwatch(timings_ms, "encode"):
            png = encode_png(upscaled.picture)
        describe_work(lr, upscaled, detail, timings_ms)
        return send_file(io.BytesIO(png), "image/png", download_name="result.png")


def read_upload() -> bytes:
    """The bytes of the one file in the field `image`.

    Raises:
        InvalidUpload: if there is none, more than one, or an empty one.
    """
    files = request.files.getlist(FIELD)
    if len(files) != 1:
        raise InvalidUpload(
            f"Request must be multipart/form-data with one file in the field `{FIELD}`. "
            f"Received: {describe_request(len(files))}."
        )
    data: bytes = files[0].read()
    if not data:
        raise InvalidUpload(
            f"The file in the field `{FIELD}` must be a picture. Received: 0 bytes."
        )
    return data


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
    names = sorted({*request.files, *request.form})
    return f"the fields {names}" if names else "no fields"


@contextmanager
def stopwatch(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note the milliseconds that the block takes."""
    started = time.perf_counter()
    yield
    timings_ms[stage] = 1000 * (time.perf_counter() - started)
