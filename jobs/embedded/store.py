"""What is known of jobs, in one SQLite file that several processes share.

It is in write-ahead mode, so readers never wait, and each change is on the disk when its
method returns. The file must be on a disk of this machine: SQLite needs memory that all
who have it open can see.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.embedded.files import RETRY_AFTER_S
from jobs.errors import KeyReused, OutOfSpace, TooManyJobs
from jobs.job import FINAL, Job, JobResult, JobState, options_from_json, options_to_json

FILE = "jobs-1.sqlite"
"""With the version of its tables: another one begins anew."""

BUSY_S = 30.0
"""Patience with other processes that write; what they write takes milliseconds."""

TABLES = """
create table if not exists jobs (
    number integer primary key autoincrement,
    id text not null unique,
    version integer not null default 1,
    state text not null,
    kind text not null,
    name text not null,
    wish text not null,
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

CHANGE = "update jobs set version = version + 1, "
UNFINISHED = f"('{JobState.QUEUED}', '{JobState.RUNNING}')"


@dataclass(frozen=True)
class NewJob:
    """What is written down of a job when it is accepted.

    Attributes:
        job: queued.
        caller: whose idempotency key it has.
        key: idempotency key; None without.
        content: digest of the file; with the wish, all that a key stands for.
        model: that computes its frames.
    """

    job: Job
    caller: str
    key: str | None
    content: str
    model: str


@dataclass(frozen=True)
class JobClaim:
    """A job that is to be worked on.

    Attributes:
        job: running.
        attempts: times it was begun since a segment was last finished, this one included.
        model: that computed its segments so far, if there are any.
    """

    job: Job
    attempts: int
    model: str


class JobStore:
    """The table of jobs.

    Args:
        folder: of the file; it must be there.
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
        with self._lock:
            self._connection.close()

    # Bringing in

    def add(self, new: NewJob, *, most_waiting: int) -> Job | None:
        """Write a job down; or find the one that its key has made, and return that.

        Raises:
            KeyReused: if the key has made a job of something else.
            TooManyJobs: if so many are queued.
            OutOfSpace: if the disk is full.
        """
        with self._change() as db:
            found = db.execute(
                "select * from jobs where caller = ? and key = ?", (new.caller, new.key)
            ).fetchone()
            if found is not None:
                return self._same(found, new)
            self._check_queue(db, most_waiting)
            _insert(db, new)
            return None

    def _same(self, found: sqlite3.Row, new: NewJob) -> Job:
        if (found["content"], found["wish"]) != (new.content, options_to_json(new.job.options)):
            raise KeyReused()
        return self._job(found)

    def _check_queue(self, db: sqlite3.Connection, most: int) -> None:
        (waiting,) = db.execute(
            "select count(*) from jobs where state = ?", (JobState.QUEUED,)
        ).fetchone()
        if waiting >= most:
            raise TooManyJobs(
                f"At most {most} jobs may wait. Received: one more.", retry_after_s=RETRY_AFTER_S
            )

    # Looking

    def get(self, job_id: str) -> Job | None:
        """The job as it is now; None if it is not there."""
        rows = self._read("select * from jobs where id = ?", job_id)
        return self._job(rows[0]) if rows else None

    def state(self, job_id: str) -> JobState | None:
        """Where a job stands; None if it is not there."""
        rows = self._read("select state from jobs where id = ?", job_id)
        return JobState(rows[0]["state"]) if rows else None

    def counts(self) -> dict[JobState, int]:
        """How many jobs there are in each state."""
        rows = self._read("select state, count(*) as jobs from jobs group by state")
        found = {row["state"]: row["jobs"] for row in rows}
        return {state: found.get(state, 0) for state in JobState}

    def unfinished(self, now: float) -> list[str]:
        """Ids of jobs that are to be worked on, in their order.

        Those that run are among them: their process may have died.
        """
        rows = self._read(
            f"select id from jobs where state in {UNFINISHED} and due <= ? order by number", now
        )
        return [row["id"] for row in rows]

    def expired(self, now: float) -> list[str]:
        """Ids of jobs that are to be forgotten."""
        return [row["id"] for row in self._read("select id from jobs where expires <= ?", now)]

    # Working off: only by who holds the job's lock

    def begin(self, job_id: str, now: float, model: str) -> JobClaim | None:
        """Let a job run; None if it is final, or gone."""
        with self._change() as db:
            found = db.execute("select * from jobs where id = ?", (job_id,)).fetchone()
            if found is None or JobState(found["state"]) in FINAL:
                return None
            db.execute(
                CHANGE + "state = ?, started = coalesce(started, ?), rate = null, model = ?, "
                "attempts = attempts + 1 where id = ?",
                (JobState.RUNNING, now, model, job_id),
            )
            row = db.execute("select * from jobs where id = ?", (job_id,)).fetchone()
            return JobClaim(self._job(row), row["attempts"], found["model"])

    def note_progress(self, job_id: str, frames_done: int, rate: float | None) -> None:
        """Say how far a job is, if it still runs."""
        self._update(
            "frames_done = ?, rate = coalesce(?, rate) where id = ? and state = ?",
            (frames_done, rate, job_id, JobState.RUNNING),
        )

    def note_segment(self, job_id: str) -> None:
        """A segment is finished: what stopped the job before is forgiven."""
        self._update("attempts = 0 where id = ?", (job_id,))

    def note_damage(self, job_id: str, damage: str | None) -> None:
        """What the result lacks of the file, now that all of it was decoded."""
        self._update("damage = ? where id = ?", (damage, job_id))

    def put_back(self, job_id: str, due: float, *, is_forgiven: bool) -> None:
        """Let a job that runs wait again.

        Args:
            job_id: of the job.
            due: time before which it is not begun again.
            is_forgiven: whether this attempt does not count.
        """
        self._update(
            "state = ?, due = ?, attempts = attempts - ? where id = ? and state = ?",
            (JobState.QUEUED, due, int(is_forgiven), job_id, JobState.RUNNING),
        )

    def succeed(self, job_id: str, now: float, result: JobResult) -> bool:
        """Say what a job has made; false if it was cancelled just before."""
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
        """Say why a job cannot be done; false if it was cancelled just before."""
        return self._update(
            "state = ?, finished = ?, error = ?, expires = ? where id = ? and state = ?",
            (JobState.FAILED, now, error, expires, job_id, JobState.RUNNING),
        )

    # Ending

    def cancel(self, job_id: str, now: float, expires: float) -> bool:
        """Cancel a job; false if it is final, or not there."""
        return self._update(
            f"state = ?, finished = ?, expires = ? where id = ? and state in {UNFINISHED}",
            (JobState.CANCELLED, now, expires, job_id),
        )

    def delete(self, job_id: str) -> None:
        """Forget a job."""
        with self._change() as db:
            db.execute("delete from jobs where id = ?", (job_id,))

    # Below

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _update(self, what: str, values: tuple[Any, ...]) -> bool:
        with self._change() as db:
            return db.execute(CHANGE + what, values).rowcount > 0

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction; no other process writes meanwhile."""
        with self._lock, _full_disk_reported():
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def _job(self, row: sqlite3.Row) -> Job:
        position = None
        if row["state"] == JobState.QUEUED:
            ((position,),) = self._read(
                "select count(*) from jobs where state = ? and number < ?",
                JobState.QUEUED,
                row["number"],
            )
        return _job_from_row(row, position)


@contextmanager
def _full_disk_reported() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OutOfSpace(
                "Jobs must fit on their disk. Received: one more, and it is full.",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        raise


def _insert(db: sqlite3.Connection, new: NewJob) -> None:
    job = new.job
    values = {
        "id": job.id,
        "state": job.state,
        "kind": job.kind,
        "name": job.name,
        "wish": options_to_json(job.options),
        "frames": job.frames,
        "created": job.created,
        "damage": job.damage,
        "caller": new.caller,
        "key": new.key,
        "content": new.content,
        "model": new.model,
    }
    places = ", ".join(f":{name}" for name in values)
    db.execute(f"insert into jobs ({', '.join(values)}) values ({places})", values)


def _job_from_row(row: sqlite3.Row, position: int | None) -> Job:
    return Job(
        id=row["id"],
        version=row["version"],
        state=JobState(row["state"]),
        kind=row["kind"],
        name=row["name"],
        options=options_from_json(row["wish"]),
        frames=row["frames"],
        frames_done=row["frames_done"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        rate=row["rate"],
        position=position,
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
