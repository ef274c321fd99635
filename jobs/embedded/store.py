"""The table of jobs, in one SQLite file that all server processes share.

The file is in write-ahead mode, so readers never wait. Each change is on the disk when its method
returns. The file must be on a local disk: in this mode, SQLite needs shared memory.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jobs.errors import KeyReused, disk_full, too_many_jobs
from jobs.job import (
    FINAL,
    OPTIONS_FIELD,
    Job,
    JobResult,
    JobState,
    NewJob,
    options_from_json,
    options_to_json,
)

FILE = "jobs-1.sqlite"
"""Name of the file. The number is the version of its tables: a new version begins a new file."""

BUSY_S = 30.0
"""Seconds to wait for other processes that write; each write takes milliseconds."""

TABLES = f"""
create table if not exists jobs (
    number integer primary key autoincrement,
    id text not null unique,
    version integer not null default 1,
    state text not null,
    kind text not null,
    name text not null,
    {OPTIONS_FIELD} text not null,
    frames integer not null,
    frames_done integer not null default 0,
    created real not null,
    started real,
    finished real,
    expires real,
    rate real,
    error text,
    damage text,
    result_name text,
    result_type text,
    result_size integer,
    result_digest text,
    caller text not null,
    key text,
    content text not null,
    model text not null,
    attempts integer not null default 0,
    due real not null default 0
);
create unique index if not exists keys on jobs (caller, key);
create index if not exists states on jobs (state, number);
"""

UPDATE = "update jobs set version = version + 1, "
ACTIVE = f"('{JobState.QUEUED}', '{JobState.RUNNING}')"

SELECT = f"""
select *, case when state = '{JobState.QUEUED}' then (
    select count(*) from jobs as other where other.state = '{JobState.RUNNING}'
    or (other.state = '{JobState.QUEUED}' and other.number < jobs.number)
) end as position from jobs
"""
"""Selects whole jobs with their positions, see `jobs.job.Job`."""


class JobClaim(NamedTuple):
    """The right to work on a job.

    Attributes:
        job: running.
        attempts: number of attempts since the last finished segment, this one included.
        model_id: identifies the network that computed the finished segments, if any.
    """

    job: Job
    attempts: int
    model_id: str


class JobStore:
    """The table of jobs.

    Args:
        folder: of the file; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            folder / FILE, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.executescript(TABLES)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    # Adding

    def add(self, new: NewJob, *, max_waiting: int) -> Job | None:
        """Store a job, unless its idempotency key belongs to another one.

        Returns:
            None; or the stored job that has the same key, and then nothing is added.

        Raises:
            KeyReused: if the job with this key has another file or other options.
            TooManyJobs: if `max_waiting` jobs are queued.
            OutOfSpace: if the disk is full.
        """
        owner = (new.caller, new.key)
        with self._transaction() as db:
            db.execute(
                "delete from jobs where caller = ? and key = ? and expires <= ?",
                (*owner, new.job.created),
            )
            found = db.execute(SELECT + "where caller = ? and key = ?", owner).fetchone()
            if found is not None:
                return self._replay(found, new)
            _check_queue(db, max_waiting)
            _insert(db, new)
            return None

    def _replay(self, found: sqlite3.Row, new: NewJob) -> Job:
        if (found["content"], found[OPTIONS_FIELD]) != (
            new.digest,
            options_to_json(new.job.options),
        ):
            raise KeyReused()
        return _job_from_row(found)

    # Reading

    def get(self, job_id: str) -> Job | None:
        """Return the job as it is now; None if it does not exist."""
        rows = self._read(SELECT + "where id = ?", job_id)
        return _job_from_row(rows[0]) if rows else None

    def state(self, job_id: str) -> JobState | None:
        """Return the state of a job; None if it does not exist."""
        rows = self._read("select state from jobs where id = ?", job_id)
        return JobState(rows[0]["state"]) if rows else None

    def counts(self) -> dict[JobState, int]:
        """Return the number of jobs in each state."""
        rows = self._read("select state, count(*) as jobs from jobs group by state")
        found = {row["state"]: row["jobs"] for row in rows}
        return {state: found.get(state, 0) for state in JobState}

    def due(self, now: float) -> list[str]:
        """Return the ids of jobs to work on, the oldest first.

        Running jobs are among them, because their process may have died.
        """
        rows = self._read(
            f"select id from jobs where state in {ACTIVE} and due <= ? order by number", now
        )
        return [row["id"] for row in rows]

    def expired(self, now: float) -> list[str]:
        """Return the ids of jobs that have expired."""
        return [row["id"] for row in self._read("select id from jobs where expires <= ?", now)]

    # Computing: the caller holds the lock of the job

    def claim(self, job_id: str, now: float, model_id: str) -> JobClaim | None:
        """Set a job to running; None if it is final or does not exist."""
        with self._transaction() as db:
            found = db.execute("select * from jobs where id = ?", (job_id,)).fetchone()
            if found is None or JobState(found["state"]) in FINAL:
                return None
            db.execute(
                UPDATE + "state = ?, started = coalesce(started, ?), rate = null, model = ?, "
                "attempts = attempts + 1 where id = ?",
                (JobState.RUNNING, now, model_id, job_id),
            )
            row = db.execute(SELECT + "where id = ?", (job_id,)).fetchone()
            return JobClaim(_job_from_row(row), row["attempts"], found["model"])

    def set_progress(self, job_id: str, frames_done: int, rate: float | None) -> None:
        """Record the progress of a job, if it still runs; None keeps the rate."""
        self._update(
            "frames_done = ?, rate = coalesce(?, rate) where id = ? and state = ?",
            (frames_done, rate, job_id, JobState.RUNNING),
        )

    def reset_attempts(self, job_id: str) -> None:
        """Forget earlier attempts, because a segment was finished."""
        self._update("attempts = 0 where id = ?", (job_id,))

    def set_damage(self, job_id: str, damage: str | None) -> None:
        """Record what is wrong with the file, known once all of it was decoded."""
        self._update("damage = ? where id = ?", (damage, job_id))

    def requeue(self, job_id: str, due: float, *, counts: bool) -> None:
        """Put a running job back into the queue.

        Args:
            job_id: of the job.
            due: earliest time of the next attempt, seconds since 1970.
            counts: whether this attempt counts.
        """
        self._update(
            "state = ?, due = ?, attempts = attempts - ? where id = ? and state = ?",
            (JobState.QUEUED, due, int(not counts), job_id, JobState.RUNNING),
        )

    def succeed(self, job_id: str, now: float, result: JobResult) -> bool:
        """End a job with a result; False if it was cancelled just before."""
        return self._update(
            "state = ?, finished = ?, frames_done = frames, expires = ?, result_name = ?, "
            "result_type = ?, result_size = ?, result_digest = ? where id = ? and state = ?",
            (
                JobState.SUCCEEDED,
                now,
                result.expires,
                result.name,
                result.mimetype,
                result.size,
                result.digest,
                job_id,
                JobState.RUNNING,
            ),
        )

    def fail(self, job_id: str, now: float, error: str, expires: float) -> bool:
        """End a job with an error; False if it was cancelled just before."""
        return self._update(
            "state = ?, finished = ?, error = ?, expires = ? where id = ? and state = ?",
            (JobState.FAILED, now, error, expires, job_id, JobState.RUNNING),
        )

    # Ending

    def cancel(self, job_id: str, now: float, expires: float) -> bool:
        """Cancel a job; False if it is final or does not exist."""
        return self._update(
            f"state = ?, finished = ?, expires = ? where id = ? and state in {ACTIVE}",
            (JobState.CANCELLED, now, expires, job_id),
        )

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended; nothing happens to others."""
        with self._transaction() as db:
            db.execute(f"delete from jobs where id = ? and state not in {ACTIVE}", (job_id,))

    # Access to the database

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _update(self, assignments: str, values: tuple[Any, ...]) -> bool:
        with self._transaction() as db:
            return db.execute(UPDATE + assignments, values).rowcount > 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as a transaction; no other process writes meanwhile."""
        with self._lock, _disk_full_reported():
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise


@contextmanager
def _disk_full_reported() -> Iterator[None]:
    """Raise OutOfSpace instead of SQLite's error for a full disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise disk_full() from error
        raise


def _check_queue(db: sqlite3.Connection, max_waiting: int) -> None:
    query = "select count(*) from jobs where state = ?"
    (waiting,) = db.execute(query, (JobState.QUEUED,)).fetchone()
    if waiting >= max_waiting:
        raise too_many_jobs(max_waiting)


def _insert(db: sqlite3.Connection, new: NewJob) -> None:
    job = new.job
    values = {
        "id": job.id,
        "state": job.state,
        "kind": job.kind,
        "name": job.name,
        OPTIONS_FIELD: options_to_json(job.options),
        "frames": job.frames,
        "created": job.created,
        "damage": job.damage,
        "caller": new.caller,
        "key": new.key,
        "content": new.digest,
        "model": new.model_id,
    }
    parameters = ", ".join(f":{name}" for name in values)
    db.execute(f"insert into jobs ({', '.join(values)}) values ({parameters})", values)


def _job_from_row(row: sqlite3.Row) -> Job:
    """Return the job in a row of `SELECT`."""
    return Job(
        id=row["id"],
        version=row["version"],
        state=JobState(row["state"]),
        kind=row["kind"],
        name=row["name"],
        options=options_from_json(row[OPTIONS_FIELD]),
        frames=row["frames"],
        frames_done=row["frames_done"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        rate=row["rate"],
        position=row["position"],
        error=row["error"],
        damage=row["damage"],
        result=_result_from_row(row),
        expires=row["expires"],
    )


def _result_from_row(row: sqlite3.Row) -> JobResult | None:
    if row["result_name"] is None:
        return None
    return JobResult(
        name=row["result_name"],
        mimetype=row["result_type"],
        size=row["result_size"],
        digest=row["result_digest"],
        expires=row["expires"],
    )
