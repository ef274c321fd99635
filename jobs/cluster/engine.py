"""The cluster engine: the server accepts jobs, and workers on other machines compute them."""

import hashlib
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from core.files import scratch_folder
from jobs.cluster.broker import Broker, MessageQueue
from jobs.cluster.client import connect, log_failure
from jobs.cluster.ledger import JobLedger, LedgerLimits, LedgerUnavailable, NewLedgerJob
from jobs.cluster.maintenance import PeriodicTask, Sweeper
from jobs.cluster.storage import Storage, WrongStorage, source_name
from jobs.cluster.storage_watch import StorageWatch
from jobs.engine import EngineStats, JobEngine, ReceivedUpload, copy_upload
from jobs.errors import EngineUnavailable, JobError, UnknownJob, disk_full_reported
from jobs.execution import JobContext
from jobs.job import OPTIONS_FIELD, Job, JobState, NewJob, options_to_json

MAX_READING_S = 3600.0
"""Seconds for which an open result is kept after its job was forgotten."""

MAX_UPLOAD_S = 3600.0
"""Seconds after which a stored file is deleted if its job was never created."""

LATE_FILES_S = 60.0
"""Seconds within which a worker may still store a file of a job that was cancelled or failed."""

RETRY_S = 10
"""Seconds after which a caller may try again if Redis or the storage did not answer."""

STATS_WAIT_S = 2.0
"""Seconds to wait for figures. A Redis that hangs is given up later (`TIMEOUT_S` of the client),
and the threads of /metrics are those of the probes."""


class ClusterJobs(JobEngine):
    """A `JobEngine` whose jobs are computed by workers elsewhere.

    It never calls `on_frames`, and calls `on_final` only for jobs that are cancelled here. If Redis
    or the storage do not answer, its methods raise EngineUnavailable.

    Args:
        ledger: of jobs.
        storage: of their files.
        messages: wake workers.
        context: opens uploaded files.
    """

    watch_interval_s = 0.5
    keep_alive_s = 10.0

    def __init__(
        self, ledger: JobLedger, storage: Storage, messages: MessageQueue, context: JobContext
    ) -> None:
        super().__init__(context)
        self._ledger, self._storage, self._messages = ledger, storage, messages
        self._last_stats = EngineStats(dict.fromkeys(JobState, 0), 0, ledger.limits.disk_bytes)
        self._watch = StorageWatch(ledger, storage, declares=True)
        self._asking, self._asked = threading.Lock(), threading.Event()
        self._asked.set()
        sweeper = Sweeper(ledger, storage, messages)
        self._tasks = [
            PeriodicTask(sweeper.sweep, sweeper.every_s, "sweeping"),
            PeriodicTask(self._watch.look, sweeper.every_s, "checking the storage"),
        ]

    def get(self, job_id: str) -> Job:
        """See `JobEngine.get`."""
        with unavailability_reported():
            return self._ledger.get(job_id)

    def cancel(self, job_id: str) -> None:
        """See `JobEngine.cancel`."""
        with unavailability_reported():
            outcome = self._ledger.cancel(job_id, LATE_FILES_S)
            if outcome == "cancelled":
                self.on_final(JobState.CANCELLED)
                with suppress(WrongStorage):  # another machine deletes the files later
                    self._storage.delete(job_id)

    def stats(self) -> EngineStats:
        """Return the figures of all machines; the last known ones if Redis does not answer soon."""
        with self._asking:
            if self._asked.is_set():
                self._asked.clear()
                threading.Thread(target=self._ask, name="figures of jobs", daemon=True).start()
        self._asked.wait(STATS_WAIT_S)
        return self._last_stats

    def _ask(self) -> None:
        """Ask Redis for the figures."""
        try:
            counts, disk_bytes = self._ledger.counts(), self._ledger.disk_bytes()
        except LedgerUnavailable as error:
            log_failure(logging.WARNING, "The ledger did not answer", error)
        else:
            self._last_stats = replace(self._last_stats, jobs=counts, disk_bytes=disk_bytes)
        finally:
            self._asked.set()

    def start(self) -> None:
        """Start to sweep and to check the storage now and then (`Sweeper`, `StorageWatch`)."""
        super().start()
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """See `JobEngine.stop`."""
        super().stop()
        for task in self._tasks:
            task.stop()

    def close(self) -> None:
        """See `JobEngine.close`."""
        self.stop()
        for task in self._tasks:
            task.close()

    # Steps of submit, open_result and watch in the base class

    @contextmanager
    def _receive(self, _job_id: str, upload: IO[bytes]) -> Iterator[ReceivedUpload]:
        with scratch_folder() as folder:
            with disk_full_reported():
                received = copy_upload(upload, folder / "upload", self._ledger.limits.disk_bytes)
            yield received

    def _add(self, new: NewJob, path: Path) -> Job | None:
        entry = ledger_entry(new)
        with unavailability_reported():
            existing = self._ledger.find(entry.key, entry.fingerprint) or self._create(entry, path)
            while existing is not None:
                try:
                    return self._ledger.get(existing)
                except UnknownJob:  # it was deleted a moment ago
                    existing = self._create(entry, path)
            return None

    def _create(self, entry: NewLedgerJob, path: Path) -> str | None:
        """Store the file, then create the job: a worker may take it at once.

        Returns:
            None; or the id of the job that the same request created at the same time.
        """
        with disk_full_reported():
            fault = self._watch.look()
            if fault is not None:
                raise fault
        self._ledger.expect_upload(entry.id, MAX_UPLOAD_S)
        try:
            with disk_full_reported():
                self._storage.put(path, source_name(entry.id))
            existing = self._ledger.create(entry)
        except JobError:
            self._storage.delete(entry.id)
            raise
        if existing is not None:
            self._storage.delete(entry.id)
        return existing

    def _wake_worker(self, job_id: str) -> None:
        with unavailability_reported():
            if self._ledger.needs_message(job_id, is_idle=False):
                self._messages.send(job_id)

    @contextmanager
    def _files_kept(self, job_id: str) -> Iterator[None]:
        reader = secrets.token_hex(8)
        with unavailability_reported():
            self._ledger.begin_reading(job_id, reader, MAX_READING_S)
        try:
            yield
        finally:
            with unavailability_reported():
                self._ledger.end_reading(job_id, reader)

    def _open_result_file(self, job: Job) -> IO[bytes]:
        with unavailability_reported():
            return self._storage.open(self._ledger.fields(job.id)["result_file"])

    def _poll(self, job_id: str) -> Job | None:
        try:
            return self._ledger.get(job_id)
        except LedgerUnavailable:
            return None


class ClusterBackend(NamedTuple):
    """The parts that servers and workers have in common.

    Attributes:
        ledger: of jobs.
        storage: of their files.
        broker: sends messages to workers.
    """

    ledger: JobLedger
    storage: Storage
    broker: Broker

    def engine(self, context: JobContext) -> ClusterJobs:
        """Return the engine of a server."""
        return ClusterJobs(self.ledger, self.storage, self.broker, context)


def open_backend(queue_url: str, storage_url: str, limits: LedgerLimits) -> ClusterBackend:
    """Return the backend at these addresses; nothing is sent to them yet.

    Raises:
        ImportError, ValueError: if this kind of storage is not supported.
    """
    return ClusterBackend(
        JobLedger(connect(queue_url), limits), Storage(storage_url), Broker(queue_url)
    )


@contextmanager
def unavailability_reported() -> Iterator[None]:
    """Raise EngineUnavailable if Redis or the storage do not answer, or this is another storage."""
    try:
        yield
    except WrongStorage as error:  # `StorageWatch` has logged that
        raise EngineUnavailable(str(error), retry_after_s=RETRY_S) from error
    except (LedgerUnavailable, OSError) as error:
        log_failure(logging.ERROR, "Queue or storage did not answer", error)
        raise EngineUnavailable(
            "The queue of jobs and their storage must answer. They did not.", retry_after_s=RETRY_S
        ) from error


def ledger_entry(new: NewJob) -> NewLedgerJob:
    """Return what the ledger stores of a new job."""
    job, options = new.job, options_to_json(new.job.options)
    fields = {
        "kind": job.kind,
        "name": job.name,
        OPTIONS_FIELD: options,
        "frames": str(job.frames),
        "model": new.model_id,
    }
    if job.damage is not None:
        fields["damage"] = job.damage
    fingerprint = hashlib.sha256(f"{new.digest}\0{options}".encode()).hexdigest()
    key = ledger_key(new.caller, new.key)
    return NewLedgerJob(job.id, key, fingerprint, new.size, new.segments, fields)


def ledger_key(caller: str, key: str | None) -> str:
    """Return the ledger's name for an idempotency key; empty without a key."""
    return "" if key is None else hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()
