"""The folder of a trial: what the server may read, and the key that it never opens.

`trial.json` holds the design without labels, `pictures/` the pictures under random names, and
`answers.sqlite` what people answered. Only `key.json` tells which output a picture is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.files import atomic_write
from training import CommandFailed

TRIAL_FILE, KEY_FILE, ANSWERS_FILE = "trial.json", "key.json", "answers.sqlite"
PICTURES = "pictures"  # name of the folder
OWNER_ONLY = 0o600  # permissions: the order and the key are no business of raters
FORMAT = 1  # of both JSON files

NEAREST, HR = "nearest neighbour", "HR"
ANCHORS = (NEAREST, HR)
"""Labels of the anchors: the worst and the best version of a picture."""


class Design(StrEnum):
    """What a rater is asked."""

    ABSOLUTE = "absolute"  # one picture, a score
    PAIRS = "pairs"  # two versions of a picture, which is better

    @property
    def values(self) -> tuple[int, ...]:
        """Possible answers: scores, or `SAME`, `FIRST` and `SECOND`."""
        return (1, 2, 3, 4, 5) if self is Design.ABSOLUTE else (SAME, FIRST, SECOND)


SAME, FIRST, SECOND = 0, 1, 2
"""Answers to a pair."""

Question = tuple[str, ...]
"""Identifiers of the pictures that are shown: one, or the first and the second of a pair."""


@dataclass(frozen=True)
class Example:
    """A question asked for practice, with the answer that the page gives."""

    shown: Question
    answer: int


@dataclass(frozen=True)
class Trial:
    """What the server needs to know. It contains no label.

    Attributes:
        design: what a rater is asked.
        consent: text that a rater agrees to.
        height: greatest height of a picture, px.
        width: greatest width of a picture, px.
        examples: questions for practice.
        orders: the questions of each rater, in their order.
    """

    design: Design
    consent: str
    height: int
    width: int
    examples: tuple[Example, ...]
    orders: tuple[tuple[Question, ...], ...]

    @property
    def question_count(self) -> int:
        """Return the number of questions of each rater."""
        return len(self.orders[0])


@dataclass(frozen=True)
class Version:
    """What a picture of a trial is.

    Attributes:
        picture: test set and name of the file, for example `Set5/baby`.
        label: label of the output, or one of `ANCHORS`.
    """

    picture: str
    label: str


@dataclass(frozen=True)
class Key:
    """What only the report may read.

    Attributes:
        seed: seed that the trial was drawn with.
        outputs: labels of the compared outputs.
        versions: what each picture is, by its identifier.
    """

    seed: int
    outputs: tuple[str, ...]
    versions: Mapping[str, Version]


def picture_path(folder: Path, identifier: str) -> Path:
    """Return the file of a picture of a trial."""
    return folder / PICTURES / f"{identifier}.png"


def write_trial(folder: Path, trial: Trial, key: Key) -> None:
    """Write the design and the key. Both are readable for their owner only."""
    _write(folder / KEY_FILE, asdict(key))
    _write(folder / TRIAL_FILE, asdict(trial))


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as partial:
        partial.touch(OWNER_ONLY)
        partial.write_text(json.dumps({"format": FORMAT} | content) + "\n", encoding="utf-8")


def read_trial(folder: Path) -> Trial:
    """Read the design of a trial.

    Raises:
        CommandFailed: if the folder holds no trial.
    """
    content = _read(folder, TRIAL_FILE)
    try:
        return Trial(
            Design(content["design"]),
            content["consent"],
            content["height"],
            content["width"],
            tuple(Example(tuple(e["shown"]), e["answer"]) for e in content["examples"]),
            tuple(tuple(tuple(question) for question in order) for order in content["orders"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _no_trial(folder / TRIAL_FILE, repr(error)) from None


def read_key(folder: Path) -> Key:
    """Read the key of a trial.

    Raises:
        CommandFailed: if the folder holds no key.
    """
    content = _read(folder, KEY_FILE)
    try:
        versions = {name: Version(**version) for name, version in content["versions"].items()}
        return Key(content["seed"], tuple(content["outputs"]), versions)
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_trial(folder / KEY_FILE, repr(error)) from None


def _read(folder, name):
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_trial(folder / name, str(error)) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _no_trial(folder / name, "another format")
    return content


def _no_trial(path, received):
    return CommandFailed(
        f"{path} must be a file that `opinion prepare` wrote. Received: {received}."
    )
