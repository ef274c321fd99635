"""A worker: takes pieces of jobs, computes them, stores them."""

import logging
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from core.errors import RequestAbandoned, SuperResolutionError
from core.media.medium import Medium
from core.options import OutputOptions
from core.runtime.scheduler import RequestDeadline
from jobs.cluster.broker import MessageQueue
from jobs.cluster.ledger import TRIES, ClaimState, JobLedger, LedgerUnavailable, SegmentClaim
from jobs.cluster.storage import (
    SourceCache,
    Storage,
    part_name,
    parts_name,
    result_file_name,
    source_name,
)
from jobs.errors import JobInterrupted, SegmentAbandoned
from jobs.execution import JobContext
from jobs.job import options_from_json

AGAIN_S = 1.0
"""Until the ledger, which did not answer, is asked again."""

log = logging.getLogger("enhancer.jobs")

Answer = TypeVar("Answer")


class WorkerTimings(NamedTuple):
    """How long is waited.

    Attributes:
        frame_s: for a frame; then the worker counts as stuck.
        stop_s: for the piece under way, when the worker is told to stop; then somebody
            else may compute it.
    """

    frame_s: float
    stop_s: float


class ClusterWorker:
    """Computes one piece after the other.

    Args:
        ledger: says what is to be done.
        storage: has the files.
        messages: tell other workers.
        workshop: what computes frames.
        times: how long is waited.
        folder: on this machine, for files that are worked on.
    """

    def __init__(
        self,
        ledger: JobLedger,
        storage: Storage,
        messages: MessageQueue,
        workshop: JobContext,
        times: WorkerTimings,
        folder: Path,
    ) -> None:
        self._ledger, self._storage, self._messages = ledger, storage, messages
        self._workshop, self._times, self._folder = workshop, times, folder
        self._sources = SourceCache(storage, folder)
        self._held: SegmentClaim | None = None
        self._is_lost = False
        self._frame_due = float("inf")
        self._stop_by = float("inf")

    @property
    def is_stuck(self) -> bool:
        """Whether a frame takes longer than any should."""
        return time.monotonic() > self._frame_due

    def stop(self) -> None:
        """Finish the piece under way if there is time, else let go of it; for signal handlers."""
        self._stop_by = min(self._stop_by, time.monotonic() + self._times.stop_s)

    def beat(self) -> None:
        """Show that this worker lives, unless it is stuck: then others get its piece."""
        held = self._held
        if held is not None and not self.is_stuck:
            holding = self._ledger.report(held)
            self._is_lost = held is self._held and holding is not ClaimState.OURS

    def work(self, job_id: str) -> None:
        """Take the next piece of a job, if there is one; raises nothing."""
        try:
            claim = self._ledger.claim(job_id, secrets.token_hex(8), self._workshop.model)
        except LedgerUnavailable as error:
            log.warning("The ledger did not answer: %s", error)
            return
        if claim is None:
            return
        self._tell_others(job_id, needed=claim.needs_message)
        self._held, self._is_lost = claim, False
        try:
            needed = self._attempt(claim)
        finally:
            self._held, self._frame_due = None, float("inf")
        self._tell_others(job_id, needed=needed)

    def _tell_others(self, job_id: str, *, needed: bool) -> None:
        if needed:
            self._messages.send(job_id)

    def _attempt(self, claim: SegmentClaim) -> bool:
        """Compute a piece, whatever comes of it; whether there is more to do for others."""
        started = time.monotonic()
        try:
            needed = self._compute(claim)
        except (JobInterrupted, RequestAbandoned):
            log.info("A piece was left", extra=facts(claim, started))
            return self._release(claim, is_blameless=True)
        except SuperResolutionError as error:
            log.info("A job failed: %s", error, extra=facts(claim, started))
            self._fail(claim, str(error))
            return False
        except Exception:  # of this machine, perhaps: another may do better
            log.exception("A piece was not finished", extra=facts(claim, started))
            return self._release(claim, is_blameless=False)
        log.info("A piece is done", extra=facts(claim, started))
        return needed

    def _compute(self, claim: SegmentClaim) -> bool:
        fields = self._insist(partial(self._ledger.fields, claim.job_id))
        check_attempt(claim, int(fields["pieces"]))
        wish = options_from_json(fields["wish"])
        medium = self._sources.medium(claim.job_id, lambda path: self._workshop.open(path, wish))
        if claim.piece == int(fields["pieces"]):
            self._join(claim, medium, fields["name"])
            return False
        return self._render(claim, medium, wish)

    def _render(self, claim: SegmentClaim, medium: Medium, wish: OutputOptions) -> bool:
        segment = medium.segments()[claim.piece]
        name = part_name(claim.job_id, claim.piece, claim.holder)
        patience = RequestDeadline(is_gone=self._is_interrupted)
        with self._scratch() as folder:
            target = folder / "part"
            self._report(claim, 0)
            with closing(self._workshop.frame_upscaler(medium, wish, patience)) as upscale:
                medium.render(segment, upscale, target, partial(self._report, claim))
            self._frame_due = float("inf")
            self._storage.put(target, name)
            size = target.stat().st_size
        finish = partial(self._ledger.finish, claim, name, size, segment.frames)
        counts, needed = self._insist(finish)
        if not counts:
            self._storage.delete(name)
        return needed

    def _is_interrupted(self) -> bool:
        return self._is_lost or time.monotonic() > self._stop_by

    def _join(self, claim: SegmentClaim, medium: Medium, name: str) -> None:
        job_id, file_name = claim.job_id, result_file_name(claim.job_id, claim.holder)
        with self._scratch() as folder:
            target = folder / f"result{medium.suffix}"
            medium.join(self._fetch_parts(job_id, folder), target, self._go_on)
            self._storage.put(target, file_name)
            result = self._workshop.describe_result(target, medium, name, expires=0.0)
        succeed = partial(self._ledger.succeed, job_id, result, file_name, medium.damage)
        if self._insist(succeed):
            self._storage.delete(parts_name(job_id))
            self._storage.delete(source_name(job_id))
        else:
            self._storage.delete(file_name)
        self._sources.drop(job_id)

    def _fetch_parts(self, job_id: str, folder: Path) -> list[Path]:
        names = self._insist(partial(self._ledger.parts, job_id))
        paths = [folder / str(index) for index in range(len(names))]
        for part, path in zip(names, paths, strict=True):
            self._storage.fetch(part, path)
        return paths

    def _report(self, claim: SegmentClaim, frames: int) -> None:
        """Between two frames: say so, and see whether to go on.

        Raises:
            JobInterrupted: if not.
        """
        self._frame_due = time.monotonic() + self._times.frame_s
        try:
            holding = self._ledger.report(claim, frames)
        except LedgerUnavailable as error:  # what is computed may well be wanted afterwards
            log.warning("The ledger did not answer: %s", error)
        else:
            self._is_lost = holding is not ClaimState.OURS
        self._go_on()

    def _go_on(self) -> None:
        if self._is_interrupted():
            raise JobInterrupted("The piece is somebody else's now, or this worker is to stop.")

    def _release(self, claim: SegmentClaim, *, is_blameless: bool) -> bool:
        self._sources.drop(claim.job_id)
        release = partial(self._ledger.release, claim, is_blameless=is_blameless)
        try:
            return self._insist(release)
        except LedgerUnavailable:  # the lease ends by itself
            return False

    def _fail(self, claim: SegmentClaim, error: str) -> None:
        self._sources.drop(claim.job_id)
        try:
            if self._insist(partial(self._ledger.fail, claim.job_id, error)):
                self._storage.delete(claim.job_id)
        except (LedgerUnavailable, OSError) as fault:  # the lease ends; the files expire
            log.warning("The end of a job is left to others: %s", fault)

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """What the ledger says, as soon as it does.

        Raises:
            LedgerUnavailable: if it does not until this worker has to stop.
        """
        while True:
            try:
                return ask()
            except LedgerUnavailable as error:
                if time.monotonic() + AGAIN_S > self._stop_by:
                    raise
                log.warning("The ledger did not answer: %s", error)
                time.sleep(AGAIN_S)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder)


def check_attempt(claim: SegmentClaim, segments: int) -> None:
    """Raise SegmentAbandoned if the piece was begun too often."""
    if claim.attempt > TRIES:
        what = "Joining the segments" if claim.piece == segments else f"Segment {claim.piece + 1}"
        raise SegmentAbandoned(
            f"{what} must come to an end. Begun {TRIES} times, it ended its worker, or failed "
            "for a reason that is none of the file."
        )


def facts(claim: SegmentClaim, started: float) -> dict[str, object]:
    """Of a piece, for the log; not the whole id, with which one could fetch the result."""
    return {
        "job": claim.job_id[:6],
        "piece": claim.piece,
        "attempt": claim.attempt,
        "ms": round(1000 * (time.monotonic() - started)),
    }
