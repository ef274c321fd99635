"""All that can upscale here, measured one after the other on each size of picture."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from benchmarks.apart import OUT_OF_MEMORY, Failed, call_apart
from benchmarks.engines import (
    Exported,
    export_original,
    export_ours,
    time_engine,
    write_onnx,
    write_original,
    write_sample,
)
from benchmarks.latency import Answer, UnexpectedAnswer, measure_end_to_end
from benchmarks.network import time_original, time_ours
from benchmarks.plan import Plan, Rhythm
from benchmarks.processes import peak_memory_mb
from benchmarks.server import Running, free_port, running, running_server
from config import Settings
from core.model.tiles import WindowSizes
from core.runtime.machine import count_cores

OURS, ORIGINAL = "ours", "original"
SERVICE = "this service"
ORIGINAL_SERVICE = "original"

KILLED_FOR_MEMORY = (-signal.SIGABRT, -signal.SIGKILL)  # by C++ and by Linux


@dataclass(frozen=True)
class Speed:
    """One system on one size; all times of the repetitions, so that any figure can be drawn."""

    system: str
    network: str
    """OURS or ORIGINAL."""
    width: int
    height: int
    end_to_end_ms: list[float] = field(default_factory=list)
    network_ms: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    """Of the server's processes, or of the one that runs the network alone."""
    difference_levels: int | None = None
    """Largest, from the frozen graph in TensorFlow, on a sample."""
    note: str = ""
    """Why there is no figure."""


@dataclass(frozen=True)
class System:
    """What can be measured; `measure` gives the fields of Speed that it knows."""

    name: str
    network: str
    measure: Callable[[int, int, Rhythm], dict[str, Any]]


def measure_systems(systems: Sequence[System], plan: Plan) -> list[Speed]:
    """Every system on every size, size by size, so that what is compared is measured together."""
    exhausted: dict[str, str] = {}
    speeds = []
    for width, height in plan.sizes:
        for system in systems:
            sys.stderr.write(f"{width} x {height}: {system.name}\n")
            speed = measure_system(system, width, height, plan.rhythm, exhausted)
            speeds.append(speed)
    return speeds


def measure_system(
    system: System, width: int, height: int, rhythm: Rhythm, exhausted: dict[str, str]
) -> Speed:
    """One system on one size, unless a smaller size was too much for memory.

    Args:
        exhausted: system -> the size that was too much; added to.
    """
    described = {"system": system.name, "network": system.network, "width": width, "height": height}
    if system.name in exhausted:
        return Speed(**described, note=f"skipped: {OUT_OF_MEMORY} at {exhausted[system.name]}")
    try:
        return Speed(**described, **system.measure(width, height, rhythm))
    except (Failed, OSError) as failure:  # of requests and of processes too
        if str(failure) == OUT_OF_MEMORY:
            exhausted[system.name] = f"{width} x {height}"
        return Speed(**described, note=str(failure))


def list_services() -> list[System]:
    return [System(SERVICE, OURS, measure_service)]


def list_peers(folder: Path, engines_python: Path) -> list[System]:
    """The original, and engines with both networks.

    Args:
        folder: for the networks in files.
        engines_python: interpreter that has the engines.
    """
    return [
        System(ORIGINAL_SERVICE, ORIGINAL, measure_original_service),
        System("original, shuffle in one operation", ORIGINAL, measure_original_at_once),
        *list_engines(folder, engines_python),
    ]


def measure_service(width: int, height: int, rhythm: Rhythm) -> dict[str, Any]:
    """The server of this checkout; its network in a process of its own."""
    with running_server() as server:
        answers, peak_mb = post_to(server, width, height, rhythm)
    network_ms, _ = call_apart(time_ours, width=width, height=height, rhythm=asdict(rhythm))
    end_to_end_ms = [answer.end_to_end_ms for answer in answers]
    return {"end_to_end_ms": end_to_end_ms, "network_ms": network_ms, "peak_mb": peak_mb}


def measure_original_service(width: int, height: int, rhythm: Rhythm) -> dict[str, Any]:
    """The original's way through HTTP; its network in the same requests."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.original_service", str(port)]
    with running(command, port) as server:
        answers, peak_mb = post_to(server, width, height, rhythm)
    return {
        "end_to_end_ms": [answer.end_to_end_ms for answer in answers],
        "network_ms": [answer.network_ms for answer in answers],
        "peak_mb": peak_mb,
    }


def post_to(server: Running, width: int, height: int, rhythm: Rhythm) -> tuple[list[Answer], float]:
    """The answers of a server, and its peak memory, MB.

    Raises:
        Failed: if a picture was not upscaled.
    """
    url, process = server
    try:
        answers = measure_end_to_end(url, width, height, rhythm)
    except UnexpectedAnswer as answer:
        raise Failed(describe_answer(answer.status, process.poll())) from None
    return answers, peak_memory_mb(process.pid)


def describe_answer(status: str, code: int | None) -> str:
    """Why a picture was not upscaled, from the status of the answer and the server's exit code."""
    if status == str(HTTPStatus.INSUFFICIENT_STORAGE.value) or code in KILLED_FOR_MEMORY:
        return OUT_OF_MEMORY
    return f"answered with {status}"


def measure_original_at_once(width: int, height: int, rhythm: Rhythm) -> dict[str, Any]:
    network_ms, peak_mb = call_apart(
        time_original, width=width, height=height, rhythm=asdict(rhythm), shuffle="at once"
    )
    return {"network_ms": network_ms, "peak_mb": peak_mb}


def list_engines(folder: Path, python: Path) -> Iterator[System]:
    """Each engine with each network, in each precision."""
    settings = Settings.from_env()
    networks = {
        OURS: export_ours(
            settings.card, folder, WindowSizes(settings.window, settings.large_window)
        ),
        ORIGINAL: export_original(folder),
    }
    write_networks(networks, python)
    for name, exported in networks.items():
        for engine, precision in (
            ("ONNX Runtime", "float32"),
            ("OpenVINO", "float32"),
            ("OpenVINO", "bfloat16"),
        ):
            measure = engine_measurement(exported, engine, precision, python)
            yield System(f"{name} in {engine}, {precision}", name, measure)


def write_networks(networks: dict[str, Exported], python: Path) -> None:
    """Put the networks into files; what fails is missed by those who need it."""
    steps: list[tuple[Callable, dict[str, Any]]] = [
        (write_original, {"graph": networks[ORIGINAL].graph})
    ]
    for exported in networks.values():
        fields = {"exported": asdict(exported)}
        steps += [(write_sample, fields), (write_onnx, fields | {"python": python})]
    for step, arguments in steps:
        try:
            call_apart(step, **arguments)
        except Failed as failure:
            sys.stderr.write(f"{step.__name__}: {failure}\n")


def engine_measurement(
    exported: Exported, engine: str, precision: str, python: Path
) -> Callable[[int, int, Rhythm], dict[str, Any]]:
    threads = Settings.from_env().inference_threads or count_cores()

    def measure(width: int, height: int, rhythm: Rhythm) -> dict[str, Any]:
        measured, peak_mb = call_apart(
            time_engine,
            python=python,
            exported=asdict(exported),
            engine=engine,
            precision=precision,
            threads=threads,
            width=width,
            height=height,
            rhythm=asdict(rhythm),
        )
        return {**measured, "peak_mb": peak_mb}

    return measure
