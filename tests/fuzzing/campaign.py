"""Damaged files without end, what became of them, and those that did harm."""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzzing.mutations import damaged
from tests.fuzzing.targets import Outcome, Target

SLOW_S = 5.0
"""What takes longer is kept to be looked at."""


@dataclass
class Tally:
    """What became of all files.

    Attributes:
        outcomes: how often there was which.
        slowest_s: seconds of the slowest.
        kept: files that did harm.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    kept: list[Path] = field(default_factory=list)


def run(target: Target, seeds: Sequence[bytes], random: Random, *, for_s: float, to: Path) -> Tally:
    """Throw damaged seeds at a target for so many seconds.

    Args:
        to: folder for the files that do harm, made when there is one.
    """
    tally, end = Tally(), time.monotonic() + for_s
    while time.monotonic() < end:
        data = damaged(random, seeds)
        began = time.monotonic()
        outcome = target(data)
        note(tally, data, outcome, time.monotonic() - began, to)
    return tally


def note(tally: Tally, data: bytes, outcome: Outcome, seconds: float, to: Path) -> None:
    """Count an outcome; keep its file if it did harm or was slow."""
    tally.outcomes[outcome.name] += 1
    tally.slowest_s = max(tally.slowest_s, seconds)
    if outcome.is_offence or seconds > SLOW_S:
        kind = outcome.name if outcome.is_offence else "slow"
        tally.kept.append(keep(data, kind, to))


def keep(data: bytes, kind: str, to: Path) -> Path:
    to.mkdir(parents=True, exist_ok=True)
    path = to / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def describe(tally: Tally) -> str:
    """Lines for a terminal."""
    counts = [f"{count:8} {name}" for name, count in tally.outcomes.most_common()]
    kept = [f"kept {path}" for path in tally.kept]
    return "\n".join([*counts, f"slowest {tally.slowest_s:.2f} s", *kept, ""])
