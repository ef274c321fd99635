"""Measure this service on this machine, beside the original and other engines."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.load import measure_beside, measure_load
from benchmarks.machine import describe_machine
from benchmarks.memory import measure_growth
from benchmarks.original import mflop_per_lr_pixel
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.plots import draw
from benchmarks.report import render_page, write_sections
from benchmarks.restoring import measure_restoring
from benchmarks.results import Results, read_results, write_results
from benchmarks.server import running_server
from benchmarks.systems import (
    ORIGINAL,
    OURS,
    list_peers,
    list_services,
    measure_systems,
)
from config import ROOT, InvalidSetting, Settings
from core.errors import SuperResolutionError
from core.model.card import read_card

PARTS = ("latency", "peers", "load", "memory", "restoring")

Part = Callable[[Plan], dict[str, Any]]


def main() -> None:
    """Run the benchmarks; exit with the error message if they fail."""
    arguments = parse_arguments()
    try:
        report(arguments)
    except (SuperResolutionError, InvalidSetting, OSError, ValueError) as failure:
        sys.exit(f"python -m benchmarks: {failure}")


def report(arguments: argparse.Namespace) -> None:
    """Measure, or read earlier results; write and print the report."""
    results = read_results(arguments.results) if arguments.results else measure(arguments)
    write_report(arguments.out, results)
    for document in arguments.readme:
        write_sections(document, results)
    sys.stdout.write(render_page(results))


def parse_arguments() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small and short, to check that it runs"
    )
    parser.add_argument("--only", choices=PARTS, help="measure one part")
    parser.add_argument(
        "--load-seconds",
        type=float,
        help="duration of the load for each number of clients; default 20",
    )
    parser.add_argument(
        "--largest", type=int, metavar="PX", help="leave out pictures with a longer side"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "runs" / "bench", help="folder; default runs/bench"
    )
    parser.add_argument(
        "--readme",
        type=Path,
        action="append",
        default=[],
        help="document whose tables to rewrite; may be repeated",
    )
    parser.add_argument("--results", type=Path, help="results.json to show instead of measuring")
    parser.add_argument(
        "--engines",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="Python with benchmarks/requirements.txt; default that of .venv-bench",
    )
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> Results:
    """Measure the parts one after the other; save the results after each of them."""
    plan = choose_plan(arguments)
    parts = (arguments.only,) if arguments.only else PARTS
    results = Results(
        quick=arguments.quick, machine=describe_machine(plan.gemm_side), **describe_model()
    )
    for measure_part in list_parts(parts, arguments.engines):
        results = replace(results, **attempt(measure_part, plan))
        save_results(arguments.out, results)
    return results


def choose_plan(arguments: argparse.Namespace) -> Plan:
    """Return the full or the quick plan, changed by the options."""
    plan = QUICK if arguments.quick else FULL
    if arguments.load_seconds is not None:
        plan = replace(plan, load_s=arguments.load_seconds)
    if arguments.largest is not None:
        sizes, restored_sizes = (
            tuple(size for size in planned if max(size) <= arguments.largest)
            for planned in (plan.sizes, plan.restored_sizes)
        )
        plan = replace(plan, sizes=sizes, restored_sizes=restored_sizes)
    return plan


def list_parts(parts: tuple[str, ...], engines: Path) -> list[Part]:
    """Return the functions that measure the parts; each returns fields of Results."""
    listed: list[Part] = [partial(measure_speeds, parts, engines)]
    if "load" in parts:
        listed.append(measure_under_load)
    if "memory" in parts:
        listed.append(measure_memory)
    if "restoring" in parts:
        listed.append(measure_with_restorer)
    return listed


def attempt(part: Part, plan: Plan) -> dict[str, Any]:
    """Measure a part; if the server fails, print the reason and return nothing."""
    try:
        return part(plan)
    except OSError as failure:
        sys.stderr.write(f"{failure}\n")
        return {}


def describe_model() -> dict[str, Any]:
    """Return name, version, windows and arithmetic of the networks, as fields of Results."""
    settings = Settings.from_env()
    card = read_card(settings.card)
    windows = f"at most {settings.window}, and {settings.large_window} where nine suffice"
    return {
        "model": {"name": card.name, "version": card.version, "windows": windows},
        "mflop_per_lr_pixel": {OURS: card.mflop_per_lr_pixel, ORIGINAL: mflop_per_lr_pixel()},
    }


def measure_speeds(parts: tuple[str, ...], engines: Path, plan: Plan) -> dict[str, Any]:
    """Measure one picture after the other in this service, in the other systems, or in all."""
    with tempfile.TemporaryDirectory() as folder:
        systems = list_services() if "latency" in parts else []
        if "peers" in parts:
            systems += list_peers(Path(folder), engines.absolute())
        return {"speeds": measure_systems(systems, plan)}


def measure_under_load(plan: Plan) -> dict[str, Any]:
    """Measure a server with many clients, and with a large picture."""
    sys.stderr.write("load\n")
    with running_server() as (url, _server):
        return {"loads": measure_load(url, plan), "beside": measure_beside(url, plan)}


def measure_memory(plan: Plan) -> dict[str, Any]:
    """Measure the memory of a server after many requests."""
    sys.stderr.write("memory\n")
    with running_server() as (url, server):
        return {"memory": measure_growth(url, server.pid, plan)}


def measure_with_restorer(plan: Plan) -> dict[str, Any]:
    """Measure pictures without and with restoring."""
    sys.stderr.write("restoring\n")
    return {"restoring": measure_restoring(plan)}


def write_report(folder: Path, results: Results) -> None:
    """Write `results.json` with every figure, `results.md` with the tables, and the plots."""
    save_results(folder, results)
    (folder / "results.md").write_text(render_page(results), encoding="utf-8")
    for name, figure in draw(results).items():
        figure.savefig(folder / f"{name}.png")


def save_results(folder: Path, results: Results) -> None:
    """Write `results.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.json", results)


if __name__ == "__main__":
    main()
