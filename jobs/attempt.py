"""One attempt at a job: what others have finished of it is kept, the rest is computed."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from core.media import Medium, Segment
from core.scheduler import Patience
from jobs.errors import JobInterrupted
from jobs.files import Files, full_disk_reported
from jobs.job import Job, JobResult, State
from jobs.store import Claim, Store
from jobs.workshop import Workshop

NOTE_EVERY_S = 0.5
"""How often progress is written down."""

LOOK_EVERY_S = 0.2
"""How often it is looked whether the job was cancelled."""

NOTES = 40
"""Of progress, over which the rate is measured: the last 20 s or more."""


class Attempt:
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
        claim: Claim,
        store: Store,
        files: Files,
        workshop: Workshop,
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
        self._progress = Progress(claim.job.id, store)
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

        patience = Patience(is_gone=self._is_interrupted)
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
        if time.monotonic() - self._looked > LOOK_EVERY_S:
            self._is_cancelled = self._store.state(self.job.id) is not State.RUNNING
            self._looked = time.monotonic()
        return self._is_cancelled

    def _check_interrupted(self) -> None:
        if self._is_interrupted():
            raise JobInterrupted("The job was cancelled, or the server ends.")


class Progress:
    """Writes down how far a job is, not too often, and how fast it goes.

    Args:
        job_id: of the job.
        store: where it is written.
        clock: seconds, monotonic.
    """

    def __init__(
        self, job_id: str, store: Store, clock: Callable[[], float] = time.monotonic
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
