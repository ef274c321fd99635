"""Everything jobs/ raises on purpose, beside what core/ raises.

SuperResolutionError      of core/errors
└── JobError
    ├── UnknownJob        there is no such job, or not any more
    ├── KeyReused         the idempotency key came with other content before
    ├── JobUnfinished     there is no result yet
    ├── ResultGone        there is no result, and there will be none
    ├── (and ComeBack)    it may go better later
    │   ├── OutOfSpace        files of jobs may not take more of the disk
    │   ├── TooManyJobs       too many jobs are waiting
    │   ├── TooManyWatchers   too many callers watch jobs already
    │   └── EngineUnavailable queue or storage do not answer
    ├── SegmentAbandoned  whoever began a segment did not come to its end
    └── JobInterrupted    the job is to be left as it is: cancelled, or the server stops
"""

from core.errors import RetryLater, SuperResolutionError


class JobError(SuperResolutionError):
    """Base of every error raised on purpose in jobs/."""


class UnknownJob(JobError):
    """There is no such job, or not any more."""

    def __init__(self) -> None:
        super().__init__("Job must be one that exists and has not expired. Received: another id.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class KeyReused(JobError):
    """The idempotency key came with another file, or other wishes, before."""

    def __init__(self) -> None:
        super().__init__(
            "Idempotency key must come with the same file and fields as the first time. "
            "Received: others."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class JobUnfinished(JobError):
    """There is no result yet."""


class ResultGone(JobError):
    """There is no result, and there will be none: failed, cancelled or expired."""


class OutOfSpace(JobError, RetryLater):
    """Files of jobs may not take more of the disk."""


class TooManyJobs(JobError, RetryLater):
    """Too many jobs are waiting."""


class TooManyWatchers(JobError, RetryLater):
    """Too many callers watch jobs already."""


class EngineUnavailable(JobError, RetryLater):
    """Queue or storage do not answer."""


class SegmentAbandoned(JobError):
    """Whoever began a segment did not come to its end, several times."""


class JobInterrupted(JobError):
    """The job is to be left as it is: it was cancelled, or the server stops."""
