"""Every error that jobs/ raises on purpose, and the messages that both engines share.

SuperResolutionError      of core/errors
└── JobError
    ├── UnknownJob        the job does not exist, or does not exist any more
    ├── KeyReused         the idempotency key came with other content before
    ├── JobUnfinished     the job has no result yet
    ├── ResultGone        the job has no result and never will
    ├── (and RetryLater)  the same request may succeed later
    │   ├── OutOfSpace        files of jobs may not take more of the disk
    │   ├── TooManyJobs       too many jobs are waiting, or there is no memory for more
    │   ├── TooManyWatchers   too many callers watch jobs already
    │   └── EngineUnavailable queue or storage do not answer
    ├── SegmentAbandoned  a segment was begun several times and never finished
    └── JobInterrupted    stop working on the job: it was cancelled, or the server stops
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import RetryLater, SuperResolutionError

RETRY_AFTER_S = 60
"""Seconds until there may be space again: when results expire or jobs end."""

MEGABYTE = 1_000_000


class JobError(SuperResolutionError):
    """Base of every error raised on purpose in jobs/."""


class UnknownJob(JobError):
    """The job does not exist, or does not exist any more."""

    def __init__(self) -> None:
        super().__init__("Job must be one that exists and has not expired. Received: another id.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class KeyReused(JobError):
    """The idempotency key came with another file or other options before."""

    def __init__(self) -> None:
        super().__init__(
            "Idempotency key must come with the same file and fields as the first time. "
            "Received: others."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class JobUnfinished(JobError):
    """The job has no result yet."""


class ResultGone(JobError):
    """The job has no result and never will: it failed, was cancelled or expired."""


class OutOfSpace(JobError, RetryLater):
    """Files of jobs may not take more of the disk."""


class TooManyJobs(JobError, RetryLater):
    """Too many jobs are waiting, or the queue has no memory for another one."""


class TooManyWatchers(JobError, RetryLater):
    """Too many callers watch jobs already."""


class EngineUnavailable(JobError, RetryLater):
    """Queue or storage do not answer."""


class SegmentAbandoned(JobError):
    """A segment was begun several times and never finished."""


class JobInterrupted(JobError):
    """Stop working on the job: it was cancelled, or the server stops."""


def too_many_jobs(limit: int) -> TooManyJobs:
    """Return the error for a queue that is full."""
    return TooManyJobs(
        f"At most {limit} jobs may wait. Received: one more.", retry_after_s=RETRY_AFTER_S
    )


def queue_memory_full(used_bytes: int, limit_bytes: int) -> TooManyJobs:
    """Return the error for a queue that has no memory for another job."""
    return TooManyJobs(
        f"The queue of jobs must use at most {limit_bytes} bytes to take another one. "
        f"Received: {used_bytes} bytes used.",
        retry_after_s=RETRY_AFTER_S,
    )


def over_budget(budget_bytes: int, used_bytes: int, more_bytes: int) -> OutOfSpace:
    """Return the error for files that do not fit into the disk budget."""
    return OutOfSpace(
        f"Files of jobs must take at most {budget_bytes // MEGABYTE} MB. "
        f"Received: {more_bytes} bytes more than the {used_bytes} bytes that are taken.",
        retry_after_s=RETRY_AFTER_S,
    )


def disk_full() -> OutOfSpace:
    """Return the error for a write that failed because the disk is full."""
    return OutOfSpace(
        "Files of jobs must fit on their disk. Received: one more, and it is full.",
        retry_after_s=RETRY_AFTER_S,
    )


@contextmanager
def disk_full_reported() -> Iterator[None]:
    """Raise OutOfSpace instead of the operating system's errors for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full() from error
