"""The engine of several machines, as the service sees it: it takes jobs in, and computes none."""

import hashlib
import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from core.media.medium import Medium
from core.options import OutputOptions
from jobs.cluster.broker import MessageQueue, Sweeper
from jobs.cluster.health import PeriodicTask
from jobs.cluster.ledger import JobLedger, LedgerUnavailable, NewLedgerJob
from jobs.cluster.storage import Storage, source_name
from jobs.engine import EngineStats, OpenResult, Submission
from jobs.errors import (
    EngineUnavailable,
    JobError,
    JobUnfinished,
    OutOfSpace,
    ResultGone,
    UnknownJob,
)
from jobs.execution import JobContext
from jobs.job import Job, JobState, clean_name, new_id, options_to_json

LOOK_EVERY_S = 0.5
"""How often a job that is watched is looked at."""

TELL_EVERY_S = 10.0
"""How often a watcher is told that nothing has changed."""

READING_S = 3600.0
"""For which the file of a forgotten job stays, for who reads it."""

UPLOAD_S = 3600.0
"""After which a file is deleted that was stored for a job which was then not entered."""

RETRY_S = 10
"""After which a caller may try again when Redis or the storage did not answer."""

CHUNK = 1024 * 1024

log = logging.getLogger("enhancer.jobs")


class ReceivedUpload(NamedTuple):
    """A file that was handed in, on this machine.

    Attributes:
        path: where it lies.
        digest: SHA-256 of its bytes, hexadecimal.
        size: bytes.
    """

    path: Path
    digest: str
    size: int


class ClusterJobs:
    """Jobs that are computed by workers elsewhere.

    Args:
        ledger: what is known of jobs.
        storage: their files.
        messages: wake workers.
        workshop: looks at files that are handed in.

    Attributes:
        on_frames: never called: this process computes none.
        on_final: told of jobs that were cancelled here.
    """

    def __init__(
        self,
        ledger: JobLedger,
        storage: Storage,
        messages: MessageQueue,
        workshop: JobContext,
    ) -> None:
        self.on_frames: Callable[[int], None] = lambda _frames: None
        self.on_final: Callable[[JobState], None] = lambda _state: None
        self._ledger, self._storage, self._messages = ledger, storage, messages
        self._workshop = workshop
        self._figures = EngineStats(dict.fromkeys(JobState, 0), 0, ledger.bounds.disk_bytes)
        sweeper = Sweeper(ledger, storage, messages)
        self._sweeping = PeriodicTask(sweeper.sweep, sweeper.every_s, "sweeping")
        self._stopped = threading.Event()

    def submit(
        self, upload: IO[bytes], name: str, wish: OutputOptions, *, key: str | None, caller: str
    ) -> Submission:
        """See `jobs.engine.JobEngine`; also raises EngineUnavailable, like all that follow."""
        self._workshop.upscaler.check_detail(wish.detail)
        with tempfile.TemporaryDirectory() as folder:
            file = take_in(upload, Path(folder) / "upload", self._ledger.bounds.disk_bytes)
            medium = self._workshop.judge(file.path, wish)
            entry = entry_of(file, medium, name, wish, self._workshop.model)
            entry = entry._replace(key=key_of(caller, key))
            with translated():
                known = self._ledger.find(entry.key, entry.fingerprint)
                return self._known(known) if known else self._enter(entry, file)

    def get(self, job_id: str) -> Job:
        with translated():
            return self._ledger.get(job_id)

    def cancel(self, job_id: str) -> None:
        with translated():
            became = self._ledger.cancel(job_id, delay_s=0)
            if became == "cancelled":
                self.on_final(JobState.CANCELLED)
                self._storage.delete(job_id)

    @contextmanager
    def open_result(self, job_id: str) -> Iterator[OpenResult]:
        reader = secrets.token_hex(8)
        with translated():
            self._ledger.begin_reading(job_id, reader, READING_S)
        try:
            with translated():
                opened = self._open(job_id)
            with opened.file:
                yield opened
        finally:
            with translated():
                self._ledger.end_reading(job_id, reader)

    def watch(self, job_id: str, after: int = 0) -> Iterator[Job | None]:
        self.get(job_id)
        return self._snapshots(job_id, after)

    def figures(self) -> EngineStats:
        """Those of all machines; the last that were known, if Redis does not answer."""
        try:
            counts, disk_bytes = self._ledger.counts(), self._ledger.disk_bytes()
        except LedgerUnavailable as error:
            log.warning("The ledger did not answer: %s", error)
        else:
            self._figures = replace(self._figures, jobs=counts, disk_bytes=disk_bytes)
        return self._figures

    def start(self) -> None:
        self._sweeping.start()

    def stop(self) -> None:
        self._stopped.set()
        self._sweeping.stop()

    def close(self) -> None:
        self.stop()
        self._sweeping.close()

    def _known(self, job_id: str) -> Submission:
        return Submission(self._ledger.get(job_id), is_new=False)

    def _enter(self, entry: NewLedgerJob, file: ReceivedUpload) -> Submission:
        """Store the file, then enter the job: a worker may take it at once."""
        self._ledger.announce(entry.id, UPLOAD_S)
        self._storage.put(file.path, source_name(entry.id))
        try:
            known = self._ledger.create(entry)
        except JobError:
            self._storage.delete(entry.id)
            raise
        if known is not None:  # the same request came twice at the same time
            self._storage.delete(entry.id)
            return self._known(known)
        if self._ledger.needs_message(entry.id, is_idle=False):
            self._messages.send(entry.id)
        return Submission(self._ledger.get(entry.id), is_new=True)

    def _open(self, job_id: str) -> OpenResult:
        job = self._ledger.get(job_id)
        if not job.state.is_final:
            raise JobUnfinished(
                f"Job must have succeeded to have a result. Received: one that is {job.state}."
            )
        if job.result is None:
            raise ResultGone(f"Job must have succeeded to have a result. It was {job.state}.")
        name = self._ledger.fields(job_id)["result_file"]
        return OpenResult(self._storage.open(name), job.result)

    def _snapshots(self, job_id: str, after: int) -> Iterator[Job | None]:
        seen, told = after, time.monotonic()
        while not self._stopped.is_set():
            try:
                job = self._news(job_id, seen)
            except UnknownJob:
                return
            if job is not None:
                yield job
                if job.state.is_final:
                    return
                seen, told = job.version, time.monotonic()
            elif time.monotonic() - told >= TELL_EVERY_S:
                yield None
                told = time.monotonic()
            self._stopped.wait(LOOK_EVERY_S)

    def _news(self, job_id: str, seen: int) -> Job | None:
        """The job, if it has changed or is at its end; also None if that cannot be known now."""
        try:
            job = self._ledger.get(job_id)
        except LedgerUnavailable:
            return None
        return job if job.version != seen or job.state.is_final else None


@contextmanager
def translated() -> Iterator[None]:
    """Raise EngineUnavailable if Redis or the storage do not answer."""
    try:
        yield
    except (LedgerUnavailable, OSError) as error:
        log.error("Queue or storage did not answer: %s", error)
        raise EngineUnavailable(
            "The queue of jobs and their storage must answer. They did not.", retry_after_s=RETRY_S
        ) from error


def take_in(upload: IO[bytes], path: Path, most: int) -> ReceivedUpload:
    """Copy a file to this machine, not more of it than there may be.

    Raises:
        OutOfSpace: if it is larger than that.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        while chunk := upload.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise OutOfSpace(
                    f"File must have at most {most} bytes. Received: more.", retry_after_s=RETRY_S
                )
            digest.update(chunk)
            file.write(chunk)
    return ReceivedUpload(path, digest.hexdigest(), size)


def key_of(caller: str, key: str | None) -> str:
    """The name by which the ledger knows an idempotency key; empty without."""
    return "" if key is None else hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()


def entry_of(
    file: ReceivedUpload, medium: Medium, name: str, wish: OutputOptions, model: str
) -> NewLedgerJob:
    """What is entered in the ledger when the job begins."""
    text = options_to_json(wish)
    fields = {
        "kind": medium.kind,
        "name": clean_name(name),
        "wish": text,
        "frames": str(medium.frames),
        "model": model,
    }
    if medium.damage is not None:
        fields["damage"] = medium.damage
    fingerprint = hashlib.sha256(f"{file.digest}\0{text}".encode()).hexdigest()
    return NewLedgerJob(new_id(), "", fingerprint, file.size, len(medium.segments()), fields)
