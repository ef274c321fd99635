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
from core.images import FORMAT_NAMES, decode_image, encode_png

FIELD = "image"

upload = model.parser()
upload.add_argument(
    FIELD,
    type=FileStorage,
    location="files",
    required=True,
    help=f"A {FORMAT_NAMES} file; the limits on its size are in /model/metadata.",
)

picture_schema = model.schema_model("Picture", {"type": "string", "format": "binary"})


@model.route("/predict")
class Predict(Resource):
    """The one thing the service does."""

    @model.doc("predict")
    @model.expect(upload)
    @model.produces(["image/png"])
    @model.response(200, "PNG, four times as wide and high", picture_schema)
    @model.response(400, "No readable picture in the field `image`", error_schema)
    @model.response(413, "Picture or request over the limits", error_schema)
    @model.response(415, "A kind of picture that is not taken", error_schema)
    @model.response(500, "A fault of the service; it is in the log", error_schema)
    def post(self) -> Response:
        """Make a picture four times as wide and high"""
        service = current_service()
        timings_ms: dict[str, float] = {}
        with stopwatch(timings_ms, "decode"):
            lr = decode_image(read_upload(), service.limits)
        upscaled = service.upscaler.upscale_picture(lr)
        timings_ms["inference"] = upscaled.inference_ms
        with stopwatch(timings_ms, "encode"):
            png = encode_png(upscaled.picture)
        describe_work(lr, upscaled, timings_ms)
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
