"""A job: what was submitted, how far it is, and what came of it.

A `Job` is a snapshot. Every change of a job raises its `version`, so a caller who has seen one
snapshot can ask for what came after it.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from core.options import OutputOptions

ID_BYTES = 24
"""Random bytes in an id. Whoever knows the id controls the job, so it must not be guessable."""

ADDED_OPTIONS = (
    "restore",
    "strength",
    "scale",
    "width",
    "height",
    "fit",
    "merges_undelayed",
    "model",
)
"""Attributes of options that the first version did not store."""

LONGEST_NAME = 150
"""Number of characters to which the name of a file is cut."""


class JobState(StrEnum):
    """The stage of a job.

    A job passes the stages from top to bottom. It returns from running to queued when its server
    stops or fails; finished segments stay finished.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended and only expires."""
        return self in FINAL


OPTIONS_FIELD = "wish"
"""Field that holds the options of a stored job. Version 1.0 called it so, whose jobs are still
read and whose workers may share the queue during an upgrade."""

FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""The states in which a job has ended."""


@dataclass(frozen=True)
class JobResult:
    """Metadata of the file that a job has made.

    Attributes:
        name: under which to save the file, such as "holiday_x4.mp4".
        mimetype: of the file.
        size: in bytes.
        digest: SHA-256 of the bytes, hexadecimal.
        expires: when the file is deleted, seconds since 1970.
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
        id: random text; whoever knows it can watch the job, cancel it and fetch its result.
        version: 1 at first, and higher after each change.
        state: stage of the job.
        kind: of the medium: "video", "animation" or "pictures".
        name: of the uploaded file, without folders; for people.
        options: options of the result.
        frames: number of frames to compute.
        frames_done: number of computed frames. When a job is resumed, it falls back to the
            number of frames in finished segments.
        created: when the job was accepted, seconds since 1970.
        started: when its first frame was begun, seconds since 1970; None before.
        finished: when its state became final, seconds since 1970; None before.
        rate: recent frames a second; None until it is measured.
        position: number of jobs before it: all that run, and those that wait and came earlier.
            None unless it is queued.
        error: why the job failed, for its owner; None unless it failed.
        damage: what is wrong with the uploaded file, for its owner; None if nothing. The result
            lacks the damaged frames.
        result: None unless the job succeeded.
        expires: when the job is forgotten, seconds since 1970; None before it is final.
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
        """Estimated seconds until the job is done; None unless it runs at a known rate."""
        if self.state is not JobState.RUNNING or not self.rate:
            return None
        return (self.frames - self.frames_done) / self.rate


@dataclass(frozen=True)
class NewJob:
    """A job to store, and the request that submitted it.

    Attributes:
        job: queued.
        caller: owner of the idempotency key.
        key: idempotency key; None without.
        digest: SHA-256 of the uploaded file. The key stands for this file with these options.
        size: of the uploaded file, in bytes.
        segments: number of segments to compute.
        model_id: identifies the network that computes the frames.
    """

    job: Job
    caller: str
    key: str | None
    digest: str
    size: int
    segments: int
    model_id: str


def new_id() -> str:
    """Return an id that cannot be guessed, of letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(ID_BYTES)


def result_name(
    name: str, suffix: str, options: OutputOptions, scale: int, model: str | None = None
) -> str:
    """Return the name of a result, derived from the name of the uploaded file.

    Args:
        name: name of the uploaded file.
        suffix: suffix of the result.
        options: the size that was asked for becomes a part of the name.
        scale: factor where no size was asked for.
        model: that becomes a part of the name; None for the default one.

    >>> result_name("holiday.mov", ".mp4", OutputOptions(), 4)
    'holiday_x4.mp4'
    >>> result_name("holiday.jpg", ".png", OutputOptions(width=1920, height=1080), 4)
    'holiday_1920w_1080h.png'
    >>> result_name("holiday.jpg", ".png", OutputOptions(), 4, "anime")
    'holiday_anime_x4.png'
    """
    stem = name.rpartition(".")[0] or name
    sides = {"w": options.width, "h": options.height}
    size = [f"{side}{unit}" for unit, side in sides.items() if side is not None]
    factor = scale if options.scale is None else options.scale
    parts = [stem, *([] if model is None else [model]), *(size or [f"x{factor:g}"])]
    return "_".join(parts) + suffix


def clean_name(name: str) -> str:
    r"""Return the last part of a path from a caller, without unprintable characters.

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
    """Return options as JSON; equal options give equal text.

    Options that older versions did not have are left out where they have their defaults. So the
    text of a job from before an upgrade stays the same.
    """
    defaults = asdict(OutputOptions())
    values = {
        name: value
        for name, value in asdict(options).items()
        if name not in ADDED_OPTIONS or value != defaults[name]
    }
    return json.dumps(values, sort_keys=True)


def options_from_json(text: str) -> OutputOptions:
    """Read options from the text of `options_to_json`; options it lacks have their defaults."""
    return replace(OutputOptions(), **json.loads(text))
