"""The ledger in Redis: jobs, who computes which piece of them, and what is done (the only
importer of redis).

A piece is a segment, or, when all of these are done, the joining of them. Whoever takes one
has a lease, which ends soon unless it is renewed: then somebody else may take the piece.
Every change is a script, which Redis runs as one step.

What is written in the ledger of a job, read.
"""

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.commands.core import Script
from redis.retry import Retry

from jobs.errors import KeyReused, OutOfSpace, TooManyJobs, UnknownJob
from jobs.job import Job, JobResult, JobState, options_from_json

RETRY_S = 60
"""After which a caller for whom there was no room may try again."""


def known_id(job_id: str, theirs: str, ours: str) -> str:
    """The id of a job of the same fingerprint.

    Raises:
        KeyReused: if the fingerprint is another.
    """
    if theirs != ours:
        raise KeyReused
    return job_id


def too_many(most: int) -> TooManyJobs:
    return TooManyJobs(f"At most {most} jobs may wait. Received: one more.", retry_after_s=RETRY_S)


def out_of_space(most: int, wanted: int) -> OutOfSpace:
    return OutOfSpace(
        f"Files of jobs must take at most {most} bytes. Received: one with which they would "
        f"take {wanted}.",
        retry_after_s=RETRY_S,
    )


def job_from_fields(job_id: str, fields: Mapping[str, str], position: int | None) -> Job:
    """A snapshot of what is written in the ledger."""
    expires = _number(fields, "expires")
    return Job(
        id=job_id,
        version=int(fields["version"]),
        state=JobState(fields["state"]),
        kind=fields["kind"],
        name=fields["name"],
        options=options_from_json(fields["wish"]),
        frames=int(fields["frames"]),
        frames_done=int(fields["frames_done"]),
        created=float(fields["created"]),
        started=_number(fields, "started"),
        finished=_number(fields, "finished"),
        rate=_number(fields, "rate"),
        position=position,
        error=fields.get("error"),
        damage=fields.get("damage") or None,
        result=_result(fields, expires),
        expires=expires,
    )


def _number(fields: Mapping[str, str], name: str) -> float | None:
    return float(fields[name]) if name in fields else None


def _result(fields: Mapping[str, str], expires: float | None) -> JobResult | None:
    if "result" not in fields or expires is None:
        return None
    return JobResult(expires=expires, **json.loads(fields["result"]))


SCRIPTS = Path(__file__).parent / "scripts"
PREFIX = "enhancer"

LEASE_S = 12.0
"""Without a sign of life, after which a worker has lost its piece."""

TRIES = 3
"""How often a piece may be begun."""

TIMEOUT_S = 5.0
"""For one answer of Redis."""

LedgerUnavailable = redis.RedisError
"""Redis does not answer, or not as it should."""


class ClaimState(StrEnum):
    """What has become of a piece that somebody holds."""

    OURS = "ours"
    LOST = "lost"
    OVER = "over"


class SegmentClaim(NamedTuple):
    """A piece that somebody has taken.

    Attributes:
        job_id: of which it is a piece.
        piece: index of the segment; one above the last for the joining.
        attempt: the how manieth it is, from 1.
        holder: the word by which the ledger knows who has it.
        needs_message: whether there is more to do, for others.
    """

    job_id: str
    piece: int
    attempt: int
    holder: str
    needs_message: bool


class NewLedgerJob(NamedTuple):
    """A job that is to be entered.

    Attributes:
        id: of the job.
        key: by which the same request is known again; empty without.
        fingerprint: of the file and the wish.
        size: bytes of the file.
        pieces: segments.
        fields: what `Job` has from the beginning, as text, and what workers need.
    """

    id: str
    key: str
    fingerprint: str
    size: int
    pieces: int
    fields: Mapping[str, str]


class LedgerLimits(NamedTuple):
    """What there may be of all jobs together.

    Attributes:
        waiting: jobs that are queued.
        disk_bytes: of all files.
        keep_s: that a job is kept after its end.
    """

    waiting: int
    disk_bytes: int
    keep_s: float


class JobLedger:
    """All that is known of jobs.

    Args:
        client: of Redis, which gives text.
        bounds: what there may be.
        lease_s: see `LEASE_S`.
        prefix: of all keys.

    All methods raise LedgerUnavailable if Redis does not answer.
    """

    def __init__(
        self,
        client: "redis.Redis",
        bounds: LedgerLimits,
        *,
        lease_s: float = LEASE_S,
        prefix: str = PREFIX,
    ) -> None:
        self.bounds, self.lease_s = bounds, lease_s
        self._redis, self._prefix = client, prefix
        prelude = (SCRIPTS / "prelude.lua").read_text()
        self._scripts: dict[str, Script] = {
            path.stem: client.register_script(f"{prelude}\n{path.read_text()}")
            for path in SCRIPTS.glob("*.lua")
            if path.stem != "prelude"
        }

    def create(self, entry: NewLedgerJob) -> str | None:
        """Enter a job; the id of another one if that was made by the same request before.

        Raises:
            KeyReused: if the key was used for something else.
            TooManyJobs, OutOfSpace: if there is no room.
        """
        pairs = [text for pair in entry.fields.items() for text in pair]
        said, *more = self._run(
            "create",
            entry.id,
            entry.key,
            entry.fingerprint,
            self.bounds.waiting,
            self.bounds.disk_bytes,
            entry.size,
            entry.pieces,
            *pairs,
        )
        if said == "known":
            return known_id(more[0], more[1], entry.fingerprint)
        if said == "many":
            raise too_many(self.bounds.waiting)
        if said == "full":
            raise out_of_space(self.bounds.disk_bytes, int(more[0]) + entry.size)
        return None

    def announce(self, job_id: str, patience_s: float) -> None:
        """Files of a job will come: if it is not entered after so many seconds, they go."""
        self._redis.zadd(self._key("rubbish"), {job_id: self._now() + patience_s})

    def find(self, key: str, fingerprint: str) -> str | None:
        """The id of the job that the same request made before; None if there is none.

        Raises:
            KeyReused: if the key was used for something else.
        """
        known = self._redis.get(self._key("key", key)) if key else None
        if known is None:
            return None
        theirs = self._redis.hget(self._key("job", str(known)), "fingerprint")
        return known_id(str(known), str(theirs), fingerprint)

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            UnknownJob: if it is not there.
        """
        fields = self.fields(job_id)
        state = JobState(fields["state"])
        rank = None
        if state is JobState.QUEUED:
            rank = cast(int | None, self._redis.zrank(self._key("waiting"), job_id))
        return job_from_fields(job_id, fields, rank)

    def fields(self, job_id: str) -> dict[str, str]:
        """All that is written of a job.

        Raises:
            UnknownJob: if it is not there.
        """
        fields: Any = self._redis.hgetall(self._key("job", job_id))
        if not fields:
            raise UnknownJob
        return dict(fields)

    def version(self, job_id: str) -> int | None:
        """Of the job as it is now; None if it is not there."""
        version: Any = self._redis.hget(self._key("job", job_id), "version")
        return None if version is None else int(version)

    def parts(self, job_id: str) -> list[str]:
        """Names of the files of all segments that are done, in order."""
        parts: Any = self._redis.hgetall(f"{self._key('job', job_id)}:parts")
        return [parts[index] for index in sorted(parts, key=int)]

    def claim(self, job_id: str, holder: str, model: str) -> SegmentClaim | None:
        """Take the next piece of a job; None if there is none.

        Args:
            holder: a new word, by which the piece is known to be taken.
            model: the network; if it is another than that of finished segments, these are
                forgotten, as soon as nobody works on with theirs.
        """
        said = self._run("claim", job_id, holder, self.lease_s, model)
        if said is None:
            return None
        piece, attempt, needs_message = said
        return SegmentClaim(job_id, piece, attempt, holder, bool(needs_message))

    def report(self, claim: SegmentClaim, frames: int | None = None) -> ClaimState:
        """Renew the lease, and say how many frames of the piece are done."""
        told = "" if frames is None else frames
        said = self._run("report", claim.job_id, claim.piece, claim.holder, self.lease_s, told)
        return ClaimState(said)

    def finish(self, claim: SegmentClaim, name: str, size: int, frames: int) -> tuple[bool, bool]:
        """A segment is stored as `name`: whether that counts, and whether there is more to do."""
        said = self._run("finish", claim.job_id, claim.piece, name, size, frames)
        return bool(said[0]), bool(said[1])

    def succeed(self, job_id: str, result: JobResult, name: str, damage: str | None = None) -> bool:
        """The result is stored as `name`, but for what damage says: whether that counts."""
        known = {"name": result.name, "mimetype": result.mimetype, "digest": result.digest}
        text = json.dumps(known | {"size": result.size})
        told = (text, name, result.size, self.bounds.keep_s, damage or "")
        return bool(self._run("succeed", job_id, *told))

    def fail(self, job_id: str, error: str) -> bool:
        """End a job that cannot be done; false if it had ended already."""
        return bool(self._run("fail", job_id, error, self.bounds.keep_s))

    def release(self, claim: SegmentClaim, *, is_blameless: bool) -> bool:
        """Let go of a piece; whether there is something to do for others."""
        return bool(
            self._run("release", claim.job_id, claim.piece, claim.holder, int(is_blameless))
        )

    def cancel(self, job_id: str, delay_s: float) -> str:
        """End a job or forget it, its files after a delay: "cancelled", "forgotten", "nothing"."""
        return str(self._run("cancel", job_id, self.bounds.keep_s, delay_s))

    def needs_message(self, job_id: str, *, is_idle: bool) -> bool:
        """Whether there is something to do for which no message is under way.

        Args:
            is_idle: whether it is known that no message at all is under way.
        """
        return bool(self._run("look", job_id, int(is_idle)))

    def active(self) -> list[str]:
        """Jobs that are queued or running, the oldest first."""
        ids: Any = self._redis.zrange(self._key("active"), 0, -1)
        return list(ids)

    def waiting_messages(self, queue: str) -> int:
        """Messages of a queue that nobody has taken yet."""
        length: Any = self._redis.llen(queue)
        return int(length)

    def rubbish(self) -> list[str]:
        """Jobs whose files are to be deleted now, which nobody reads; the jobs are forgotten."""
        due: Any = self._redis.zrangebyscore(self._key("rubbish"), "-inf", self._now())
        for job_id in due:
            self._run("expire", job_id)
        return [job_id for job_id in due if not self._is_read(job_id)]

    def cleared(self, job_id: str) -> None:
        """The files of a job are deleted."""
        self._redis.zrem(self._key("rubbish"), job_id)

    def begin_reading(self, job_id: str, reader: str, patience_s: float) -> None:
        """Keep the files of a job for a reader, for so long at most."""
        self._redis.zadd(self._key("reading", job_id), {reader: self._now() + patience_s})
        self._redis.expire(self._key("reading", job_id), math.ceil(patience_s))

    def end_reading(self, job_id: str, reader: str) -> None:
        """A reader needs the files no more."""
        self._redis.zrem(self._key("reading", job_id), reader)

    def acquire(self, name: str, seconds: float) -> bool:
        """Whether what one process is to do in so many seconds is ours to do."""
        milliseconds = math.ceil(1000 * seconds)
        return bool(self._redis.set(self._key("turn", name), 1, nx=True, px=milliseconds))

    def counts(self) -> dict[JobState, int]:
        """Jobs that are there, by state."""
        ids: Any = self._redis.zrange(self._key("jobs"), 0, -1)
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hget(self._key("job", job_id), "state")
            states = pipeline.execute()
        return {state: states.count(state.value) for state in JobState}

    def disk_bytes(self) -> int:
        """Of all files."""
        sizes: Any = self._redis.hvals(self._key("bytes"))
        return sum(map(int, sizes))

    def _is_read(self, job_id: str) -> bool:
        readers: Any = self._redis.zcount(self._key("reading", job_id), self._now(), "+inf")
        return bool(readers)

    def _now(self) -> float:
        """Seconds since 1970 on the clock of Redis, which is one for all machines."""
        time: Any = self._redis.time()
        return float(time[0]) + float(time[1]) / 1e6

    def _key(self, *names: str) -> str:
        return ":".join((self._prefix, *names))

    def _run(self, script: str, job_id: str, *arguments: str | float) -> Any:
        texts = [str(argument) for argument in (self._prefix, job_id, *arguments)]
        return self._scripts[script](keys=[self._key("job", job_id)], args=texts)


def connect(url: str) -> "redis.Redis":
    """A client that gives text, and tries again for a while when Redis does not answer."""
    client: redis.Redis = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), 3),
    )
    return client
