"""Files of jobs, copied to this machine while pieces of them are computed here."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from core.media import Medium
from jobs.cluster.storage import Storage

MOST = 4
"""Jobs whose files are kept here: a worker goes from one job to the next and back."""

Look = Callable[[Path], Medium]
"""Opens the file of a job."""


class Sources:
    """The files that were used last.

    Args:
        storage: where they come from.
        folder: for the copies.
    """

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._media: OrderedDict[str, Medium] = OrderedDict()

    def medium(self, job_id: str, look: Look) -> Medium:
        """The medium of a job, as `look` has opened it.

        Raises:
            OSError: if the file is not to be had.
            SuperResolutionError: of the file, as `look` does.
        """
        if job_id not in self._media:
            path = self._folder / job_id
            self._storage.fetch(source_name(job_id), path)
            self._media[job_id] = look(path)
        self._media.move_to_end(job_id)
        while len(self._media) > MOST:
            self.drop(next(iter(self._media)))
        return self._media[job_id]

    def drop(self, job_id: str) -> None:
        """Keep the file of a job no longer: it is done, or one does not know what is wrong."""
        self._media.pop(job_id, None)
        (self._folder / job_id).unlink(missing_ok=True)


def source_name(job_id: str) -> str:
    """Of the file of a job, in the storage."""
    return f"{job_id}/source"


def part_name(job_id: str, piece: int, holder: str) -> str:
    """Of a segment: two workers that compute the same one do not write one file."""
    return f"{job_id}/parts/{piece}-{holder}"


def parts_name(job_id: str) -> str:
    """Of the folder of all segments."""
    return f"{job_id}/parts"


def result_file_name(job_id: str, holder: str) -> str:
    """Of the result, in the storage."""
    return f"{job_id}/result-{holder}"
