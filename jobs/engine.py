"""The job engine: what can be done with jobs, and the steps that all engines share.

There are two engines. `jobs.embedded.engine` needs only a folder; `jobs.cluster.engine` uses
workers on several machines. The service knows only `JobEngine`.
"""

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from core.files import scratch_folder, sweep_scratch_folders
from core.media.medium import Medium
from core.options import OutputOptions
from jobs.errors import (
    RETRY_AFTER_S,
    JobUnfinished,
    OutOfSpace,
    ResultGone,
    UnknownJob,
    disk_full_reported,
)
from jobs.execution import JobContext, JobEstimate
from jobs.job import Job, JobResult, JobState, NewJob, clean_name, new_id

COPY_BYTES = 1 << 20
"""Bytes of an upload that are copied at a time."""


class Submission(NamedTuple):
    """The outcome of submitting a file.

    Attributes:
        job: computes the file.
        is_new: False if an earlier request with the same idempotency key created it.
    """

    job: Job
    is_new: bool


class OpenResult(NamedTuple):
    """A result that is being read; it stays complete until it is closed, expired or not.

    Attributes:
        file: at its beginning, seekable.
        result: metadata of the file.
    """

    file: IO[bytes]
    result: JobResult


class ReceivedUpload(NamedTuple):
    """A copy of an uploaded file on this machine.

    Attributes:
        path: of the copy.
        digest: SHA-256 of its bytes, hexadecimal.
        size: in bytes.
    """

    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class EngineStats:
    """Figures of an engine, for operators.

    Attributes:
        jobs: number of stored jobs by state; every state has an entry.
        disk_bytes: size of all files of jobs.
        disk_budget_bytes: upper limit of `disk_bytes`.
    """

    jobs: Mapping[JobState, int]
    disk_bytes: int
    disk_budget_bytes: int

    @property
    def unfinished(self) -> int:
        """Number of jobs that are queued or running."""
        return sum(number for state, number in self.jobs.items() if not state.is_final)


class JobEngine(ABC):
    """Accepts jobs and gives access to them. Several threads may call any method at once.

    Args:
        context: opens uploaded files and knows the service's limits.
        clock: returns seconds since 1970.

    Attributes:
        on_frames: called with the number of new frames whenever this process has computed some. A
            thread of the engine calls it.
        on_final: called with the final state of each job that this process has ended.
        watch_interval_s: seconds between two polls of a watched job.
        keep_alive_s: seconds without a change after which `watch` yields None.
    """

    watch_interval_s = 0.25
    keep_alive_s = 15.0

    def __init__(self, context: JobContext, clock: Callable[[], float] = time.time) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._context = context
        self._clock = clock
        self._stopping = threading.Event()

    def submit(
        self, upload: IO[bytes], name: str, options: OutputOptions, *, key: str | None, caller: str
    ) -> Submission:
        """Accept a file. Once this returns, the job survives the end of any process.

        The file is opened right away, so a file that cannot be processed is refused with a
        precise error.

        Args:
            upload: read from its beginning to its end; not closed.
            name: of the file, as its owner wrote it; any text.
            options: of the result.
            key: idempotency key, or None. The same key, caller, bytes and options give the same
                job for as long as that job is stored, in whatever state, also for concurrent
                requests.
            caller: owner of the key; keys of different callers are independent.

        Raises:
            KeyReused: if the key came with other bytes or other options.
            OutOfSpace: if the file does not fit into the disk budget.
            TooManyJobs: if too many jobs are waiting.
            EngineUnavailable: if queue or storage do not answer; other methods raise it, too.
            SuperResolutionError: for the file or the options, as `OpenMedium` does.
        """
        self._context.models.check(options)
        job_id = new_id()
        with self._receive(job_id, upload) as file:
            medium = self._context.open_admissible(file.path, options)
            options = self._context.decide(medium, options)
            job = queued_job(job_id, medium, name, options, created=self._clock())
            segments, model = len(medium.segments()), self._context.model_id(options)
            new = NewJob(job, caller, key, file.digest, file.size, segments, model)
            existing = self._add(new, file.path)
        if existing is not None:
            return Submission(existing, is_new=False)
        self._wake_worker(job_id)
        return Submission(self.get(job_id), is_new=True)

    def estimate(self, upload: IO[bytes], options: OutputOptions) -> JobEstimate:
        """Return what the job of a file would take. Nothing is stored.

        Args:
            upload: as for `submit`.
            options: of the result.

        Raises:
            OutOfSpace: if the file does not fit on the disk while it is read.
            SuperResolutionError: for the file or the options, as `submit` does.
        """
        self._context.models.check(options)
        with scratch_folder() as folder:
            with disk_full_reported():
                path = copy_upload(upload, folder / "upload").path
            return self._context.estimate(self._context.open_admissible(path, options), options)

    @abstractmethod
    def get(self, job_id: str) -> Job:
        """Return the job as it is now.

        Raises:
            UnknownJob: if it does not exist, or does not exist any more.
        """

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """Cancel a job that is queued or running, or delete one that has ended.

        A cancelled job takes no more time and no more space, at the latest after the frame under
        way. It is kept until it expires or this is called again. Deleting a job, cancelled ones
        too, forgets its name and its result, and frees its idempotency key. Nothing happens if
        there is no such job.
        """

    @contextmanager
    def open_result(self, job_id: str) -> Iterator[OpenResult]:
        """Open the result for reading.

        Raises:
            UnknownJob: if the job does not exist.
            JobUnfinished: if it is queued or running.
            ResultGone: if it failed or was cancelled.
        """
        with self._files_kept(job_id):
            job = self.get(job_id)
            result = finished_result(job)
            with self._open_result_file(job) as file:
                yield OpenResult(file, result)

    def watch(self, job_id: str, after: int = 0) -> Iterator[Job | None]:
        """Yield snapshots of a job as it changes, the last of them in its final state.

        The first snapshot comes at once, unless its version is `after` and it is not final.
        Several changes may come as one snapshot. The iterator ends after the final state, when
        the job disappears, or when the engine stops.

        Args:
            job_id: of the job.
            after: version that the caller has seen.

        Returns:
            Snapshots, and None at least every 15 s while nothing changes.

        Raises:
            UnknownJob: if the job does not exist; raised by the call, not by the iterator.
        """
        self.get(job_id)
        return self._snapshots(job_id, after)

    @abstractmethod
    def stats(self) -> EngineStats:
        """Return the current figures."""

    def start(self) -> None:
        """Start the background work of this process, also on jobs that others have left.

        Uploads that killed processes have left among the temporary files are deleted.
        """
        sweep_scratch_folders()

    def stop(self) -> None:
        """Begin no more frames, end all watching, and return at once.

        Finished segments are kept; the job continues elsewhere, or after the next start.
        A signal handler may call this, several times.
        """
        self._stopping.set()

    @abstractmethod
    def close(self) -> None:
        """Stop, and wait until nothing is worked on any more."""

    @abstractmethod
    def _receive(self, job_id: str, upload: IO[bytes]) -> AbstractContextManager[ReceivedUpload]:
        """Copy an upload to this machine; delete it if the block fails.

        Raises:
            OutOfSpace: if it does not fit into the disk budget.
        """

    @abstractmethod
    def _add(self, new: NewJob, path: Path) -> Job | None:
        """Store a new job, whose file is at `path`.

        Returns:
            None; or the job that the same request created before, and then nothing is stored.

        Raises:
            KeyReused, TooManyJobs, OutOfSpace: see `submit`.
        """

    @abstractmethod
    def _wake_worker(self, job_id: str) -> None:
        """Have a worker look at a new job."""

    def _files_kept(self, _job_id: str) -> AbstractContextManager[None]:
        """Keep the files of a job while the block runs, even if the job is forgotten."""
        return nullcontext()

    @abstractmethod
    def _open_result_file(self, job: Job) -> IO[bytes]:
        """Open the result file of a job that succeeded."""

    def _poll(self, job_id: str) -> Job | None:
        """Return the job for a watcher; None if it cannot be read at the moment."""
        return self.get(job_id)

    def _snapshots(self, job_id: str, after: int) -> Iterator[Job | None]:
        seen: Job | None = None
        last_yield = time.monotonic()
        while not self._stopping.is_set():
            try:
                job = self._poll(job_id)
            except UnknownJob:
                return
            if job is not None and (job.state.is_final or is_news(job, seen, after)):
                yield job
                seen, last_yield = job, time.monotonic()
                if job.state.is_final:
                    return
            elif time.monotonic() - last_yield >= self.keep_alive_s:
                yield None
                last_yield = time.monotonic()
            self._stopping.wait(self.watch_interval_s)


def queued_job(
    job_id: str, medium: Medium, name: str, options: OutputOptions, *, created: float
) -> Job:
    """Return the first snapshot of a job.

    Args:
        job_id: of the job.
        medium: the opened upload.
        name: of the uploaded file, any text.
        options: of the result.
        created: seconds since 1970.
    """
    return Job(
        id=job_id,
        version=1,
        state=JobState.QUEUED,
        kind=medium.kind,
        name=clean_name(name),
        options=options,
        frames=medium.frames,
        frames_done=0,
        created=created,
        damage=medium.damage,
    )


def finished_result(job: Job) -> JobResult:
    """Return the result of a job.

    Raises:
        JobUnfinished: if the job is queued or running.
        ResultGone: if it failed or was cancelled.
    """
    if not job.state.is_final:
        raise JobUnfinished(
            f"Job must have succeeded to have a result. Received: one that is {job.state}."
        )
    if job.result is None:
        raise ResultGone(f"Job must have succeeded to have a result. It was {job.state}.")
    return job.result


def is_news(job: Job, seen: Job | None, after: int) -> bool:
    """Return whether a watcher does not know a snapshot yet.

    Snapshots are compared as a whole, because a job's queue position changes without a new
    version.

    Args:
        job: the snapshot.
        seen: the last snapshot that the watcher was sent; None before the first.
        after: version that the watcher knew before.
    """
    return job.version != after if seen is None else job != seen


def copy_upload(upload: IO[bytes], path: Path, max_bytes: float = float("inf")) -> ReceivedUpload:
    """Copy an upload to a new file, and no more of it than allowed.

    Raises:
        OutOfSpace: if the upload has more than `max_bytes`.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        while block := upload.read(COPY_BYTES):
            size += len(block)
            if size > max_bytes:
                raise OutOfSpace(
                    f"File must have at most {max_bytes} bytes. Received: more.",
                    retry_after_s=RETRY_AFTER_S,
                )
            digest.update(block)
            file.write(block)
    return ReceivedUpload(path, digest.hexdigest(), size)
