"""The embedded engine: the server computes jobs itself, and needs no other service.

All server processes share a folder. Each job is computed by one of them.
"""

import atexit
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from jobs.embedded.files import JobFiles
from jobs.embedded.runner import JobRunner
from jobs.embedded.store import JobStore
from jobs.engine import EngineStats, JobEngine, ReceivedUpload
from jobs.errors import UnknownJob
from jobs.execution import JobContext
from jobs.job import Job, JobState, NewJob


class EmbeddedLimits(NamedTuple):
    """The folder of jobs, and its limits.

    Attributes:
        folder: of all files of jobs.
        disk_bytes: upper limit for the size of these files.
        waiting: upper limit for the number of queued jobs.
    """

    folder: Path
    disk_bytes: int
    waiting: int


class _Backend(NamedTuple):
    """What works on the folder once it is open."""

    store: JobStore
    files: JobFiles
    runner: JobRunner


class EmbeddedJobs(JobEngine):
    """A `JobEngine` in a folder, which is opened when the engine is started or first used.

    Args:
        limits: the folder and its limits.
        context: opens files and computes jobs.
        clock: returns seconds since 1970.
    """

    def __init__(
        self,
        limits: EmbeddedLimits,
        context: JobContext,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(context, clock)
        self._limits = limits
        self._opening = threading.Lock()
        self._opened: _Backend | None = None

    def get(self, job_id: str) -> Job:
        """See `JobEngine.get`."""
        job = self._backend().store.get(job_id)
        if job is None or (job.expires is not None and job.expires <= self._clock()):
            raise UnknownJob()
        return job

    def cancel(self, job_id: str) -> None:
        """See `JobEngine.cancel`."""
        store, _, runner = self._backend()
        now = self._clock()
        if store.cancel(job_id, now, now + self._context.expiry_s):
            self.on_final(JobState.CANCELLED)
        else:
            store.delete(job_id)
        runner.remove_unneeded_soon(job_id)

    def stats(self) -> EngineStats:
        """See `JobEngine.stats`; all zero as long as the folder is not open."""
        backend = self._opened
        return EngineStats(
            jobs=dict.fromkeys(JobState, 0) if backend is None else backend.store.counts(),
            disk_bytes=0 if backend is None else backend.files.used_bytes(),
            disk_budget_bytes=self._limits.disk_bytes,
        )

    def start(self) -> None:
        """See `JobEngine.start`."""
        super().start()
        self._backend()

    def stop(self) -> None:
        """See `JobEngine.stop`."""
        super().stop()
        backend = self._opened
        if backend is not None:
            backend.runner.stop()

    def close(self) -> None:
        """See `JobEngine.close`."""
        self.stop()
        with self._opening:
            if self._opened is not None:
                self._opened.runner.join()
                self._opened.store.close()
                self._opened = None
        atexit.unregister(self.close)

    # Steps of submit and open_result in the base class

    @contextmanager
    def _receive(self, job_id: str, upload: IO[bytes]) -> Iterator[ReceivedUpload]:
        files = self._backend().files
        files.check_space(upload.seek(0, io.SEEK_END))
        upload.seek(0)
        lock, received = files.receive(job_id, upload)
        try:
            files.check_space(0)  # other uploads may have come in meanwhile
            yield received
        except BaseException:
            files.remove(job_id)
            raise
        finally:
            lock.release()

    def _add(self, new: NewJob, _path: Path) -> Job | None:
        store, files, _ = self._backend()
        existing = store.add(new, max_waiting=self._limits.waiting)
        if existing is not None:
            files.remove(new.job.id)
        return existing

    def _wake_worker(self, _job_id: str) -> None:
        self._backend().runner.wake()

    def _open_result_file(self, job: Job) -> IO[bytes]:
        try:
            return self._backend().files.result(job.id).open("rb")
        except FileNotFoundError as error:  # the job expired or was deleted a moment ago
            raise UnknownJob() from error

    # The folder

    def _backend(self) -> _Backend:
        """Return the open folder; the first call opens it and starts the runner."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> _Backend:
        files = JobFiles(self._limits.folder, self._limits.disk_bytes)
        files.create()
        store = JobStore(self._limits.folder)
        runner = JobRunner(store, files, self._context, clock=self._clock)
        runner.on_frames = lambda frames: self.on_frames(frames)
        runner.on_final = lambda state: self.on_final(state)
        if not self._stopping.is_set():
            runner.start()
        # A thread that still computes while the interpreter exits would crash the process.
        atexit.register(self.close)
        return _Backend(store, files, runner)
