"""POST /model/predict: upscale one picture and answer with it."""

import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import IO

from flask import Response, g, request
from flask_restx import Resource
from flask_restx.reqparse import RequestParser
from werkzeug.datastructures import FileStorage

from api.context import ServiceContext, current_service, error_schema, model
from api.forms import MEDIA_TYPES, document_options, read_picture_options, read_upload
from api.observability.tracing import PictureFacts, StageTimes, trace_picture
from api.responses import document_idempotency_key, job_accepted, job_schema, prefers_job
from api.routes.progress import RequestProgress, current_registry
from api.server.connection import watch_client
from core.errors import ImageTooLarge
from core.images import FORMAT_NAMES, check_output_size
from core.media.render import PictureEncoder
from core.model.card import ModelCard
from core.model.passes import ResultPlan
from core.model.upscaler import Upscaler
from core.options import AUTO, PICTURE_OPTIONS, OutputOptions
from core.picture import Picture
from core.pixels import PixelArray
from core.runtime.memory_plan import MemoryPlan
from core.runtime.tile_tasks import RequestDeadline

FIELD = "image"

WITHOUT_ALPHA = ("jpeg",)
"""Output formats that cannot hold transparency."""

TIME_MARGIN = 1.25
"""Multiple of the deadline up to which a picture is tried: rates are estimates."""

FLATTENED = "flattened on white"
"""Value of the header that says what became of transparency in such a format."""


def document_picture(parser: RequestParser) -> None:
    """Add the file and the options of a picture to a parser that documents a route."""
    parser.add_argument(
        FIELD,
        type=FileStorage,
        location="files",
        required=True,
        help=f"A {FORMAT_NAMES} file. /model/metadata states the limits on its size.",
    )
    document_options(parser, PICTURE_OPTIONS)


upload = model.parser()
document_picture(upload)
upload.add_argument(
    "Prefer", location="headers", help="`respond-async` asks for a job instead of the picture."
)
document_idempotency_key(upload)

picture_schema = model.schema_model("Picture", {"type": "string", "format": "binary"})


@model.route("/predict")
class PredictRoute(Resource):
    """Route that upscales a picture."""

    @model.doc("predict")
    @model.expect(upload)
    @model.produces([*MEDIA_TYPES.values(), "application/json"])
    @model.response(200, "SR picture, by default four times as wide and high", picture_schema)
    @model.response(202, "Job, if `Prefer: respond-async` asked for one", job_schema)
    @model.response(400, "No readable picture in `image`, or a wrong field", error_schema)
    @model.response(401, "Missing or wrong key, if the service has keys", error_schema)
    @model.response(408, "The request did not arrive in time", error_schema)
    @model.response(413, "Picture or request over a limit", error_schema)
    @model.response(415, "Unsupported kind of picture", error_schema)
    @model.response(422, "Idempotency key of another picture", error_schema)
    @model.response(429, "Too many requests; Retry-After says when to retry", error_schema)
    @model.response(507, "No disk space for the files of a job", error_schema)
    @model.response(503, "Busy, or the model is unavailable; Retry-After says when", error_schema)
    @model.response(504, "The picture was not finished in time", error_schema)
    @model.response(500, "Internal error, which is in the log", error_schema)
    def post(self) -> Response:
        """Upscale a picture, by default to four times its width and height."""
        service = current_service()
        options = read_picture_options(has_note=service.has_note, restore=service.default_restore)
        service.models.check(options)
        if service.jobs is not None and prefers_job():
            return job_accepted(read_upload(FIELD), options, is_preferred=True)
        with ExitStack() as stack:  # closed here if something fails, else after the response
            prepared = prepare(service, options, stack)
            respond = respond_whole if prepared.plan.is_whole else respond_streaming
            response = respond(prepared, stack)
            response.call_on_close(stack.pop_all().close)
        return response


@dataclass
class PreparedRequest:
    """An admitted request whose picture is decoded.

    Attributes:
        card: of the model.
        lr: whole LR picture, before it is cropped.
        options: options of the SR picture.
        plan: tiles and memory of the picture.
        tiles: number of tiles of all passes, those of the restorer included.
        strength: how strongly the picture is restored, in [0, 1].
        strips: rows of the SR picture. Consuming them runs the network.
        encoder: encoder of the SR picture.
        times: of the stages.
    """

    card: ModelCard
    lr: Picture
    options: OutputOptions
    plan: MemoryPlan
    tiles: int
    strength: float
    strips: Generator[PixelArray]
    encoder: PictureEncoder
    times: StageTimes


def prepare(service: ServiceContext, options: OutputOptions, stack: ExitStack) -> PreparedRequest:
    """Admit the picture of the request and decode it. Nothing is upscaled yet.

    Args:
        service: service that answers.
        options: options of the SR picture.
        stack: closed when the response is sent, or when nobody waits for it any more.
    """
    deadline = RequestDeadline(time.monotonic() + service.deadline_s, watch_client(request.environ))
    chosen = service.models.find(options.model)
    upscaler = chosen.upscaler
    times = StageTimes(upscaler.scheduler.clock)
    file = read_upload(FIELD).stream
    plan = plan_picture(service, file, options)
    result = plan.result
    if options.restore == AUTO:  # the pixels decide
        result = upscaler.plan_result(plan.grid, is_restored=False)
    check_time(service, upscaler, result)
    progress = RequestProgress(deadline)
    stack.enter_context(current_registry().registered(g.trace.request_id, progress))
    with times.measure("queue"):
        stack.enter_context(chosen.admit(service.admission, plan.memory_bytes, deadline))
    with times.measure("decode"):
        lr = service.decoder.decode(file, service.limits, plan.header)
        strength = upscaler.choose_strength(lr, options.restore)  # the same for every crop
        shown = plan.grid.crop(lr)
    restoration = upscaler.restoration(shown, strength)
    if restoration is not None:
        result = plan.result
        check_time(service, upscaler, result)
    progress.tiles_total = result.tiles
    strips = upscaler.strips(
        shown,
        progress.update,
        grid=plan.grid,
        detail=options.detail,
        restoration=restoration,
        deadline=deadline,
        on_wait=times.wait,
    )
    encoder = PictureEncoder(shown, options, plan.grid, restoration=restoration)
    return PreparedRequest(
        upscaler.card, lr, options, plan, result.tiles, strength, strips, encoder, times
    )


def plan_picture(service: ServiceContext, file: IO[bytes], options: OutputOptions) -> MemoryPlan:
    """Return what upscaling a picture takes, from its header alone.

    Raises:
        InvalidOptions: if the size is not one that can be computed from the picture.
        ImageTooLarge: if the SR picture has too many pixels, also for the output format.
    """
    header = service.decoder.read_header(file, service.limits)
    upscaler = service.models.find(options.model).upscaler
    grid = upscaler.grid(options, header.height, header.width)
    service.limits.check_output(grid.height, grid.width, (header.height, header.width))
    check_output_size(options.picture_format, grid.height, grid.width)
    result = upscaler.plan_result(grid, is_restored=options.restore != 0)
    restoring_bytes = upscaler.restoring_bytes(result)
    return MemoryPlan(header, result, options.picture_format, restoring_bytes)


def check_time(service: ServiceContext, upscaler: Upscaler, result: ResultPlan) -> None:
    """Raise ImageTooLarge if a picture would certainly miss the deadline.

    The highest rate so far counts. Nothing is refused before a rate was measured.
    """
    seconds = upscaler.rate.least_seconds(upscaler.work(result))
    if not seconds or seconds <= TIME_MARGIN * service.deadline_s:
        return
    advice = "" if service.jobs is None else " A job (`Prefer: respond-async`) has no deadline."
    raise ImageTooLarge(
        f"Image must be computed within {service.deadline_s} s. Received: one that takes about "
        f"{seconds:.0f} s at this size. A smaller picture takes less.{advice}"
    )


def respond_whole(prepared: PreparedRequest, _stack: ExitStack) -> Response:
    """Upscale the picture, then respond with its length, all timings and its consistency."""
    with prepared.times.measure("upscale"):
        body = prepared.encoder.encode(prepared.strips)
    response = make_response(prepared, body)
    response.headers["X-Consistency-PSNR"] = f"{prepared.encoder.consistency.psnr_db:.2f}"
    return response


def respond_streaming(prepared: PreparedRequest, stack: ExitStack) -> Response:
    """Respond as soon as the first row of tiles is upscaled; the rest follows as it is made.

    Errors before the first part become a status. Later errors cut the connection.
    """
    parts = prepared.encoder.stream(prepared.strips)
    stack.callback(parts.close)
    with prepared.times.measure("first"):
        first = next(parts)
    return make_response(prepared, chain([first], parts))


def make_response(prepared: PreparedRequest, body: bytes | Iterable[bytes]) -> Response:
    """Return the response with its headers, and pass the facts on to log and metrics."""
    facts = PictureFacts(
        card=prepared.card,
        lr=prepared.lr,
        grid=prepared.plan.grid,
        frames=prepared.plan.header.frames,
        tiles=prepared.tiles,
        detail=prepared.options.detail,
        restore=prepared.options.restore,
        strength=prepared.strength,
        is_suspected=prepared.encoder.is_suspected,
        consistency=prepared.encoder.consistency,
    )
    trace_picture(facts, prepared.times)
    name = prepared.options.picture_format
    headers = {"Content-Disposition": f"inline; filename=result.{name}"}
    if prepared.lr.alpha is not None and name in WITHOUT_ALPHA:
        headers["X-Alpha"] = FLATTENED
    return Response(body, mimetype=MEDIA_TYPES[name], headers=headers)
