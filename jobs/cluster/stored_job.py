"""The hash of fields that Redis stores of a job, read as a snapshot."""

import json
from collections.abc import Mapping

from jobs.job import OPTIONS_FIELD, Job, JobResult, JobState, options_from_json


def job_from_fields(job_id: str, fields: Mapping[str, str], position: int | None) -> Job:
    """Return the snapshot of a job from its stored fields."""
    expires = _number(fields, "expires")
    return Job(
        id=job_id,
        version=int(fields["version"]),
        state=JobState(fields["state"]),
        kind=fields["kind"],
        name=fields["name"],
        options=options_from_json(fields[OPTIONS_FIELD]),
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
