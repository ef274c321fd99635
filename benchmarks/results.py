"""The results of a run, and their JSON file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.load import Beside, Load
from benchmarks.memory import Memory
from benchmarks.restoring import Restoring
from benchmarks.systems import Speed


@dataclass(frozen=True)
class Results:
    """Results of one run; parts that were not measured are empty."""

    quick: bool
    """Whether the run was too short for useful figures."""
    machine: dict[str, Any]
    model: dict[str, Any]
    """Name, version and windows, px, of the model in the service."""
    mflop_per_lr_pixel: dict[str, float]
    """Arithmetic by network, in 1e6 operations (2 per multiply-add)."""
    date: str = field(default_factory=lambda: str(date.today()))
    speeds: list[Speed] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    beside: Beside | None = None
    memory: list[Memory] = field(default_factory=list)
    restoring: list[Restoring] = field(default_factory=list)


def write_results(path: Path, results: Results) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(asdict(results), indent=2) + "\n")


def read_results(path: Path) -> Results:
    """Read the results that `write_results` wrote."""
    values = json.loads(path.read_text())
    values["speeds"] = [Speed(**speed) for speed in values["speeds"]]
    values["loads"] = [Load(**load) for load in values["loads"]]
    values["memory"] = [Memory(**reading) for reading in values["memory"]]
    values["restoring"] = [Restoring(**reading) for reading in values.get("restoring", [])]
    values["beside"] = parse_beside(values["beside"])
    return Results(**values)


def parse_beside(values: Mapping[str, Any] | None) -> Beside | None:
    """Return the part with the large picture; JSON stores its tuples as lists."""
    if values is None:
        return None
    sizes = {name: tuple(values[name]) for name in ("small_size", "large_size")}
    return Beside(**(values | sizes))
