"""Jobs in the server itself: a folder, and a thread in every server process. No other service.

All server processes share the folder; each job is worked on by one of them. See `jobs.engine`
for what the methods do.
"""

import atexit
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from core.options import OutputOptions
from jobs.embedded.files import FileLock, JobFiles
from jobs.embedded.runner import JobRunner
from jobs.embedded.store import JobStore, NewJob
from jobs.engine import EngineStats, OpenResult, Submission
from jobs.errors import JobUnfinished, ResultGone, UnknownJob
from jobs.execution import JobContext
from jobs.job import Job, JobState, clean_name, new_id

WATCH_S = 0.25
"""How often a watched job is looked at."""

KEEP_ALIVE_S = 15.0
"""Without anything new, after which that is said."""


class EmbeddedLimits(NamedTuple):
    """Where jobs are, and how many there may be.

    Attributes:
        folder: of all their files.
        budget_bytes: that those may take.
        most_waiting: jobs that may be queued.
    """

    folder: Path
    budget_bytes: int
    most_waiting: int


class _Place(NamedTuple):
    """The folder, once it is open."""

    store: JobStore
    files: JobFiles
    runner: JobRunner


class EmbeddedJobs:
    """A `jobs.engine.JobEngine` in a folder. Nothing is made before it is started or needed.

    Args:
        room: where the jobs are.
        workshop: what computes them.
        clock: seconds since 1970.
    """

    def __init__(
        self, room: EmbeddedLimits, workshop: JobContext, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._room = room
        self._workshop = workshop
        self._clock = clock
        self._stopping = threading.Event()
        self._opening = threading.Lock()
        self._opened: _Place | None = None

    # What the service needs

    def submit(
        self, upload: IO[bytes], name: str, wish: OutputOptions, *, key: str | None, caller: str
    ) -> Submission:
        self._workshop.upscaler.check_detail(wish.detail)
        store, files, runner = self._place()
        job_id = new_id()
        files.check_room(upload.seek(0, io.SEEK_END))
        upload.seek(0)
        lock, content = files.bring_in(job_id, upload)
        with self._removed_on_failure(job_id, lock):
            files.check_room(0)  # others may have come in meanwhile
            job = self._judge(job_id, clean_name(name), wish)
            new = NewJob(job, caller, key, content, self._workshop.model)
            known = store.add(new, most_waiting=self._room.most_waiting)
            if known is not None:
                files.remove(job_id)
                return Submission(known, is_new=False)
        runner.wake()
        return Submission(self.get(job_id), is_new=True)

    @contextmanager
    def _removed_on_failure(self, job_id: str, lock: FileLock) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._place().files.remove(job_id)
            raise
        finally:
            lock.release()

    def _judge(self, job_id: str, name: str, wish: OutputOptions) -> Job:
        """The job that a file makes; raises what is wrong with the file."""
        medium = self._workshop.judge(self._place().files.source(job_id), wish)
        return Job(
            id=job_id,
            version=1,
            state=JobState.QUEUED,
            kind=medium.kind,
            name=name,
            options=wish,
            frames=medium.frames,
            frames_done=0,
            created=self._clock(),
            damage=medium.damage,
        )

    def get(self, job_id: str) -> Job:
        job = self._place().store.get(job_id)
        if job is None or (job.expires is not None and job.expires <= self._clock()):
            raise UnknownJob()
        return job

    def cancel(self, job_id: str) -> None:
        store, _, runner = self._place()
        now = self._clock()
        if store.cancel(job_id, now, now + self._workshop.expiry_s):
            self.on_final(JobState.CANCELLED)
        elif store.state(job_id) in (JobState.SUCCEEDED, JobState.FAILED):
            store.delete(job_id)
        runner.drop(job_id)

    @contextmanager
    def open_result(self, job_id: str) -> Iterator[OpenResult]:
        job = self.get(job_id)
        if not job.state.is_final:
            raise JobUnfinished(
                f"Job must have succeeded to have a result. Received: one that is {job.state}."
            )
        if job.result is None:
            raise ResultGone(f"Job must have succeeded to have a result. It was {job.state}.")
        try:
            file = self._place().files.result(job_id).open("rb")
        except FileNotFoundError as error:  # expired, or deleted, in this moment
            raise UnknownJob() from error
        with file:
            yield OpenResult(file, job.result)

    def watch(self, job_id: str, after: int = 0) -> Iterator[Job | None]:
        self.get(job_id)
        return self._snapshots(job_id, after)

    def _snapshots(self, job_id: str, after: int) -> Iterator[Job | None]:
        seen, told = None, time.monotonic()
        while not self._stopping.is_set():
            try:
                job = self.get(job_id)
            except UnknownJob:
                return
            is_known = job.version == after if seen is None else job == seen
            if not is_known or job.state.is_final:
                yield job
                seen, told = job, time.monotonic()
            elif time.monotonic() - told > KEEP_ALIVE_S:
                yield None
                told = time.monotonic()
            if job.state.is_final:
                return
            self._stopping.wait(WATCH_S)

    def figures(self) -> EngineStats:
        place = self._opened
        return EngineStats(
            jobs=dict.fromkeys(JobState, 0) if place is None else place.store.counts(),
            disk_bytes=0 if place is None else place.files.used_bytes(),
            disk_budget_bytes=self._room.budget_bytes,
        )

    # Beginning and end

    def start(self) -> None:
        self._place()

    def stop(self) -> None:
        self._stopping.set()
        place = self._opened
        if place is not None:
            place.runner.stop()

    def close(self) -> None:
        self.stop()
        with self._opening:
            if self._opened is not None:
                self._opened.runner.join()
                self._opened.store.close()
                self._opened = None
        atexit.unregister(self.close)

    def _place(self) -> _Place:
        """The folder; it is opened, and its jobs are worked off, from the first time on."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> _Place:
        files = JobFiles(self._room.folder, self._room.budget_bytes)
        files.make()
        store = JobStore(self._room.folder)
        runner = JobRunner(store, files, self._workshop, clock=self._clock)
        runner.on_frames = lambda frames: self.on_frames(frames)
        runner.on_final = lambda state: self.on_final(state)
        if not self._stopping.is_set():
            runner.start()
        # A thread that computes while the interpreter goes takes the process with it.
        atexit.register(self.close)
        return _Place(store, files, runner)
