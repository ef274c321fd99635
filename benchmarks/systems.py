"""Measure every system that can upscale, one after the other on each size of picture."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from benchmarks.engines import (
    ExportedNetwork,
    locate_original,
    locate_ours,
    time_engine,
    write_onnx,
    write_original,
    write_sample,
)
from benchmarks.isolated import OUT_OF_MEMORY, CallFailed, call_isolated
from benchmarks.latency import Answer, UnexpectedAnswer, measure_end_to_end
from benchmarks.network import time_original, time_ours
from benchmarks.plan import Plan, Repetitions
from benchmarks.processes import peak_memory_mb
from benchmarks.server import Running, free_port, running, running_server
from config import Settings
from core.model.tiles import WindowSizes
from core.runtime.machine import count_cores

OURS, ORIGINAL = "ours", "original"
SERVICE = "this service"
ORIGINAL_SERVICE = "original"

KILLED_FOR_MEMORY = (-signal.SIGABRT, -signal.SIGKILL)  # exit statuses, by C++ and by Linux


@dataclass(frozen=True)
class Speed:
    """Measurements of one system on one size, with the times of all repetitions."""

    system: str
    network: str
    """Network of the system, OURS or ORIGINAL."""
    width: int
    height: int
    end_to_end_ms: list[float] = field(default_factory=list)
    network_ms: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    """Peak memory of the server's processes, or of the process that runs only the network."""
    difference_levels: int | None = None
    """Largest difference from TensorFlow on a sample."""
    note: str = ""
    """Reason if there are no figures."""


@dataclass(frozen=True)
class System:
    """A system to measure.

    Attributes:
        name: shown in tables.
        network: OURS or ORIGINAL.
        measure: from width, height and repetitions to fields of Speed.
    """

    name: str
    network: str
    measure: Callable[[int, int, Repetitions], dict[str, Any]]


def measure_systems(systems: Sequence[System], plan: Plan) -> list[Speed]:
    """Measure every system on every size.

    All systems measure one size before the next, so that compared figures are measured
    within minutes.
    """
    exhausted: dict[str, str] = {}
    speeds = []
    for width, height in plan.sizes:
        for system in systems:
            sys.stderr.write(f"{width} x {height}: {system.name}\n")
            speed = measure_system(system, width, height, plan.repetitions, exhausted)
            speeds.append(speed)
    return speeds


def measure_system(
    system: System, width: int, height: int, repetitions: Repetitions, exhausted: dict[str, str]
) -> Speed:
    """Measure one system on one size, unless a smaller size exceeded the memory.

    Args:
        system: the system.
        width: px.
        height: px.
        repetitions: how often to measure.
        exhausted: size that exceeded the memory, by system; updated.
    """
    identity = {"system": system.name, "network": system.network, "width": width, "height": height}
    if system.name in exhausted:
        return Speed(**identity, note=f"skipped: {OUT_OF_MEMORY} at {exhausted[system.name]}")
    try:
        return Speed(**identity, **system.measure(width, height, repetitions))
    except (CallFailed, OSError) as failure:  # OSError: of requests and processes
        if str(failure) == OUT_OF_MEMORY:
            exhausted[system.name] = f"{width} x {height}"
        return Speed(**identity, note=str(failure))


def list_services() -> list[System]:
    """Return this service."""
    return [System(SERVICE, OURS, measure_service)]


def list_peers(folder: Path, engines_python: Path) -> list[System]:
    """Return the original, and engines with both networks.

    Args:
        folder: folder for the files of the networks.
        engines_python: interpreter that has the engines.
    """
    return [
        System(ORIGINAL_SERVICE, ORIGINAL, measure_original_service),
        System("original, shuffle in one operation", ORIGINAL, measure_original_at_once),
        *list_engines(folder, engines_python),
    ]


def measure_service(width: int, height: int, repetitions: Repetitions) -> dict[str, Any]:
    """Measure this service, and its network in its own process."""
    with running_server() as server:
        answers, peak_mb = post_to(server, width, height, repetitions)
    network_ms, _ = call_isolated(
        time_ours, width=width, height=height, repetitions=asdict(repetitions)
    )
    end_to_end_ms = [answer.end_to_end_ms for answer in answers]
    return {"end_to_end_ms": end_to_end_ms, "network_ms": network_ms, "peak_mb": peak_mb}


def measure_original_service(width: int, height: int, repetitions: Repetitions) -> dict[str, Any]:
    """Measure the original's service, and its network in the same requests."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.original_service", str(port)]
    with running(command, port) as server:
        answers, peak_mb = post_to(server, width, height, repetitions)
    return {
        "end_to_end_ms": [answer.end_to_end_ms for answer in answers],
        "network_ms": [answer.network_ms for answer in answers],
        "peak_mb": peak_mb,
    }


def post_to(
    server: Running, width: int, height: int, repetitions: Repetitions
) -> tuple[list[Answer], float]:
    """Post pictures to a server; return the answers and its peak memory, MB.

    Raises:
        CallFailed: if a picture was not upscaled.
    """
    url, process = server
    try:
        answers = measure_end_to_end(url, width, height, repetitions)
    except UnexpectedAnswer as answer:
        raise CallFailed(explain_status(answer.status, process.poll())) from None
    return answers, peak_memory_mb(process.pid)


def explain_status(status: str, code: int | None) -> str:
    """Return why a picture was not upscaled.

    Args:
        status: status of the answer.
        code: exit status of the server; None if it runs.
    """
    if status == str(HTTPStatus.INSUFFICIENT_STORAGE.value) or code in KILLED_FOR_MEMORY:
        return OUT_OF_MEMORY
    return f"answered with {status}"


def measure_original_at_once(width: int, height: int, repetitions: Repetitions) -> dict[str, Any]:
    """Measure the original's network with the shuffle in one operation."""
    network_ms, peak_mb = call_isolated(
        time_original,
        width=width,
        height=height,
        repetitions=asdict(repetitions),
        shuffle="at once",
    )
    return {"network_ms": network_ms, "peak_mb": peak_mb}


def list_engines(folder: Path, python: Path) -> Iterator[System]:
    """Yield each engine with each network, in each precision."""
    settings = Settings.from_env()
    networks = {
        OURS: locate_ours(
            settings.card, folder, WindowSizes(settings.window, settings.large_window)
        ),
        ORIGINAL: locate_original(folder),
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


def write_networks(networks: dict[str, ExportedNetwork], python: Path) -> None:
    """Write the files of the networks; engines whose file could not be written fail later."""
    steps: list[tuple[Callable, dict[str, Any]]] = [
        (write_original, {"graph": networks[ORIGINAL].graph})
    ]
    for exported in networks.values():
        fields = {"exported": asdict(exported)}
        steps += [(write_sample, fields), (write_onnx, fields | {"python": python})]
    for step, arguments in steps:
        try:
            call_isolated(step, **arguments)
        except CallFailed as failure:
            sys.stderr.write(f"{step.__name__}: {failure}\n")


def engine_measurement(
    exported: ExportedNetwork, engine: str, precision: str, python: Path
) -> Callable[[int, int, Repetitions], dict[str, Any]]:
    """Return a function that measures a network in an engine."""
    threads = Settings.from_env().inference_threads or count_cores()

    def measure(width: int, height: int, repetitions: Repetitions) -> dict[str, Any]:
        measured, peak_mb = call_isolated(
            time_engine,
            python=python,
            exported=asdict(exported),
            engine=engine,
            precision=precision,
            threads=threads,
            width=width,
            height=height,
            repetitions=asdict(repetitions),
        )
        return {**measured, "peak_mb": peak_mb}

    return measure
