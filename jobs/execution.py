"""What every engine needs of the service: it opens files, and upscales their frames.

Frames of jobs share the network and the memory budget with pictures. Pictures go first, apart from
the share of jobs (`core.runtime.share`).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from core.errors import InvalidModel
from core.media.media_archive import MediaArchive
from core.media.medium import (
    PICTURES,
    PLAN_VERSION,
    WARM_UP,
    ClipLimits,
    Medium,
    Segment,
    clip_strength,
    is_of_clip,
)
from core.media.pictures import PictureFile, keep_picture_options
from core.media.render import Consistency, PictureEncoder
from core.model.grid import OutputGrid
from core.model.registry import ModelRegistry, ServedModel
from core.model.restorer import Restoration
from core.model.upscaler import Upscaler, assemble
from core.options import AUTO, OutputOptions
from core.picture import Header, Picture
from core.pixels import PixelArray
from core.runtime.admission import Admission
from core.runtime.memory_plan import MemoryPlan
from core.runtime.tile_tasks import RequestDeadline
from core.temporal.coherence import MAX_CACHE_BYTES
from core.temporal.fusion import fusion_bytes
from core.video import even_size
from jobs.job import JobResult, result_name

UNSTREAMED = "whole"
"""Output format for `MemoryPlan` that is encoded in one piece, when the frame is complete."""

OpenMedium = Callable[[Path, ClipLimits, OutputOptions, int], Medium]
"""Opens a file and decides how to process it, given the scale of the network; reads as little of
the file as possible.

Raises what `core.errors` has for files and options; the messages are for the file's owner. Opening
the same file with the same options must give the same medium in every process: the same segments,
and the same bytes for each of them.
"""


class JobEstimate(NamedTuple):
    """What a job takes.

    Attributes:
        medium: the opened file.
        grid: pixels of the largest result.
        tiles: number of tiles of all frames.
        work: their work for the scheduler.
        memory_bytes: memory that one frame takes at most.
    """

    medium: Medium
    grid: OutputGrid
    tiles: int
    work: int
    memory_bytes: int

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the largest result; even in a video."""
        size = self.grid.height, self.grid.width
        return even_size(*size) if self.medium.mimetype.startswith("video/") else size


@dataclass(frozen=True)
class JobContext:
    """The parts of the service that engines and workers use.

    Attributes:
        models: of the service.
        admission: memory budget of the service.
        open_medium: see `OpenMedium`.
        limits: of uploaded media.
        expiry_s: seconds that a job is kept after it has ended.
    """

    models: ModelRegistry
    admission: Admission
    open_medium: OpenMedium
    limits: ClipLimits
    expiry_s: float

    @property
    def upscaler(self) -> Upscaler:
        """Upscaler of the default model."""
        return self.models.default.upscaler

    def model_id(self, options: OutputOptions) -> str:
        """Return names, versions and digests of the networks, and the version of the division.

        Only segments of the same id fit together. Where the model is not here any more, it is its
        name alone.
        """
        try:
            cards = self.models.find(options.model).upscaler.cards
        except InvalidModel:
            return str(options.model)
        plan = f"plan {PLAN_VERSION}"
        return " ".join([*(f"{card.name} {card.version} {card.sha256}" for card in cards), plan])

    def has_model(self, options: OutputOptions) -> bool:
        """Return whether the model of the options is here, and can be served."""
        try:
            self.models.find(options.model)
        except InvalidModel:
            return False
        return True

    def open(self, path: Path, options: OutputOptions) -> Medium:
        """Open the medium in a file.

        Raises:
            InvalidModel: if the model of the options is not here, or not any more.
            SuperResolutionError: as `OpenMedium` does.
        """
        scale = self.models.find(options.model).upscaler.scale
        return self.open_medium(path, self.limits, options, scale)

    def open_admissible(self, path: Path, options: OutputOptions) -> Medium:
        """Open the medium in an uploaded file, and check that its frames fit into memory.

        Pictures of an archive that get a wanted size are checked when they are upscaled: their
        factors differ.

        Raises:
            TooMuchMemory: if a frame needs more than the whole memory budget.
            SuperResolutionError: for the file, like `open`.
        """
        medium = self.open(path, options)
        header = Header(medium.height, medium.width, channels=4)  # the most that a frame has
        if isinstance(medium, PictureFile):
            header = medium.header
        is_clip = medium.kind != PICTURES
        if is_clip or medium.frames == 1 or not options.has_size:
            model = self.models.find(options.model)
            cost = frame_bytes(model.upscaler, header, options, is_clip=is_clip)
            model.check(self.admission, cost)
        return medium

    def estimate(self, medium: Medium, options: OutputOptions) -> JobEstimate:
        """Return what the frames of a medium take.

        Where the condition of a picture decides whether it is restored, restoring counts.
        """
        upscaler = self.models.find(options.model).upscaler
        tiles = work = memory_bytes = 0
        grids = []
        counted = count_computed(medium, is_coherent=options.is_coherent)
        for (header, is_clip), frames in counted.items():
            of_frame = options if is_clip else keep_picture_options(options)
            plan = plan_frame(upscaler, header, of_frame, is_clip=is_clip)
            tiles += frames * plan.result.tiles
            work += frames * upscaler.work(plan.result)
            memory_bytes = max(memory_bytes, plan_bytes(plan, is_clip=is_clip))
            grids.append(plan.grid)  # not the plans: thousands of tiles for each picture
        largest = max(grids, key=lambda grid: grid.height * grid.width)
        return JobEstimate(medium, largest, tiles, work, memory_bytes)

    def decide(self, medium: Medium, options: OutputOptions) -> OutputOptions:
        """Return the options with the strength at which all frames of a clip are restored.

        It is stored with the job. So every process that computes frames uses the same one.
        """
        restore = options.restore
        if restore != AUTO:
            return replace(options, strength=float(restore))
        if self.upscaler.restorer is None:
            return options
        judge = partial(self.upscaler.choose_strength, restore=restore)
        return replace(options, strength=clip_strength(medium, judge))

    def frame_upscaler(
        self, medium: Medium, segment: Segment, options: OutputOptions, deadline: RequestDeadline
    ) -> "FrameUpscaler":
        """Return an upscaler for the frames of a segment; the caller closes it.

        `decide` decides nothing for an archive. The strength for a clip in it is decided here, by
        the same frames of that clip for each of its segments.
        """
        is_clip = is_of_clip(medium, segment)
        if not is_clip:  # an archive may have options of clips
            options = keep_picture_options(options)
        if segment.is_clip and options.restore == AUTO and self.upscaler.restorer is not None:
            judge = partial(self.upscaler.choose_strength, restore=AUTO)
            options = replace(options, strength=clip_strength(medium, judge, segment))
        return FrameUpscaler(
            self.models.find(options.model),
            self.admission,
            options=options,
            is_clip=is_clip,
            deadline=deadline,
        )

    def describe_result(
        self, path: Path, medium: Medium, name: str, options: OutputOptions, expires: float
    ) -> JobResult:
        """Return the metadata of a finished file.

        Args:
            path: of the result.
            medium: from which the result was made.
            name: of the uploaded file.
            options: of the result.
            expires: when the result is deleted, seconds since 1970.
        """
        model = self.models.find(options.model)
        shown = None if model is self.models.default else model.name
        return JobResult(
            name=result_name(name, medium.suffix, options, model.upscaler.scale, shown),
            mimetype=medium.mimetype,
            size=path.stat().st_size,
            digest=file_digest(path),
            expires=expires,
        )


class FrameUpscaler:
    """Upscales one frame after another, in the background; a `core.media.medium.UpscalePicture`.

    The memory of a frame is admitted before it is upscaled. It is held until the next frame,
    because the medium still works on the last one. If a picture waits for memory by then, the
    memory is released, so that the picture goes first.

    Args:
        model: of the service.
        admission: memory budget of the service.
        options: of the result. Where they have no `strength` and `restore` is AUTO, each frame
            is judged by itself.
        is_clip: whether frames are upscaled with a memory of earlier frames.
        deadline: for network and admission; its `is_gone` says when to leave the job.
    """

    def __init__(
        self,
        model: ServedModel,
        admission: Admission,
        *,
        options: OutputOptions,
        is_clip: bool,
        deadline: RequestDeadline,
    ) -> None:
        self._model = model
        self._upscaler = model.upscaler
        self._admission = admission
        self._options = options
        self._is_clip = is_clip
        self._deadline = deadline
        self._held_bytes = 0
        self._is_reserved = False
        self._admitted = ExitStack()

    def reserve(self, header: Header) -> None:
        """Hold the memory for decoding and upscaling a picture; see `PictureUpscaler`."""
        self._hold(self._bytes_of(header))
        self._is_reserved = True

    def __call__(self, lr: Picture) -> Picture:
        """Upscale a frame. A restored picture that is not of a clip has facts about that.

        Raises:
            TooMuchMemory: if the frame needs more than the whole memory budget.
            RequestAbandoned, DeadlineExceeded: as the deadline says.
        """
        lr, grid, restoration = self._prepare(lr)
        strips = self._strips(lr, grid, restoration)
        if restoration is None or self._is_clip:
            return assemble(strips, lr)
        consistency = Consistency(lr, grid, restoration)
        sr = assemble(consistency.watch(strips), lr)
        return replace(sr, restoration=consistency.facts)

    def write(self, lr: Picture, output: IO[bytes]) -> None:
        """Upscale a picture and write its file; see `core.media.medium.PictureUpscaler`.

        Raises the same errors as an upscaled frame does.
        """
        lr, grid, restoration = self._prepare(lr)
        encoder = PictureEncoder(lr, self._options, grid, restoration=restoration)
        output.writelines(encoder.stream(self._strips(lr, grid, restoration)))

    def _prepare(self, lr: Picture) -> tuple[Picture, OutputGrid, Restoration | None]:
        """Hold the memory of a frame; return the part that the result shows, and how."""
        self._hold(self.cost(lr))
        grid = self._upscaler.grid(self._options, lr.height, lr.width)
        strength = self._upscaler.choose_strength(lr, self._options.frame_restore)
        lr = grid.crop(lr)
        return lr, grid, self._upscaler.restoration(lr, strength)

    def _strips(
        self, lr: Picture, grid: OutputGrid, restoration: Restoration | None
    ) -> Generator[PixelArray]:
        return self._upscaler.strips(
            lr,
            grid=grid,
            detail=self._options.detail,
            restoration=restoration,
            deadline=self._deadline,
            is_background=True,
        )

    def cost(self, lr: Picture) -> int:
        """Return the largest number of bytes that a frame takes."""
        header = Header(lr.height, lr.width, lr.channels, lr.bits)
        return self._bytes_of(header)

    def _bytes_of(self, header: Header) -> int:
        return frame_bytes(self._upscaler, header, self._options, is_clip=self._is_clip)

    def close(self) -> None:
        """Release the admitted memory."""
        self._admitted.close()
        self._held_bytes = 0

    def _hold(self, cost: int) -> None:
        is_reserved, self._is_reserved = self._is_reserved, False  # it is decoded already
        if self._held_bytes >= cost and (is_reserved or not self._admission.waiting):
            return
        self.close()
        self._admitted.enter_context(
            self._model.admit(self._admission, cost, self._deadline, is_background=True)
        )
        self._held_bytes = cost


def count_computed(medium: Medium, *, is_coherent: bool) -> Counter[tuple[Header, bool]]:
    """Return how many frames are computed, by their headers and by whether they are of a clip.

    Frames of clips count once more where a segment begins with those before it, to be coherent.
    """
    files = [(medium.kind != PICTURES, medium.headers, medium.segments())]
    if isinstance(medium, MediaArchive):
        files = [(file.is_clip, file.headers, list(file.segments)) for file in medium.files]
    counted: Counter[tuple[Header, bool]] = Counter()
    for is_clip, headers, segments in files:
        repeated = WARM_UP * (len(segments) - 1) if is_clip and is_coherent else 0
        for header, frames in headers.items():
            counted[header, is_clip] += frames + repeated
    return counted


def frame_bytes(
    upscaler: Upscaler, header: Header, options: OutputOptions, *, is_clip: bool
) -> int:
    """Return the largest number of bytes that a frame takes.

    Args:
        upscaler: of the service.
        header: of the frame.
        options: of the result.
        is_clip: whether earlier frames are remembered.
    """
    return plan_bytes(plan_frame(upscaler, header, options, is_clip=is_clip), is_clip=is_clip)


def plan_frame(
    upscaler: Upscaler, header: Header, options: OutputOptions, *, is_clip: bool
) -> MemoryPlan:
    """Return how a frame is computed; the arguments are those of `frame_bytes`."""
    grid = upscaler.grid(options, header.height, header.width)
    is_restored = options.frame_restore != 0
    result = upscaler.plan_result(grid, is_restored=is_restored, is_background=True)
    output = UNSTREAMED if is_clip else options.picture_format
    return MemoryPlan(header, result, output, upscaler.restoring_bytes(result))


def plan_bytes(plan: MemoryPlan, *, is_clip: bool) -> int:
    """Return the largest number of bytes that a frame takes, given how it is computed."""
    return plan.memory_bytes + is_clip * (MAX_CACHE_BYTES + fusion_bytes(plan.grid))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
