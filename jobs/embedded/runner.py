"""A thread that works jobs off, one at a time, the oldest first; and tidies up after them."""

import logging
import threading
import time
from collections.abc import Callable

from core.errors import RequestAbandoned, SuperResolutionError
from jobs.embedded.files import FileLock, JobFiles
from jobs.embedded.store import JobClaim, JobStore
from jobs.errors import JobInterrupted, OutOfSpace
from jobs.execution import JobAttempt, JobContext
from jobs.job import JobState

MOST_ATTEMPTS = 5
"""At a job without a segment finished, whatever ended them: faults, a full disk, a crash."""

RETRY_S = 2.0
"""Until the second attempt; each later one waits twice as long as the one before."""

POLL_S = 1.0
"""How often it is looked for jobs that other processes have accepted, or left."""

TIDY_EVERY_S = 10.0
"""How often what is no longer needed is deleted."""

END_S = 10.0
"""Patience with a frame when the process ends."""

log = logging.getLogger("enhancer.jobs")


class JobRunner:
    """Works jobs off in the background.

    Attributes:
        on_frames, on_final: see `jobs.engine.JobEngine`.

    Args:
        store, files: where the jobs are.
        workshop: what computes them.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        workshop: JobContext,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._store = store
        self._files = files
        self._workshop = workshop
        self._clock = clock
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._tidied = float("-inf")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Look at once: there is something new."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        """Wait until nothing is worked on, but not for ever."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(END_S)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._tidy_sometimes()
                has_worked = self.work_one()
            except Exception:  # of the disk, or the store: it may be better soon
                log.exception("Jobs cannot be worked off")
                has_worked = False
            if not has_worked:
                self._wake.wait(POLL_S)

    # Working off

    def work_one(self) -> bool:
        """Work on the oldest job that waits for it; false if there is none."""
        for job_id in self._store.unfinished(self._clock()):
            lock = self._files.lock(job_id)
            if lock is not None:
                return self._work_on(job_id, lock)
            if not self._files.source(job_id).exists():
                self._lose(job_id)
        return False

    def _work_on(self, job_id: str, lock: FileLock) -> bool:
        """Work on a job; false if there is nothing to be done about it."""
        try:
            claim = self._store.begin(job_id, self._clock(), self._workshop.model)
            if claim is not None:
                self._attempt(claim)
            self._tidy_job(job_id)
            return claim is not None
        finally:
            lock.release()

    def _attempt(self, claim: JobClaim) -> None:
        job = claim.job
        if claim.attempts > MOST_ATTEMPTS:
            self._fail(job.id, "The service was ended by it again and again.")
            return
        log.info("Job %s begins", job.id[:6], extra={"frames": job.frames, "kind": job.kind})
        try:
            self._run(claim)
        except (JobInterrupted, RequestAbandoned):
            self._store.put_back(job.id, self._clock(), is_forgiven=True)
        except OutOfSpace as error:
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
            self._workshop,
            is_stopping=self._stopping.is_set,
            on_frames=self.on_frames,
            clock=self._clock,
        )
        result = attempt.run()
        if self._store.succeed(claim.job.id, self._clock(), result):
            self._tell_end(claim.job.id, JobState.SUCCEEDED)

    def _retry(self, claim: JobClaim, error: str) -> None:
        """Let a job wait, or fail if it has been tried often enough."""
        if claim.attempts >= MOST_ATTEMPTS:
            self._fail(claim.job.id, error)
            return
        due = self._clock() + RETRY_S * 2 ** (claim.attempts - 1)
        self._store.put_back(claim.job.id, due, is_forgiven=False)

    def _fail(self, job_id: str, error: str) -> None:
        now = self._clock()
        if self._store.fail(job_id, now, error, now + self._workshop.expiry_s):
            self._tell_end(job_id, JobState.FAILED)

    def _lose(self, job_id: str) -> None:
        """Fail a job whose files were deleted by somebody else."""
        if self._store.begin(job_id, self._clock(), self._workshop.model) is not None:
            self._fail(job_id, "The file must stay where it was put. It was deleted.")

    def _tell_end(self, job_id: str, state: JobState) -> None:
        log.info("Job %s %s", job_id[:6], state)
        self.on_final(state)

    # Tidying up

    def _tidy_sometimes(self) -> None:
        if time.monotonic() - self._tidied > TIDY_EVERY_S:
            self.tidy()
            self._tidied = time.monotonic()

    def tidy(self) -> None:
        """Forget jobs that have expired; delete files that nobody needs, of the dead too."""
        for job_id in self._store.expired(self._clock()):
            self._store.delete(job_id)
        for job_id in self._files.job_ids():
            lock = self._files.lock(job_id)
            if lock is not None:
                self._tidy_job(job_id)
                lock.release()
        self._files.remove_removed()

    def _tidy_job(self, job_id: str) -> None:
        """Delete what a job does not need; its lock is held, so nobody brings it in."""
        state = self._store.state(job_id)
        if state is JobState.SUCCEEDED:
            self._files.remove_all_but_result(job_id)
        elif state is None or state.is_final:
            self._files.remove(job_id)

    def drop(self, job_id: str) -> None:
        """Delete files of a job that has just ended, at once or when its lock is free."""
        lock = self._files.lock(job_id)
        if lock is None:
            self._tidied = float("-inf")
            self.wake()
        else:
            self._tidy_job(job_id)
            lock.release()
