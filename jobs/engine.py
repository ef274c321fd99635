"""What can be done with jobs, whoever works them off.

There are two engines: `jobs.embedded.engine`, which needs nothing but a folder, and one of several
machines. The service knows this protocol only.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from core.media.medium import ClipLimits, Medium
from core.options import OutputOptions
from jobs.job import Job, JobResult, JobState

OpenMedium = Callable[[Path, ClipLimits, OutputOptions], Medium]
"""Looks at a file and says how it is worked on; reads as little of it as that takes.

Raises what `core.errors` has for files and wishes: the texts are for the file's owner. The
medium must be the same whenever the same file is opened with the same wish, in whatever
process: the same segments, and the same bytes of each.
"""


class Submission(NamedTuple):
    """What became of a file that was handed in.

    Attributes:
        job: that computes it.
        is_new: false if an earlier request with the same idempotency key had made it.
    """

    job: Job
    is_new: bool


class OpenResult(NamedTuple):
    """A result that is being read; it stays whole until it is closed, expired or not.

    Attributes:
        file: at its beginning, seekable.
        result: what is known of it.
    """

    file: IO[bytes]
    result: JobResult


@dataclass(frozen=True)
class EngineStats:
    """What an engine has and has done, for those who run it.

    Attributes:
        jobs: that are there now, by state; every state has its figure.
        disk_bytes: of all their files.
        disk_budget_bytes: that they may take.
    """

    jobs: Mapping[JobState, int]
    disk_bytes: int
    disk_budget_bytes: int


class JobEngine(Protocol):
    """An engine. All methods may be called by several threads at once.

    Attributes:
        on_frames: told how many frames were computed, whenever some were; by a thread of
            the engine. Only frames that this process has computed.
        on_final: told the state of each job that has come to its end, likewise.
    """

    on_frames: Callable[[int], None]
    on_final: Callable[[JobState], None]

    def submit(
        self, upload: IO[bytes], name: str, wish: OutputOptions, *, key: str | None, caller: str
    ) -> Submission:
        """Accept a file. When this returns, the job survives the end of any process.

        The file is opened by `OpenMedium`, so that one which cannot be worked on is
        refused now, with a precise error.

        Args:
            upload: the file, read from its beginning to its end; not closed.
            name: that its owner gave it, in whatever form.
            wish: how the result is wanted.
            key: idempotency key; None without. The same key of the same caller with the
                same bytes and wish gives the same job for as long as that is there, also
                to requests that come at the same time.
            caller: whose key it is; keys of different callers have nothing to do with
                each other.

        Raises:
            KeyReused: if the key came with other bytes, or another wish.
            OutOfSpace: if the file does not fit into the disk budget.
            TooManyJobs: if too many are waiting.
            SuperResolutionError: of the file or the wish, as `OpenMedium` does.
        """

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            UnknownJob: if it is not there, or not any more.
        """

    def cancel(self, job_id: str) -> None:
        """See to it that the job takes no more time and no more room.

        One that is queued or running becomes cancelled, at the latest with the frame that
        is being computed; its files go. One that succeeded or failed is forgotten, with
        its result. One that is cancelled, or not there, stays so. So it does not matter
        how often this is called.
        """

    def open_result(self, job_id: str) -> AbstractContextManager[OpenResult]:
        """The result, for reading.

        Raises:
            UnknownJob: if the job is not there.
            JobUnfinished: if it is queued or running.
            ResultGone: if it failed or was cancelled.
        """

    def watch(self, job_id: str, after: int = 0) -> Iterator[Job | None]:
        """Snapshots of a job as it changes, the last of them in its final state.

        The first comes at once, unless its version is `after` and it is not final. Not
        every version is seen: several changes may come as one. Ends after the final
        state, when the job vanishes, or when the engine is told to stop.

        Args:
            after: version that the caller has seen.

        Returns:
            Snapshots; None now and then, at least every 15 s, when nothing has changed.

        Raises:
            UnknownJob: if the job is not there; raised by the call, not by the iterator.
        """

    def figures(self) -> EngineStats:
        """How much there is at the moment."""

    def start(self) -> None:
        """Begin to work jobs off in this process, those too that others have left."""

    def stop(self) -> None:
        """Begin no more frames, end all watching, and return at once.

        Finished segments are kept; the job goes on elsewhere, or after the next start.
        May be called by a signal handler, and several times.
        """

    def close(self) -> None:
        """Stop, and wait until nothing is worked on any more."""
