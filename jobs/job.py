"""A job as it is at a moment: what is asked for, how far it is, what came of it.

A `Job` is a snapshot. Each change of a job makes its `version` one higher or more, so two
snapshots can be compared, and who has seen one can ask for what came after.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from core.options import OutputOptions

ID_BYTES = 24
"""Of chance in an id: who has it may do with the job what its owner may."""

LONGEST_NAME = 150
"""Characters of a file's name that are kept."""


class JobState(StrEnum):
    """Where a job stands. It goes downwards only, but from running back to queued when a
    server is stopped or fails in the middle; what is finished of it stays finished."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen any more, but that the job expires."""
        return self in FINAL


FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True)
class JobResult:
    """The file that a job has made.

    Attributes:
        name: for who saves it, such as "holiday_x4.mp4".
        mimetype: of it.
        size: bytes.
        digest: SHA-256 of its bytes, hexadecimal.
        expires: when it is deleted, seconds since 1970.
    """

    name: str
    mimetype: str
    size: int
    digest: str
    expires: float


@dataclass(frozen=True)
class Job:
    """A snapshot of a job.

    Attributes:
        id: not to be guessed; it is all that is needed to see, cancel and fetch.
        version: at least one higher after each change, from 1.
        state: where it stands.
        kind: of the medium: "video", "animation" or "pictures".
        name: of the file that was sent, without folders; for people.
        options: options of the result.
        frames: to be computed.
        frames_done: of these, never fewer than are in finished segments. Falls back to
            that when a job is resumed.
        created: when it was accepted, seconds since 1970.
        started: when its first frame was begun; None before.
        finished: when its state became final; None before.
        rate: frames a second lately; None as long as none was measured.
        position: jobs that will be begun before it; None unless it is queued.
        error: why it failed, for its owner; None unless it failed.
        damage: what is wrong with the file, whose result ends there or lacks something,
            for its owner; None if nothing is.
        result: None unless it succeeded.
        expires: when all of it is forgotten, seconds since 1970; None before it is final.
    """

    id: str
    version: int
    state: JobState
    kind: str
    name: str
    options: OutputOptions
    frames: int
    frames_done: int
    created: float
    started: float | None = None
    finished: float | None = None
    rate: float | None = None
    position: int | None = None
    error: str | None = None
    damage: str | None = None
    result: JobResult | None = None
    expires: float | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds until it is done, once it runs and its rate is known."""
        if self.state is not JobState.RUNNING or not self.rate:
            return None
        return (self.frames - self.frames_done) / self.rate


def new_id() -> str:
    """An id that nobody can guess, of letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(ID_BYTES)


def result_name(name: str, suffix: str, scale: int) -> str:
    """Name of a result, after that of its file.

    >>> result_name("holiday.mov", ".mp4", 4)
    'holiday_x4.mp4'
    """
    stem = name.rpartition(".")[0] or name
    return f"{stem}_x{scale}{suffix}"


def clean_name(name: str) -> str:
    r"""The last part of a path that a caller made up, of characters that can be shown.

    >>> clean_name("../..\\a\x00b/ holi\nday.mov"), clean_name("/")
    ('holiday.mov', 'file')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(character for character in last if character.isprintable()).strip(" .")
    if len(shown) <= LONGEST_NAME:
        return shown or "file"
    stem, dot, suffix = shown.rpartition(".")
    return f"{stem[: LONGEST_NAME - 10]}{dot}{suffix[:9]}"


def options_to_json(options: OutputOptions) -> str:
    """Return options as JSON. Equal options give equal texts."""
    return json.dumps(asdict(options), sort_keys=True)


def options_from_json(text: str) -> OutputOptions:
    """Return the options of a text of `options_to_json`.

    Options that an older version did not write have their defaults.
    """
    return replace(OutputOptions(), **json.loads(text))
