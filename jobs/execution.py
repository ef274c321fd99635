"""One attempt at a job: what others have finished of it is kept, the rest is computed.

Frames of jobs on their way through the service's network: behind all pictures.

What every engine needs of the service to look at files and to compute their frames.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from core.errors import Overloaded
from core.media.medium import PICTURES, ClipLimits, Medium, OutputOptions, Segment
from core.model.upscaler import Upscaler
from core.picture import Header, Picture
from core.runtime.admission import Admission, MemoryPlan
from core.runtime.scheduler import CALLER_CHECK_S, RequestDeadline
from core.temporal.coherence import MOST_BYTES, PIXEL_BYTES
from jobs.embedded.files import JobFiles, digest_of, full_disk_reported
from jobs.embedded.store import JobClaim, JobStore
from jobs.engine import OpenMedium
from jobs.errors import JobInterrupted
from jobs.job import Job, JobResult, JobState, result_name

HELD_WHOLE = "whole"
"""A format of `core.runtime.admission.MemoryPlan` that is none which is sent while it is made."""


class FrameUpscaler:
    """Upscales frames one after the other, in the background; a `core.media.medium.UpscalePicture`.

    The memory of a frame is admitted before it is upscaled and held until the next one, as
    the medium that asked still works on it. If a picture waits for memory then, it goes
    first.

    Args:
        upscaler: of the service.
        admission: of the service.
        detail: how much is made up, in [0, 1].
        is_clip: whether frames are upscaled with a memory of those before.
        patience: with the network and with admission; says when the job is to be left.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        admission: Admission,
        *,
        detail: float,
        is_clip: bool,
        patience: RequestDeadline,
    ) -> None:
        self._upscaler = upscaler
        self._is_clip = is_clip
        self._admission = admission
        self._detail = detail
        self._patience = patience
        self._held_bytes = 0
        self._holding = ExitStack()

    def __call__(self, lr: Picture) -> Picture:
        """Upscale a frame.

        Raises:
            TooMuchMemory: if it needs more than there is for all.
            RequestAbandoned, DeadlineExceeded: as `patience` says.
        """
        self._hold(self.cost(lr))
        return self._upscaler.upscale(
            lr, detail=self._detail, deadline=self._patience, is_background=True
        )

    def cost(self, lr: Picture) -> int:
        """Bytes of memory that a frame takes at most."""
        header = Header(lr.height, lr.width, lr.channels, lr.bits)
        return frame_bytes(self._upscaler, header, is_clip=self._is_clip)

    def close(self) -> None:
        """Hold nothing any more."""
        self._holding.close()
        self._held_bytes = 0

    def _hold(self, cost: int) -> None:
        if self._held_bytes >= cost and not self._admission.waiting:
            return
        self.close()
        while True:
            try:
                self._holding.enter_context(self._admission.admit(cost, self._patience))
                self._held_bytes = cost
                return
            except Overloaded:  # the line is for pictures: stand behind it
                time.sleep(CALLER_CHECK_S)
                self._patience.check(time.monotonic())


def frame_bytes(upscaler: Upscaler, header: Header, *, is_clip: bool) -> int:
    """Bytes of memory that a frame of this kind takes at most.

    Args:
        upscaler: of the service.
        header: of the frame.
        is_clip: whether others before it are remembered.
    """
    rows = upscaler.plan(header.height, header.width, is_background=True)
    alone = MemoryPlan(header, rows, HELD_WHOLE, upscaler.scale).memory_bytes
    sr_pixels = upscaler.scale**2 * header.height * header.width
    return alone + is_clip * (MOST_BYTES + PIXEL_BYTES * sr_pixels)


@dataclass(frozen=True)
class JobContext:
    """What files are looked at and frames are computed with.

    Attributes:
        upscaler: of the service.
        admission: likewise.
        open_medium: see `jobs.engine.OpenMedium`.
        limits: of media.
        expiry_s: seconds that a job is kept when it has come to its end.
    """

    upscaler: Upscaler
    admission: Admission
    open_medium: OpenMedium
    limits: ClipLimits
    expiry_s: float

    @property
    def model(self) -> str:
        """The network: segments of another one do not go with those of this one."""
        card = self.upscaler.card
        return f"{card.name} {card.version} {card.sha256}"

    def open(self, path: Path, wish: OutputOptions) -> Medium:
        """The medium in a file; raises what `jobs.engine.OpenMedium` does."""
        return self.open_medium(path, self.limits, wish)

    def judge(self, path: Path, wish: OutputOptions) -> Medium:
        """The medium in a file that was just handed in.

        Raises:
            TooMuchMemory: if its frames need more than there is for all.
            SuperResolutionError: of the file, like `open`.
        """
        medium = self.open(path, wish)
        header = Header(medium.height, medium.width, channels=4)
        is_clip = medium.kind != PICTURES
        self.admission.check(frame_bytes(self.upscaler, header, is_clip=is_clip))
        return medium

    def frame_upscaler(
        self, medium: Medium, wish: OutputOptions, patience: RequestDeadline
    ) -> FrameUpscaler:
        """What upscales the frames of a medium; to be closed."""
        return FrameUpscaler(
            self.upscaler,
            self.admission,
            detail=wish.detail,
            is_clip=medium.kind != PICTURES,
            patience=patience,
        )

    def describe_result(self, path: Path, medium: Medium, name: str, expires: float) -> JobResult:
        """What is known of a finished file.

        Args:
            path: of the result.
            medium: that it was made from.
            name: of the file that was handed in.
            expires: seconds since 1970.
        """
        return JobResult(
            name=result_name(name, medium.suffix, self.upscaler.scale),
            mimetype=medium.mimetype,
            size=path.stat().st_size,
            digest=digest_of(path),
            expires=expires,
        )


NOTE_EVERY_S = 0.5
"""How often progress is written down."""

CHECK_EVERY_S = 0.2
"""How often it is looked whether the job was cancelled."""

NOTES = 40
"""Of progress, over which the rate is measured: the last 20 s or more."""


class JobAttempt:
    """An attempt at a job, by who holds its lock.

    Args:
        claim: on the job.
        store, files: where it is.
        workshop: what computes it.
        is_stopping: true when the server ends.
        on_frames: told of frames that were computed.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        claim: JobClaim,
        store: JobStore,
        files: JobFiles,
        workshop: JobContext,
        *,
        is_stopping: Callable[[], bool],
        on_frames: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._claim = claim
        self._store = store
        self._files = files
        self._workshop = workshop
        self._is_stopping = is_stopping
        self._on_frames = on_frames
        self._clock = clock
        self._done = 0
        self._progress = ProgressWriter(claim.job.id, store)
        self._looked = 0.0
        self._is_cancelled = False

    @property
    def job(self) -> Job:
        """As it was when the attempt began."""
        return self._claim.job

    def run(self) -> JobResult:
        """Compute what is missing, and the result.

        Raises:
            JobInterrupted, RequestAbandoned: if the job was cancelled or the server ends.
            OutOfSpace: if there is no room for a segment or the result.
            SuperResolutionError: of the file.
        """
        workshop, files = self._workshop, self._files
        files.remove_unfinished(self.job.id)
        if self._claim.model != workshop.model:
            files.remove_parts(self.job.id)
        source = files.source(self.job.id)
        medium = workshop.open(source, self.job.wish)
        segments = medium.segments()
        missing = [part for part in segments if not files.part(self.job.id, part).exists()]
        self._done = sum(part.frames for part in segments) - sum(part.frames for part in missing)
        self._progress.note(self._done)
        for segment in missing:
            self._render(medium, segment)
        return self._join(medium, [files.part(self.job.id, part) for part in segments])

    def _render(self, medium: Medium, segment: Segment) -> None:
        """Compute a segment."""
        self._check_interrupted()
        self._files.check_room(0)
        reported = 0

        def report(done: int) -> None:
            nonlocal reported
            self._on_frames(done - reported)
            reported = done
            self._progress.note(self._done + done)
            self._check_interrupted()

        patience = RequestDeadline(is_gone=self._is_interrupted)
        with (
            full_disk_reported(),
            closing(self._workshop.frame_upscaler(medium, self.job.wish, patience)) as upscale,
            self._files.written(self._files.part(self.job.id, segment)) as path,
        ):
            medium.render(segment, upscale, path, report)
        self._done += segment.frames
        self._store.note_segment(self.job.id)

    def _join(self, medium: Medium, parts: list[Path]) -> JobResult:
        """Put the segments together, durably."""
        self._check_interrupted()
        self._files.check_room(sum(part.stat().st_size for part in parts))
        target = self._files.result(self.job.id)
        with full_disk_reported(), self._files.written(target) as path:
            medium.join(parts, path, self._check_interrupted)
        self._store.note_damage(self.job.id, medium.damage)
        expires = self._clock() + self._workshop.expiry_s
        return self._workshop.describe_result(target, medium, self.job.name, expires)

    def _is_interrupted(self) -> bool:
        if self._is_stopping():
            return True
        if time.monotonic() - self._looked > CHECK_EVERY_S:
            self._is_cancelled = self._store.state(self.job.id) is not JobState.RUNNING
            self._looked = time.monotonic()
        return self._is_cancelled

    def _check_interrupted(self) -> None:
        if self._is_interrupted():
            raise JobInterrupted("The job was cancelled, or the server ends.")


class ProgressWriter:
    """Writes down how far a job is, not too often, and how fast it goes.

    Args:
        job_id: of the job.
        store: where it is written.
        clock: seconds, monotonic.
    """

    def __init__(
        self, job_id: str, store: JobStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._job_id = job_id
        self._store = store
        self._clock = clock
        self._notes: deque[tuple[float, int]] = deque(maxlen=NOTES)

    def note(self, frames_done: int) -> None:
        """So many frames of the whole job are done."""
        now = self._clock()
        if self._notes and now - self._notes[-1][0] < NOTE_EVERY_S:
            return
        self._notes.append((now, frames_done))
        self._store.note_progress(self._job_id, frames_done, self._rate())

    def _rate(self) -> float | None:
        """Frames a second; None as long as nothing can be said."""
        (began, before), (now, done) = self._notes[0], self._notes[-1]
        return (done - before) / (now - began) if done > before else None
