"""What is written in the ledger of a job, read."""

import json
from collections.abc import Mapping

from jobs.errors import KeyReused, OutOfSpace, TooManyJobs
from jobs.job import Job, JobResult, State, wish_from_text

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
        state=State(fields["state"]),
        kind=fields["kind"],
        name=fields["name"],
        wish=wish_from_text(fields["wish"]),
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
