"""A worker: claims pieces of jobs, computes them, and stores the results."""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from core.errors import InvalidModel, ModelUnavailable, RequestAbandoned, SuperResolutionError
from core.files import private_folder
from core.media.medium import Medium
from core.options import OutputOptions
from core.runtime.tile_tasks import CALLER_CHECK_S, RequestDeadline
from jobs.cluster.broker import MessageQueue
from jobs.cluster.client import log_failure
from jobs.cluster.ledger import (
    MAX_ATTEMPTS,
    ClaimState,
    JobLedger,
    LedgerUnavailable,
    SegmentClaim,
)
from jobs.cluster.storage import (
    SourceCache,
    Storage,
    insist,
    part_name,
    parts_name,
    result_file_name,
    source_name,
)
from jobs.cluster.storage_watch import StorageWatch
from jobs.errors import JobInterrupted, SegmentAbandoned, UnknownJob
from jobs.execution import JobContext
from jobs.job import OPTIONS_FIELD, JobState, options_from_json

RETRY_S = 1.0
"""Seconds until the ledger is asked again if it did not answer."""

MODEL_WAIT_S = 600.0
"""Seconds that a job waits for a worker with its model, and that a worker that has disappeared
counts as one: time to replace all workers."""

LONGEST_PAUSE_S = 30.0
"""Seconds of the longest pause after a fault."""

log = logging.getLogger("enhancer.jobs")

Answer = TypeVar("Answer")


class WorkerTimings(NamedTuple):
    """Timeouts of a worker.

    Attributes:
        frame_s: seconds for a frame; after that the worker counts as stuck.
        stop_s: seconds for the piece under way after the worker is told to stop; after that
            another worker may compute the piece.
        pause_s: seconds in which only other workers take pieces, after a fault of this machine;
            twice as many after each further one.
    """

    frame_s: float
    stop_s: float
    pause_s: float = 2.0


class ClusterWorker:
    """Computes one piece after another.

    Args:
        ledger: of jobs.
        storage: of their files.
        messages: wake other workers.
        context: opens files and computes frames.
        timings: timeouts.
        folder: on this machine, for temporary files.

    Attributes:
        on_frames: called with the number of new frames whenever some are computed.
        on_final: called with the final state of each job that this worker has ended.
    """

    def __init__(
        self,
        ledger: JobLedger,
        storage: Storage,
        messages: MessageQueue,
        context: JobContext,
        timings: WorkerTimings,
        folder: Path,
    ) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._ledger, self._storage, self._messages = ledger, storage, messages
        self._context, self._timings, self._folder = context, timings, folder
        self._sources = SourceCache(storage, folder)
        self._watch = StorageWatch(ledger, storage)
        self._held: SegmentClaim | None = None
        self._frames_done = 0  # of that piece
        self._is_lost = False
        self._frame_due = float("inf")
        self._stop_by = float("inf")
        self._faults = 0  # in a row

    @property
    def is_stuck(self) -> bool:
        """Whether the frame under way takes longer than `WorkerTimings.frame_s`."""
        return time.monotonic() > self._frame_due

    def stop(self) -> None:
        """Finish the piece under way if time allows, else give it up; for signal handlers."""
        self._stop_by = min(self._stop_by, time.monotonic() + self._timings.stop_s)

    def beat(self) -> None:
        """Renew the lease, unless this worker is stuck: then another worker gets the piece.

        Also tell other workers which models this one has.
        """
        self._ledger.announce_models(self._context.models.names, MODEL_WAIT_S)
        held = self._held
        if held is not None and not self.is_stuck:
            state = self._ledger.report(held)
            self._is_lost = held is self._held and state is not ClaimState.OURS

    def drop_ended_sources(self) -> None:
        """Delete the copies of files whose jobs have ended; another thread may compute."""
        self._sources.drop_all_but(self._ledger.active_jobs)

    def check_storage(self) -> None:
        """Check the storage, so that the log says when it cannot be used."""
        self._watch.look()

    def work(self, job_id: str) -> None:
        """Compute the next piece of a job, if there is one; raises nothing."""
        try:
            if self._watch.look() is not None:
                self._step_aside(job_id)
                return
            claim = self._claim(job_id)
        except LedgerUnavailable as error:
            log_failure(logging.WARNING, "The ledger did not answer", error)
            return
        if claim is None:
            return
        self._wake_others(job_id, needed=claim.needs_message)
        self._held, self._is_lost, self._frames_done = claim, False, 0
        try:
            needed = self._attempt(claim)
        finally:
            self._held, self._frame_due = None, float("inf")
        self._wake_others(job_id, needed=needed)
        if self._faults:
            self._rest()

    def _claim(self, job_id: str) -> SegmentClaim | None:
        try:
            fields = self._ledger.fields(job_id)
        except UnknownJob:
            return None
        options = options_from_json(fields[OPTIONS_FIELD])
        if not self._context.has_model(options):
            self._leave_to_others(job_id, str(options.model), float(fields["created"]))
            return None
        return self._ledger.claim(job_id, secrets.token_hex(8), self._context.model_id(options))

    def _step_aside(self, job_id: str) -> None:
        """Pass a message on to workers that have the storage."""
        self._wake_others(job_id, needed=True)
        time.sleep(RETRY_S)  # they take it meanwhile

    def _leave_to_others(self, job_id: str, model: str, created: float) -> None:
        """Leave a job to workers that have its model; fail it if there has been none for long."""
        announced = self._ledger.announced_models()
        if model not in announced and self._ledger.now() > created + MODEL_WAIT_S:
            names = ", ".join(announced or self._context.models.names)
            self._fail(
                job_id, f"`model` must be one that a worker has: {names}. Received: {model!r}"
            )
            return
        log.info("Job %s is left to workers with the model %s", job_id[:6], model)
        time.sleep(RETRY_S)  # others take the next message meanwhile
        self._wake_others(job_id, needed=True)

    def _wake_others(self, job_id: str, *, needed: bool) -> None:
        if needed:
            self._messages.send(job_id)

    def _attempt(self, claim: SegmentClaim) -> bool:
        """Try to compute a piece, and return whether to wake another worker."""
        started = time.monotonic()
        try:
            needed = self._compute(claim)
        except (JobInterrupted, RequestAbandoned, UnknownJob, LedgerUnavailable):
            log.info("Piece given up", extra=log_fields(claim, started))
            return self._release(claim, is_counted=False)
        except (InvalidModel, ModelUnavailable) as error:  # another machine may have its files
            log.warning("Piece not finished: %s", error, extra=log_fields(claim, started))
            self._faults += 1
            return self._release(claim, is_counted=True)
        except SuperResolutionError as error:
            log.info("Job failed: %s", error, extra=log_fields(claim, started))
            self._fail(claim.job_id, str(error))
            return False
        except Exception:  # possibly a fault of this machine: another one may succeed
            if self._watch.compare(at_once=True) is not None:
                log.info("Piece given up", extra=log_fields(claim, started))
                return self._release(claim, is_counted=False)
            log.exception("Piece not finished", extra=log_fields(claim, started))
            self._faults += 1
            return self._release(claim, is_counted=True)
        log.info("Piece done", extra=log_fields(claim, started))
        self._faults = 0
        return needed

    def _compute(self, claim: SegmentClaim) -> bool:
        fields = self._insist(partial(self._ledger.fields, claim.job_id))
        check_attempt(claim, int(fields["pieces"]))
        options = options_from_json(fields[OPTIONS_FIELD])
        open_source = partial(self._context.open, options=options)
        opened = self._sources.opened(claim.job_id, open_source, self._check_interrupted)
        with opened as medium:
            if claim.piece == int(fields["pieces"]):
                self._join(claim, medium, fields["name"], options)
                return False
            return self._render(claim, medium, options)

    def _render(self, claim: SegmentClaim, medium: Medium, options: OutputOptions) -> bool:
        """Compute and store a segment, and return whether to wake another worker."""
        segment = medium.segments()[claim.piece]
        name = part_name(claim.job_id, claim.piece, claim.holder)
        deadline = RequestDeadline(is_gone=self._is_interrupted)
        with self._scratch() as folder:
            target = folder / "part"
            self._report(claim, 0)
            upscaler = self._context.frame_upscaler(medium, segment, options, deadline)
            with closing(upscaler) as upscale:
                medium.render(segment, upscale, target, partial(self._report, claim))
            self._frame_due = float("inf")
            insist(partial(self._storage.put, target, name), self._check_interrupted)
            size = target.stat().st_size
        finish = partial(self._ledger.finish, claim, name, size, segment.frames)
        counts, needed = self._insist(finish)
        if not counts:
            self._storage.delete(name)
        return needed

    def _join(self, claim: SegmentClaim, medium: Medium, name: str, options: OutputOptions) -> None:
        """Join all segments to the result, and store it."""
        job_id, file_name = claim.job_id, result_file_name(claim.job_id, claim.holder)
        with self._scratch() as folder:
            target = folder / f"result{medium.suffix}"
            medium.join(self._fetch_parts(job_id, folder), target, self._check_interrupted)
            insist(partial(self._storage.put, target, file_name), self._check_interrupted)
            result = self._context.describe_result(target, medium, name, options, expires=0.0)
        succeed = partial(self._ledger.succeed, job_id, result, file_name, medium.damage)
        if self._insist(succeed):
            self.on_final(JobState.SUCCEEDED)
            self._storage.delete(parts_name(job_id))
            self._storage.delete(source_name(job_id))
        else:
            self._storage.delete(file_name)
        self._sources.drop(job_id)

    def _fetch_parts(self, job_id: str, folder: Path) -> list[Path]:
        names = self._insist(partial(self._ledger.parts, job_id))
        paths = [folder / str(index) for index in range(len(names))]
        for part, path in zip(names, paths, strict=True):
            insist(partial(self._storage.fetch, part, path), self._check_interrupted)
        return paths

    def _report(self, claim: SegmentClaim, frames: int) -> None:
        """Report the frames done so far, and check whether to go on.

        Raises:
            JobInterrupted: if not.
        """
        self._frame_due = time.monotonic() + self._timings.frame_s
        self.on_frames(frames - self._frames_done)
        self._frames_done = frames
        try:
            state = self._ledger.report(claim, frames)
        except LedgerUnavailable as error:  # go on: the piece may still be needed afterwards
            log_failure(logging.WARNING, "The ledger did not answer", error)
        else:
            self._is_lost = state is not ClaimState.OURS
        self._check_interrupted()

    def _is_interrupted(self) -> bool:
        return self._is_lost or time.monotonic() > self._stop_by

    def _check_interrupted(self) -> None:
        if self._is_interrupted():
            raise JobInterrupted("The piece belongs to another worker now, or this one stops.")

    def _release(self, claim: SegmentClaim, *, is_counted: bool) -> bool:
        """Give up a piece, and return whether to wake another worker."""
        self._sources.drop(claim.job_id)
        release = partial(self._ledger.release, claim, is_counted=is_counted)
        try:
            return self._insist(release)
        except LedgerUnavailable:  # the lease ends by itself
            return False

    def _fail(self, job_id: str, error: str) -> None:
        self._sources.drop(job_id)
        try:
            if self._insist(partial(self._ledger.fail, job_id, error)):
                self.on_final(JobState.FAILED)
                self._storage.delete(job_id)
        except (LedgerUnavailable, OSError) as fault:  # the lease ends; the files expire
            log.warning("A failed job is left to other workers: %s", fault)

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Ask the ledger until it answers.

        Raises:
            LedgerUnavailable: if it does not answer until this worker has to stop.
        """
        while True:
            try:
                return ask()
            except LedgerUnavailable as error:
                if time.monotonic() + RETRY_S > self._stop_by:
                    raise
                log_failure(logging.WARNING, "The ledger did not answer", error)
                time.sleep(RETRY_S)

    def _rest(self) -> None:
        """Leave pieces to other workers for a while, after faults of this machine."""
        pause_s = min(self._timings.pause_s * 2 ** (self._faults - 1), LONGEST_PAUSE_S)
        until = time.monotonic() + pause_s
        while time.monotonic() < until and self._stop_by == float("inf"):
            time.sleep(CALLER_CHECK_S)

    def _scratch(self) -> AbstractContextManager[Path]:
        return private_folder(self._folder)


def check_attempt(claim: SegmentClaim, segments: int) -> None:
    """Raise SegmentAbandoned if the piece was begun too often."""
    if claim.attempt > MAX_ATTEMPTS:
        what = "Joining the segments" if claim.piece == segments else f"Segment {claim.piece + 1}"
        raise SegmentAbandoned(
            f"{what} must come to an end. Begun {MAX_ATTEMPTS} times, it ended its worker, or "
            "failed for a reason other than the file."
        )


def log_fields(claim: SegmentClaim, started: float) -> dict[str, object]:
    """Return the log fields of a piece; the id is cut, because it gives access to the result."""
    return {
        "job": claim.job_id[:6],
        "piece": claim.piece,
        "attempt": claim.attempt,
        "ms": round(1000 * (time.monotonic() - started)),
    }
