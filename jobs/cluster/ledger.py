"""The ledger of jobs in Redis: who computes which piece, and what is done.

A piece is a segment, or the joining of all segments once they are done. A worker that claims a
piece gets a lease. Unless the worker renews the lease, it ends soon, and another worker may claim
the piece. Every change is a Lua script, which Redis runs as one step. Only this module and
`jobs.cluster.client` import redis.
"""

import json
import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.commands.core import Script
from redis.lock import Lock

from jobs.cluster.stored_job import job_from_fields
from jobs.errors import KeyReused, UnknownJob, over_budget, queue_memory_full, too_many_jobs
from jobs.job import Job, JobResult, JobState

SCRIPTS = Path(__file__).parent / "scripts"
"""Folder of the Lua scripts."""

PREFIX = "enhancer"
"""Prefix of all keys in Redis."""

LEASE_S = 12.0
"""Seconds without a sign of life after which a worker loses its piece."""

MEMORY_SHARE = 0.9
"""Share of the memory of Redis (`maxmemory`) from which no job is added: those that were accepted
need the rest to go on."""

LOCK_S = 20.0
"""Seconds for which a process may hold a lock, and for which others wait for it."""

MAX_ATTEMPTS = 3
"""Number of times that a piece may be begun."""

LedgerUnavailable = redis.RedisError
"""Redis does not answer, or its answer makes no sense."""


class ClaimState(StrEnum):
    """Whether a worker still has the piece that it claimed.

    Attributes:
        OURS: it does.
        LOST: another worker has the piece or has done it.
        OVER: nobody needs the piece, because the job has ended.
    """

    OURS = "ours"
    LOST = "lost"
    OVER = "over"


class SegmentClaim(NamedTuple):
    """A piece that a worker has claimed.

    Attributes:
        job_id: of the job.
        piece: index of the segment; the number of segments for the joining.
        attempt: number of times that the piece was begun, this one included.
        holder: random text that identifies this claim in the ledger.
        needs_message: whether to wake another worker, because there is more to do.
    """

    job_id: str
    piece: int
    attempt: int
    holder: str
    needs_message: bool


class NewLedgerJob(NamedTuple):
    """What the ledger stores of a new job.

    Attributes:
        id: of the job.
        key: identifies repetitions of the same request; empty without.
        fingerprint: of the file and the options.
        size: of the file, in bytes.
        pieces: number of segments.
        fields: attributes that `Job` has from the beginning, as text, and what workers need.
    """

    id: str
    key: str
    fingerprint: str
    size: int
    pieces: int
    fields: Mapping[str, str]


class LedgerLimits(NamedTuple):
    """Limits for all jobs together.

    Attributes:
        waiting: upper limit for the number of queued jobs.
        disk_bytes: upper limit for the size of all files.
        expiry_s: seconds that a job is kept after it has ended.
    """

    waiting: int
    disk_bytes: int
    expiry_s: float


class JobLedger:
    """All jobs, in Redis. All methods raise LedgerUnavailable if Redis does not answer.

    Args:
        client: of Redis; returns text.
        limits: for all jobs together.
        lease_s: see `LEASE_S`.
    """

    def __init__(
        self, client: "redis.Redis", limits: LedgerLimits, *, lease_s: float = LEASE_S
    ) -> None:
        self.limits, self.lease_s = limits, lease_s
        self._redis = client
        prelude = (SCRIPTS / "prelude.lua").read_text()
        self._scripts: dict[str, Script] = {
            path.stem: client.register_script(f"{prelude}\n{path.read_text()}")
            for path in SCRIPTS.glob("*.lua")
            if path.stem != "prelude"
        }

    def create(self, entry: NewLedgerJob) -> str | None:
        """Create a job, unless the same request created one before.

        Returns:
            None; or the id of the job that the same request created.

        Raises:
            KeyReused: if the key came with another file or other options before.
            TooManyJobs: if too many jobs are queued, or Redis has no memory for another one.
            OutOfSpace: if the file does not fit into the disk budget.
        """
        self._check_memory()
        pairs = [text for pair in entry.fields.items() for text in pair]
        space = (self.limits.waiting, self.limits.disk_bytes, entry.size)
        outcome, *details = self._run(
            "create", entry.id, entry.key, entry.fingerprint, *space, entry.pieces, *pairs
        )
        if outcome == "known":
            return replayed(details[0], details[1], entry.fingerprint)
        if outcome == "many":
            raise too_many_jobs(self.limits.waiting)
        if outcome == "full":
            raise over_budget(self.limits.disk_bytes, int(details[0]), entry.size)
        return None

    def expect_upload(self, job_id: str, timeout_s: float) -> None:
        """Delete the files of a new job after a timeout, unless the job is created by then."""
        self._redis.zadd(self._key("rubbish"), {job_id: self.now() + timeout_s})

    def find(self, key: str, fingerprint: str) -> str | None:
        """Return the id of the job that the same request created before, or None.

        Raises:
            KeyReused: if the key came with another file or other options before.
        """
        job_id = self._redis.get(self._key("key", key)) if key else None
        if job_id is None:
            return None
        stored = self._redis.hget(self._key("job", str(job_id)), "fingerprint")
        if stored is None:  # it was deleted a moment ago
            return None
        return replayed(str(job_id), str(stored), fingerprint)

    def get(self, job_id: str) -> Job:
        """Return the job as it is now.

        Raises:
            UnknownJob: if it does not exist.
        """
        with self._redis.pipeline() as pipeline:  # one transaction
            pipeline.hgetall(self._key("job", job_id))
            pipeline.zcard(self._key("active"))
            pipeline.zcard(self._key("waiting"))
            pipeline.zrank(self._key("waiting"), job_id)
            fields, active, waiting, rank = pipeline.execute()
        if not fields:
            raise UnknownJob
        position = None if rank is None else active - waiting + rank
        return job_from_fields(job_id, fields, position)

    def fields(self, job_id: str) -> dict[str, str]:
        """Return all stored fields of a job.

        Raises:
            UnknownJob: if it does not exist.
        """
        fields: Any = self._redis.hgetall(self._key("job", job_id))
        if not fields:
            raise UnknownJob
        return dict(fields)

    def parts(self, job_id: str) -> list[str]:
        """Return the names of the files of all finished segments, in order."""
        parts: Any = self._redis.hgetall(f"{self._key('job', job_id)}:parts")
        return [parts[index] for index in sorted(parts, key=int)]

    def claim(self, job_id: str, holder: str, model_id: str) -> SegmentClaim | None:
        """Claim the next piece of a job; None if there is none.

        Args:
            job_id: of the job.
            holder: new random text that identifies the claim.
            model_id: of the worker's network. If another network computed the finished segments,
                they are dropped, as soon as no worker uses that network any more.
        """
        claimed = self._run("claim", job_id, holder, self.lease_s, model_id)
        if claimed is None:
            return None
        piece, attempt, needs_message = claimed
        return SegmentClaim(job_id, piece, attempt, holder, bool(needs_message))

    def report(self, claim: SegmentClaim, frames: int | None = None) -> ClaimState:
        """Renew the lease, and record how many frames of the piece are done."""
        done = "" if frames is None else frames
        state = self._run("report", claim.job_id, claim.piece, claim.holder, self.lease_s, done)
        return ClaimState(state)

    def finish(self, claim: SegmentClaim, name: str, size: int, frames: int) -> tuple[bool, bool]:
        """Record that a segment is stored as `name`.

        Returns:
            Whether this file counts, and whether to wake another worker.
        """
        counts, needs_message = self._run("finish", claim.job_id, claim.piece, name, size, frames)
        return bool(counts), bool(needs_message)

    def succeed(self, job_id: str, result: JobResult, name: str, damage: str | None = None) -> bool:
        """End a job whose result is stored as `name`; False if it had ended already.

        Args:
            job_id: of the job.
            result: its metadata; `expires` is ignored.
            name: of the result's file in the storage.
            damage: what is wrong with the uploaded file.
        """
        fields = {"name": result.name, "mimetype": result.mimetype, "digest": result.digest}
        text = json.dumps(fields | {"size": result.size})
        arguments = (text, name, result.size, self.limits.expiry_s, damage or "")
        return bool(self._run("succeed", job_id, *arguments))

    def fail(self, job_id: str, error: str) -> bool:
        """End a job with an error; False if it had ended already."""
        return bool(self._run("fail", job_id, error, self.limits.expiry_s))

    def release(self, claim: SegmentClaim, *, is_counted: bool) -> bool:
        """Give up a piece, and return whether to wake another worker.

        Args:
            claim: on the piece.
            is_counted: whether this attempt counts.
        """
        arguments = (claim.piece, claim.holder, int(is_counted))
        return bool(self._run("release", claim.job_id, *arguments))

    def cancel(self, job_id: str, delay_s: float) -> str:
        """Cancel an active job, or forget one that has ended.

        Args:
            job_id: of the job.
            delay_s: time after which the files of a forgotten job are deleted, s. A job with a
                result has none, as no worker works on it.

        Returns:
            "cancelled", "forgotten" or "nothing".
        """
        return str(self._run("cancel", job_id, self.limits.expiry_s, delay_s))

    def announce_models(self, names: Iterable[str], seconds: float) -> None:
        """Record for a number of seconds that a worker has these models."""
        now = self.now()
        self._redis.zadd(self._key("models"), dict.fromkeys(names, now + seconds))
        self._redis.zremrangebyscore(self._key("models"), "-inf", now)

    def announced_models(self) -> list[str]:
        """Return the names of the models that workers have, sorted."""
        names: Any = self._redis.zrangebyscore(self._key("models"), self.now(), "+inf")
        return sorted(names)

    def needs_message(self, job_id: str, *, is_idle: bool) -> bool:
        """Return whether to send a message, because there is work and no message is under way.

        Args:
            job_id: of the job.
            is_idle: whether it is known that no message at all is under way.
        """
        return bool(self._run("needs_message", job_id, int(is_idle)))

    def active_jobs(self) -> list[str]:
        """Return the ids of queued and running jobs, the oldest first."""
        ids: Any = self._redis.zrange(self._key("active"), 0, -1)
        return list(ids)

    def queued_messages(self, queue: str) -> int:
        """Return the number of messages that no worker has taken yet."""
        length: Any = self._redis.llen(queue)
        return int(length)

    def collect_expired(self) -> list[str]:
        """Forget expired jobs, and return the ids whose files can be deleted: nobody reads them."""
        due: Any = self._redis.zrangebyscore(self._key("rubbish"), "-inf", self.now())
        for job_id in due:
            self._run("expire", job_id)
        return [job_id for job_id in due if not self._is_read(job_id)]

    def forget_files(self, job_id: str) -> None:
        """Record that the files of a job are deleted."""
        self._redis.zrem(self._key("rubbish"), job_id)

    def begin_reading(self, job_id: str, reader: str, timeout_s: float) -> None:
        """Keep the files of a job for a reader, at most until a timeout."""
        self._redis.zadd(self._key("reading", job_id), {reader: self.now() + timeout_s})
        self._redis.expire(self._key("reading", job_id), math.ceil(timeout_s))

    def end_reading(self, job_id: str, reader: str) -> None:
        """Record that a reader does not need the files any more."""
        self._redis.zrem(self._key("reading", job_id), reader)

    def acquire_turn(self, name: str, seconds: float) -> bool:
        """Return True, but only once within a number of seconds, for all processes together."""
        milliseconds = math.ceil(1000 * seconds)
        return bool(self._redis.set(self._key("turn", name), 1, nx=True, px=milliseconds))

    def storage_identity(self) -> str | None:
        """Return the identity of the cluster's storage; None if no server has declared one."""
        identity: Any = self._redis.get(self._key("storage"))
        return None if identity is None else str(identity)

    def declare_storage(self, identity: str) -> None:
        """Record the identity of the cluster's storage."""
        self._redis.set(self._key("storage"), identity)

    def storage_lock(self) -> Lock:
        """Return a lock for a block, so that one server at a time declares a storage."""
        name = self._key("turn", "storage")
        lock: Lock = self._redis.lock(name, timeout=LOCK_S, blocking_timeout=LOCK_S)
        return lock

    def counts(self) -> dict[JobState, int]:
        """Return the number of jobs in each state."""
        ids: Any = self._redis.zrange(self._key("jobs"), 0, -1)
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hget(self._key("job", job_id), "state")
            states = pipeline.execute()
        return {state: states.count(state.value) for state in JobState}

    def disk_bytes(self) -> int:
        """Return the size of all files."""
        sizes: Any = self._redis.hvals(self._key("bytes"))
        return sum(map(int, sizes))

    def _check_memory(self) -> None:
        """Raise TooManyJobs if Redis has little memory left."""
        memory: Any = self._redis.info("memory")
        limit_bytes = int(MEMORY_SHARE * memory["maxmemory"])  # 0 if there is no limit
        if 0 < limit_bytes < memory["used_memory"]:
            raise queue_memory_full(memory["used_memory"], limit_bytes)

    def _is_read(self, job_id: str) -> bool:
        readers: Any = self._redis.zcount(self._key("reading", job_id), self.now(), "+inf")
        return bool(readers)

    def now(self) -> float:
        """Return seconds since 1970 on the clock of Redis, which all machines share."""
        time: Any = self._redis.time()
        return float(time[0]) + float(time[1]) / 1e6

    def _key(self, *names: str) -> str:
        return ":".join((PREFIX, *names))

    def _run(self, script: str, job_id: str, *arguments: str | float) -> Any:
        texts = [str(argument) for argument in (PREFIX, job_id, *arguments)]
        return self._scripts[script](keys=[self._key("job", job_id)], args=texts)


def replayed(job_id: str, stored: str, fingerprint: str) -> str:
    """Return the id of a job whose request came again.

    Raises:
        KeyReused: if the stored fingerprint differs from that of the new request.
    """
    if stored != fingerprint:
        raise KeyReused
    return job_id
