"""Send damaged files to a target for some time, count the outcomes, and keep harmful files."""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzzing.mutations import damage
from tests.fuzzing.targets import Outcome, Target

SLOW_S = 5.0
"""A file that takes longer is kept."""


@dataclass
class Tally:
    """The outcomes of all files.

    Attributes:
        outcomes: number of files by outcome.
        slowest_s: seconds that the slowest file took.
        kept: files that did harm.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    kept: list[Path] = field(default_factory=list)


def run(
    target: Target, seeds: Sequence[bytes], random: Random, *, seconds: float, folder: Path
) -> Tally:
    """Send damaged seeds to a target.

    Args:
        target: what gets the files.
        seeds: files to damage.
        random: source of random numbers.
        seconds: duration.
        folder: folder for files that do harm; it is created with the first one.
    """
    tally, deadline = Tally(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = damage(random, seeds)
        started = time.monotonic()
        outcome = target(data)
        record(tally, data, outcome, time.monotonic() - started, folder)
    return tally


def record(tally: Tally, data: bytes, outcome: Outcome, seconds: float, folder: Path) -> None:
    """Count an outcome; keep the file if it did harm or was slow."""
    tally.outcomes[outcome.name] += 1
    tally.slowest_s = max(tally.slowest_s, seconds)
    if outcome.is_offence or seconds > SLOW_S:
        kind = outcome.name if outcome.is_offence else "slow"
        tally.kept.append(keep(data, kind, folder))


def keep(data: bytes, kind: str, folder: Path) -> Path:
    """Write a file to the folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def summarise(tally: Tally) -> str:
    """Return the outcomes as lines for a terminal."""
    counts = [f"{count:8} {name}" for name, count in tally.outcomes.most_common()]
    kept = [f"kept {path}" for path in tally.kept]
    return "\n".join([*counts, f"slowest {tally.slowest_s:.2f} s", *kept, ""])
