"""The background thread that computes the jobs of a folder, and deletes files after them.

`JobRunner` chooses jobs, one at a time, the oldest first. `JobAttempt` computes one of them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from core.errors import ModelUnavailable, RequestAbandoned, SuperResolutionError
from core.files import atomic_write
from core.media.medium import Medium, Segment
from core.runtime.tile_tasks import RequestDeadline
from jobs.embedded.files import FileLock, JobFiles
from jobs.embedded.store import JobClaim, JobStore
from jobs.errors import JobInterrupted, OutOfSpace, disk_full_reported
from jobs.execution import JobContext
from jobs.job import Job, JobResult, JobState

MAX_ATTEMPTS = 5
"""Attempts at a job that finish no segment, whatever ends them: an error, a full disk, a crash."""

RETRY_S = 2.0
"""Seconds until the second attempt; each further attempt waits twice as long as the one before."""

POLL_S = 1.0
"""Seconds between two searches for jobs that other processes have accepted or left."""

CLEAN_UP_EVERY_S = 10.0
"""Seconds between two deletions of what is no longer needed."""

JOIN_S = 10.0
"""Seconds that the process waits for the frame under way when it ends."""

PROGRESS_EVERY_S = 0.5
"""Seconds between two records of progress."""

CANCEL_CHECK_EVERY_S = 0.2
"""Seconds between two checks whether the job was cancelled."""

RATE_RECORDS = 40
"""Number of progress records over which the rate is measured: the last 20 s or more."""

log = logging.getLogger("enhancer.jobs")


class JobRunner:
    """Computes jobs in the background.

    Attributes:
        on_frames, on_final: see `jobs.engine.JobEngine`.

    Args:
        store: table of jobs.
        files: of jobs.
        context: computes frames.
        clock: returns seconds since 1970.
    """

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        context: JobContext,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._store = store
        self._files = files
        self._context = context
        self._clock = clock
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._cleaned_up = float("-inf")
        self._thread: threading.Thread | None = None

    # The thread

    def start(self) -> None:
        """Start the thread, unless it was started before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Search for jobs at once."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no more frames."""
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        """Wait at most `JOIN_S` until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._clean_up_sometimes()
                has_worked = self.run_next()
            except Exception:  # of the disk or the store: both may recover
                log.exception("Jobs cannot be computed")
                has_worked = False
            if not has_worked:
                self._wake.wait(POLL_S)

    # Computing jobs

    def run_next(self) -> bool:
        """Work on the oldest job that nobody works on; False if there is none."""
        for job_id in self._store.due(self._clock()):
            lock = self._files.lock(job_id)
            if lock is not None:
                return self._run_locked(job_id, lock)
            if not self._files.source(job_id).exists():
                self._fail_without_files(job_id)
        return False

    def _run_locked(self, job_id: str, lock: FileLock) -> bool:
        """Work on a job and release its lock; False if the job has ended already."""
        try:
            claim = self._claim(job_id)
            if claim is not None:
                self._attempt(claim)
            self._remove_unneeded(job_id)
            return claim is not None
        finally:
            lock.release()

    def _claim(self, job_id: str) -> JobClaim | None:
        job = self._store.get(job_id)
        if job is None:
            return None
        return self._store.claim(job_id, self._clock(), self._context.model_id(job.options))

    def _attempt(self, claim: JobClaim) -> None:
        job = claim.job
        if claim.attempts > MAX_ATTEMPTS:
            self._fail(job.id, "The service ended several times while it computed this job.")
            return
        log.info("Job %s begins", job.id[:6], extra={"frames": job.frames, "kind": job.kind})
        try:
            self._run(claim)
        except (JobInterrupted, RequestAbandoned):
            self._store.requeue(job.id, self._clock(), counts=False)
        except (OutOfSpace, ModelUnavailable) as error:
            self._retry(claim, str(error))
        except SuperResolutionError as error:
            self._fail(job.id, str(error))
        except Exception:
            log.exception("Job %s failed, attempt %d", job.id[:6], claim.attempts)
            self._retry(claim, "A fault of the service; it is in the log.")

    def _run(self, claim: JobClaim) -> None:
        attempt = JobAttempt(
            claim,
            self._store,
            self._files,
            self._context,
            is_stopping=self._stopping.is_set,
            on_frames=self.on_frames,
            clock=self._clock,
        )
        result = attempt.run()
        if self._store.succeed(claim.job.id, self._clock(), result):
            self._report_final(claim.job.id, JobState.SUCCEEDED)

    def _retry(self, claim: JobClaim, error: str) -> None:
        """Put a job back into the queue, or fail it after too many attempts."""
        if claim.attempts >= MAX_ATTEMPTS:
            self._fail(claim.job.id, error)
            return
        due = self._clock() + RETRY_S * 2 ** (claim.attempts - 1)
        self._store.requeue(claim.job.id, due, counts=True)

    def _fail(self, job_id: str, error: str) -> None:
        now = self._clock()
        if self._store.fail(job_id, now, error, now + self._context.expiry_s):
            self._report_final(job_id, JobState.FAILED)

    def _fail_without_files(self, job_id: str) -> None:
        """Fail a job whose files somebody else has deleted."""
        if self._claim(job_id) is not None:
            self._fail(job_id, "The uploaded file must exist until the job ends. It was deleted.")

    def _report_final(self, job_id: str, state: JobState) -> None:
        log.info("Job %s %s", job_id[:6], state)
        self.on_final(state)

    # Deleting what is no longer needed

    def _clean_up_sometimes(self) -> None:
        if time.monotonic() - self._cleaned_up > CLEAN_UP_EVERY_S:
            self.clean_up()
            self._cleaned_up = time.monotonic()

    def clean_up(self) -> None:
        """Forget expired jobs, and delete unneeded files, also those of dead processes."""
        for job_id in self._store.expired(self._clock()):
            self._store.delete(job_id)
        for job_id in self._files.job_ids():
            lock = self._files.lock(job_id)
            if lock is not None:
                self._remove_unneeded(job_id)
                lock.release()
        self._files.remove_half_removed()

    def remove_unneeded_soon(self, job_id: str) -> None:
        """Delete the files of a job that has just ended, at once or when its lock is free."""
        lock = self._files.lock(job_id)
        if lock is None:
            self._cleaned_up = float("-inf")
            self.wake()
        else:
            self._remove_unneeded(job_id)
            lock.release()

    def _remove_unneeded(self, job_id: str) -> None:
        """Delete the files that a job does not need; the caller holds its lock."""
        state = self._store.state(job_id)
        if state is JobState.SUCCEEDED:
            self._files.remove_all_but_result(job_id)
        elif state is None or state.is_final:
            self._files.remove(job_id)


class JobAttempt:
    """One attempt at a job: keeps the segments that are finished, and computes the others.

    Args:
        claim: on the job; the caller holds the job's lock.
        store: table of jobs.
        files: of jobs.
        context: computes frames.
        is_stopping: returns True when the server stops.
        on_frames: called with the number of frames that were computed.
        clock: returns seconds since 1970.
    """

    def __init__(
        self,
        claim: JobClaim,
        store: JobStore,
        files: JobFiles,
        context: JobContext,
        *,
        is_stopping: Callable[[], bool],
        on_frames: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._claim = claim
        self._store = store
        self._files = files
        self._context = context
        self._is_stopping = is_stopping
        self._on_frames = on_frames
        self._clock = clock
        self._frames_done = 0
        self._progress = ProgressWriter(claim.job.id, store)
        self._last_check = 0.0
        self._is_cancelled = False

    @property
    def job(self) -> Job:
        """The job at the beginning of the attempt."""
        return self._claim.job

    def run(self) -> JobResult:
        """Compute the missing segments and the result.

        Raises:
            JobInterrupted, RequestAbandoned: if the job was cancelled or the server stops.
            OutOfSpace: if a segment or the result does not fit.
            SuperResolutionError: for the file.
        """
        files, job_id = self._files, self.job.id
        files.remove_unfinished(job_id)
        model_id = self._context.model_id(self.job.options)
        if self._claim.model_id != model_id:
            log.warning(
                "Job %s is computed from its first frame, by %s. It began with %s",
                *(job_id[:6], model_id, self._claim.model_id),
            )
            files.remove_parts(job_id)
        medium = self._context.open(files.source(job_id), self.job.options)
        segments = medium.segments()
        missing = [part for part in segments if not files.part(job_id, part).exists()]
        self._frames_done = count_frames(segments) - count_frames(missing)
        self._progress.write(self._frames_done)
        for segment in missing:
            self._render(medium, segment)
        return self._join(medium, [files.part(job_id, part) for part in segments])

    def _render(self, medium: Medium, segment: Segment) -> None:
        """Compute a segment."""
        self._check_interrupted()
        self._files.check_space(0)
        reported = 0

        def report(done: int) -> None:
            nonlocal reported
            self._on_frames(done - reported)
            reported = done
            self._progress.write(self._frames_done + done)
            self._check_interrupted()

        deadline = RequestDeadline(is_gone=self._is_interrupted)
        options = self.job.options
        with (
            disk_full_reported(),
            closing(self._context.frame_upscaler(medium, segment, options, deadline)) as upscale,
            atomic_write(self._files.part(self.job.id, segment), durable=True) as path,
        ):
            medium.render(segment, upscale, path, report)
        self._frames_done += segment.frames
        self._store.reset_attempts(self.job.id)

    def _join(self, medium: Medium, parts: list[Path]) -> JobResult:
        """Join the segments to the result, durably."""
        self._check_interrupted()
        self._files.check_space(sum(part.stat().st_size for part in parts))
        target = self._files.result(self.job.id)
        with disk_full_reported(), atomic_write(target, durable=True) as path:
            medium.join(parts, path, self._check_interrupted)
        self._store.set_damage(self.job.id, medium.damage)
        expires = self._clock() + self._context.expiry_s
        return self._context.describe_result(
            target, medium, self.job.name, self.job.options, expires
        )

    def _is_interrupted(self) -> bool:
        if self._is_stopping():
            return True
        if time.monotonic() - self._last_check > CANCEL_CHECK_EVERY_S:
            self._is_cancelled = self._store.state(self.job.id) is not JobState.RUNNING
            self._last_check = time.monotonic()
        return self._is_cancelled

    def _check_interrupted(self) -> None:
        if self._is_interrupted():
            raise JobInterrupted("The job was cancelled, or the server stops.")


class ProgressWriter:
    """Records the progress and the rate of a job in the store, at most every `PROGRESS_EVERY_S`.

    Args:
        job_id: of the job.
        store: table of jobs.
        clock: returns seconds, monotonic.
    """

    def __init__(
        self, job_id: str, store: JobStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._job_id = job_id
        self._store = store
        self._clock = clock
        self._records: deque[tuple[float, int]] = deque(maxlen=RATE_RECORDS)

    def write(self, frames_done: int) -> None:
        """Record how many frames of the whole job are done."""
        now = self._clock()
        if self._records and now - self._records[-1][0] < PROGRESS_EVERY_S:
            return
        self._records.append((now, frames_done))
        self._store.set_progress(self._job_id, frames_done, self._rate())

    def _rate(self) -> float | None:
        """Return frames a second; None until it can be measured."""
        (began, before), (now, done) = self._records[0], self._records[-1]
        return (done - before) / (now - began) if done > before else None


def count_frames(segments: list[Segment]) -> int:
    """Return the number of frames of all segments."""
    return sum(segment.frames for segment in segments)
