"""POST /model/predict: a picture in, one four times as wide and high out."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice

from flask import Response, g, request
from flask_restx import Resource
from werkzeug.datastructures import FileStorage

from api.context import ServiceContext, current_service, error_schema, model
from api.forms import MEDIA_TYPES, add_wishes, read_upload, read_wish
from api.observability.tracing import PictureFacts, describe
from api.responses import accepted, add_key, job_schema, prefers_job
from api.routes.progress import RequestProgress, current_errands
from api.server.connection import watch_client
from core.images import FORMAT_NAMES, check_output_size
from core.media.medium import OutputOptions
from core.media.render import PictureAnswer, PictureOptions
from core.picture import Picture
from core.runtime.admission import MemoryPlan
from core.runtime.scheduler import RequestDeadline

FIELD = "image"
PARTS_BEFORE_A_ROW = 1  # of a PNG: its header
WITHOUT_ALPHA = ("jpeg",)
FLATTENED = "flattened on white"

upload = model.parser()
upload.add_argument(
    FIELD,
    type=FileStorage,
    location="files",
    required=True,
    help=f"A {FORMAT_NAMES} file; the limits on its size are in /model/metadata.",
)
add_wishes(upload)
upload.add_argument(
    "Prefer", location="headers", help="`respond-async` to be answered with a job at once."
)
add_key(upload)

picture_schema = model.schema_model("Picture", {"type": "string", "format": "binary"})


@model.route("/predict")
class PredictRoute(Resource):
    """The one thing the service does."""

    @model.doc("predict")
    @model.expect(upload)
    @model.produces([*MEDIA_TYPES.values(), "application/json"])
    @model.response(200, "The picture, four times as wide and high", picture_schema)
    @model.response(202, "A job, where `Prefer: respond-async` asked for one", job_schema)
    @model.response(400, "No readable picture in `image`, or a wrong field", error_schema)
    @model.response(401, "No key, or a wrong one, where keys are set", error_schema)
    @model.response(408, "The request did not arrive in time", error_schema)
    @model.response(413, "Picture or request over the limits", error_schema)
    @model.response(415, "A kind of picture that is not taken", error_schema)
    @model.response(422, "The idempotency key came with another picture before", error_schema)
    @model.response(429, "Too many requests; Retry-After says when", error_schema)
    @model.response(507, "No room for the files of a job", error_schema)
    @model.response(503, "Too many pictures are waiting; Retry-After says when", error_schema)
    @model.response(504, "The picture was not finished in time", error_schema)
    @model.response(500, "A fault of the service; it is in the log", error_schema)
    def post(self) -> Response:
        """Make a picture four times as wide and high"""
        service = current_service()
        wish = read_wish(has_note=service.has_note)
        service.upscaler.check_detail(wish.detail)
        if service.jobs is not None and prefers_job():
            return accepted(read_upload(FIELD), clip_wish_of(wish), is_preferred=True)
        with ExitStack() as stack:  # closed here if something fails, else with the answer
            work = begin_work(service, wish, stack)
            response = answer_whole(work) if work.plan.is_whole else answer_in_parts(work)
            response.call_on_close(stack.pop_all().close)
        return response


def clip_wish_of(wish: PictureOptions) -> OutputOptions:
    """The same wish, to a job."""
    return OutputOptions(
        format=wish.format,
        quality=wish.quality,
        detail=wish.detail,
        has_note=wish.has_note,
        keeps_profile=wish.keeps_profile,
        keeps_metadata=wish.keeps_metadata,
    )


@dataclass
class PredictRequest:
    """A picture under way.

    Attributes:
        parts: of its file, made as they are asked for.
        plan: how it is made.
        timings_ms: milliseconds by stage, as far as they are over.
    """

    lr: Picture
    wish: PictureOptions
    rendering: PictureAnswer
    parts: Iterator[bytes]
    plan: MemoryPlan
    timings_ms: dict[str, float]


def begin_work(service: ServiceContext, wish: PictureOptions, stack: ExitStack) -> PredictRequest:
    """Admit the picture of a request, decode it and begin to upscale it.

    Args:
        stack: closed when the answer has been sent, or nobody waits for it any more.
    """
    patience = RequestDeadline(time.monotonic() + service.deadline_s, watch_client(request.environ))
    timings_ms: dict[str, float] = {}
    file = read_upload(FIELD).stream
    header = service.decoder.read_header(file, service.limits)
    scale = service.upscaler.scale
    check_output_size(wish.format, scale * header.height, scale * header.width)
    plan = MemoryPlan(
        header, service.upscaler.plan(header.height, header.width), wish.format, scale
    )
    errand = RequestProgress(patience)
    stack.enter_context(current_errands().noted(g.trace.request_id, errand))
    with stopwatch(timings_ms, "queue"):
        stack.enter_context(service.admission.admit(plan.memory_bytes, patience))
    with stopwatch(timings_ms, "decode"):
        lr = service.decoder.decode(file, service.limits)
    errand.tiles_total = plan.tiles
    rendering = PictureAnswer(service.upscaler, lr, wish, progress=errand.tell, patience=patience)
    parts = rendering.parts()
    stack.callback(parts.close)
    return PredictRequest(lr, wish, rendering, parts, plan, timings_ms)


def answer_whole(work: PredictRequest) -> Response:
    """The answer with its length, all timings, and what it was found to be."""
    with stopwatch(work.timings_ms, "upscale"):
        body = b"".join(work.parts)
    response = send(work, body)
    response.headers["X-Consistency-PSNR"] = f"{work.rendering.consistency.psnr_db:.2f}"
    return response


def answer_in_parts(work: PredictRequest) -> Response:
    """The answer as it is made; it begins when the first row of tiles is there.

    Until then, an error is still told by its status. Later, the connection is cut.
    """
    with stopwatch(work.timings_ms, "first"):
        first = b"".join(islice(work.parts, PARTS_BEFORE_A_ROW + 1))
    return send(work, chain([first], work.parts))


def describe_work(work: PredictRequest) -> None:
    """Note the work for the headers of its answer, the log and the metrics."""
    facts = PictureFacts(
        lr=work.lr,
        frames=work.plan.header.frames,
        tiles=work.plan.tiles,
        detail=work.wish.detail,
        consistency=work.rendering.consistency,
    )
    describe(facts, work.timings_ms)


def send(work: PredictRequest, body: bytes | Iterable[bytes]) -> Response:
    describe_work(work)
    name = work.wish.format
    headers = {"Content-Disposition": f"inline; filename=result.{name}"}
    if work.lr.alpha is not None and name in WITHOUT_ALPHA:
        headers["X-Alpha"] = FLATTENED
    return Response(body, mimetype=MEDIA_TYPES[name], headers=headers)


@contextmanager
def stopwatch(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    """Note the milliseconds that the block takes."""
    started = time.perf_counter()
    yield
    timings_ms[stage] = 1000 * (time.perf_counter() - started)
