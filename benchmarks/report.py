"""Render results as Markdown: the tables in READMEs, and a report of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.latency import OK, REFUSED
from benchmarks.load import Beside, Load
from benchmarks.memory import Memory
from benchmarks.restoring import Restoring
from benchmarks.results import Results
from benchmarks.systems import ORIGINAL_SERVICE, SERVICE, Speed
from benchmarks.timing import percentile
from training.evaluation.tables import write_between

QUICK_NOTE = "**A quick run: it checks that everything runs; its figures mean nothing.**"
NOTHING = "-"  # cell of a figure that was not measured

Row = Sequence[str]


def render(results: Results) -> dict[str, str]:
    """Return the Markdown of the parts that were measured, by section."""
    sections = {
        "service": service_table(results),
        "systems": systems_table(results),
        "load": load_table(results.loads),
        "beside": beside_table(results.beside),
        "memory": memory_table(results.memory),
        "restoring": restoring_table(results.restoring),
    }
    caption = make_caption(results)
    return {name: f"{caption}\n\n{table}" for name, table in sections.items() if table}


def render_page(results: Results) -> str:
    """Return all sections on one page, with the caption once."""
    caption = make_caption(results)
    sections = render(results).items()
    parts = [f"## {name}\n\n{text.removeprefix(caption).strip()}\n" for name, text in sections]
    return "\n".join([f"# Benchmarks\n\n{caption}\n", *parts])


def write_sections(document: Path, results: Results) -> None:
    """Replace the text between the marks of each section in a document.

    Raises:
        ValueError: if the document has no marks.
    """
    text = document.read_text(encoding="utf-8")
    present = {name: part for name, part in render(results).items() if first_mark(name) in text}
    if not present:
        raise ValueError(f"{document} must have marks, like {first_mark('service')!r}")
    for name, part in present.items():
        write_between(document, part, first_mark(name), last_mark(name))


def first_mark(section: str) -> str:
    """Return the mark before a section."""
    return f"<!-- bench {section}: written by python -m benchmarks -->"


def last_mark(section: str) -> str:
    """Return the mark after a section."""
    return f"<!-- end of bench {section} -->"


def make_caption(results: Results) -> str:
    """Return one line with date, machine and model."""
    machine, model = results.machine, results.model
    peaks = " and ".join(
        f"{peak:.0f} GFLOP/s in {kind}" for kind, peak in machine["gemm_gflops"].items() if peak
    )
    has = "with" if machine["bfloat16_instructions"] else "without"
    line = (
        f"{results.date}, {machine['processor']} {has} bfloat16 instructions, "
        f"{machine['cores']} cores, {machine['memory_gb']:.0f} GB, "
        f"TensorFlow {machine['tensorflow']}, matrix products at {peaks or 'no known speed'}; "
        f"`{model['name']}` {model['version']}, windows of {model['windows']}."
    )
    return f"{QUICK_NOTE}\n\n{line}" if results.quick else line


def service_table(results: Results) -> str:
    """Return the table of this service."""
    headings = (
        "picture",
        "end to end p50 / p95, ms",
        "network p50 / p95, ms",
        "peak memory, MB",
        "GFLOP/s",
        "of the machine's peak",
    )
    rows = [
        [
            size_of(speed),
            *(median_and_p95(times) for times in (speed.end_to_end_ms, speed.network_ms)),
            *(
                [speed.note, "", ""]
                if speed.note
                else (megabytes(speed), *arithmetic_rate(speed, results))
            ),
        ]
        for speed in results.speeds
        if speed.system == SERVICE
    ]
    return markdown_table(headings, rows)


def systems_table(results: Results) -> str:
    """Return the table of all systems, with their speed relative to the original."""
    headings = (
        "picture",
        "system",
        "end to end p50 / p95, ms",
        "network p50 / p95, ms",
        "end to end, times the original's speed",
        "network, times the original's speed",
        "peak memory, MB",
        "GFLOP/s",
        "difference, levels",
        "note",
    )
    if all(speed.system == SERVICE for speed in results.speeds):
        return ""
    originals = {(s.width, s.height): s for s in results.speeds if s.system == ORIGINAL_SERVICE}
    rows = [
        [
            size_of(speed),
            speed.system,
            median_and_p95(speed.end_to_end_ms),
            median_and_p95(speed.network_ms),
            *ratios(speed, originals.get((speed.width, speed.height))),
            megabytes(speed),
            arithmetic_rate(speed, results)[0],
            NOTHING if speed.difference_levels is None else str(speed.difference_levels),
            speed.note,
        ]
        for speed in results.speeds
    ]
    return markdown_table(headings, rows)


def load_table(loads: Sequence[Load]) -> str:
    """Return the table of the server with many clients."""
    headings = (
        "clients",
        "pictures a second",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "upscaled",
        "refused (503)",
        "errors",
    )
    rows = [
        [
            str(load.clients),
            f"{len(load.latencies_ms) / load.seconds:.1f}",
            *(format_percentile(load.latencies_ms, percent) for percent in (50, 95, 99)),
            *count(load.statuses),
        ]
        for load in loads
    ]
    return markdown_table(headings, rows)


def beside_table(beside: Beside | None) -> str:
    """Return the table of small pictures alone and beside a large one."""
    if beside is None:
        return ""
    small, large = (f"{w} x {h}" for w, h in (beside.small_size, beside.large_size))
    headings = (small, "p50, ms", "p95, ms", "upscaled", "refused (503)", "errors")
    while_large = f"while {large} takes {beside.large_ms:.0f} ms ({beside.large_status})"
    rows = [
        ["alone", *median_and_high(beside.idle_ms), str(len(beside.idle_ms)), "0", "none"],
        [while_large, *median_and_high(beside.busy_ms), *count(beside.statuses)],
    ]
    return markdown_table(headings, rows)


def memory_table(readings: Sequence[Memory]) -> str:
    """Return the table of the server's memory after some requests."""
    headings = ("after requests", "memory, MB", "peak, MB", "upscaled", "refused (503)", "errors")
    rows = [
        [str(r.requests), f"{r.resident_mb:.0f}", f"{r.peak_mb:.0f}", *count(r.statuses)]
        for r in readings
    ]
    return markdown_table(headings, rows)


def restoring_table(readings: Sequence[Restoring]) -> str:
    """Return the table of pictures without and with restoring; the ratio is that of medians."""
    headings = (
        "picture",
        "as it is p50 / p95, ms",
        "restored p50 / p95, ms",
        "ratio",
        "peak memory as it is, MB",
        "restored, MB",
    )
    rows = [
        [
            f"{r.width} x {r.height}",
            median_and_p95(r.plain_ms),
            median_and_p95(r.restored_ms),
            f"{percentile(r.restored_ms, 50) / percentile(r.plain_ms, 50):.2f}",
            f"{r.plain_peak_mb:.0f}",
            f"{r.restored_peak_mb:.0f}",
        ]
        for r in readings
    ]
    return markdown_table(headings, rows)


def markdown_table(headings: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table, or "" without rows.

    >>> print(markdown_table(["a", "b"], [["1", "2"]]), end="")
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    if not rows:
        return ""
    lines = [f"| {' | '.join(line)} |" for line in (headings, *rows)]
    lines.insert(1, "|" + "---|" * len(headings))
    return "\n".join(lines) + "\n"


def count(statuses: Mapping[str, int]) -> tuple[str, str, str]:
    """Return the cells for upscaled, refused, and errors by status."""
    errors = ", ".join(f"{n} x {s}" for s, n in statuses.items() if s not in (OK, REFUSED))
    return str(statuses.get(OK, 0)), str(statuses.get(REFUSED, 0)), errors or "none"


def size_of(speed: Speed) -> str:
    """Return the size of the picture."""
    return f"{speed.width} x {speed.height}"


def median_and_p95(times_ms: Sequence[float]) -> str:
    """Return p50 / p95."""
    return " / ".join(median_and_high(times_ms)) if times_ms else NOTHING


def median_and_high(times_ms: Sequence[float]) -> tuple[str, str]:
    """Return p50 and p95."""
    return format_percentile(times_ms, 50), format_percentile(times_ms, 95)


def format_percentile(times_ms: Sequence[float], percent: float) -> str:
    """Return a percentile as a cell."""
    return f"{percentile(times_ms, percent):.0f}" if times_ms else NOTHING


def megabytes(speed: Speed) -> str:
    """Return the peak memory as a cell."""
    return NOTHING if speed.peak_mb is None else f"{speed.peak_mb:.0f}"


def arithmetic_rate(speed: Speed, results: Results) -> tuple[str, str]:
    """Return GFLOP/s of the network, and its share of the fastest matrix product."""
    if not speed.network_ms:
        return NOTHING, NOTHING
    pixels = speed.width * speed.height
    gflop = results.mflop_per_lr_pixel[speed.network] * pixels / 1e3
    gflops = gflop / (percentile(speed.network_ms, 50) / 1e3)
    peaks = [peak for peak in results.machine["gemm_gflops"].values() if peak]
    return f"{gflops:.0f}", f"{gflops / max(peaks):.0%}" if peaks else NOTHING


def ratios(speed: Speed, original: Speed | None) -> tuple[str, str]:
    """Return the speed relative to the original, end to end and in the network."""
    if original is None:
        return NOTHING, NOTHING
    return (
        ratio(speed.end_to_end_ms, original.end_to_end_ms),
        ratio(speed.network_ms, original.network_ms),
    )


def ratio(times_ms: Sequence[float], others_ms: Sequence[float]) -> str:
    """Return the ratio of medians as a cell."""
    if not times_ms or not others_ms:
        return NOTHING
    return f"{percentile(others_ms, 50) / percentile(times_ms, 50):.1f}"
