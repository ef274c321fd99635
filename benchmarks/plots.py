"""Plots of results, each a Matplotlib figure."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Results
from benchmarks.systems import Speed
from benchmarks.timing import percentile

SIZE_IN = (9.0, 5.0)  # width and height of every figure, inches
DPI = 110
PERCENTS = (50, 95, 99)


def draw(results: Results) -> dict[str, Figure]:
    """Return the figures of the parts that were measured, by name."""
    figures = {}
    if results.speeds:
        figures["latency"] = plot_latency(results.speeds)
    if results.speeds or results.memory:
        figures["memory"] = plot_memory(results)
    if results.loads:
        figures["load"] = plot_load(results)
    return figures


def plot_latency(speeds: Sequence[Speed]) -> Figure:
    """Plot medians against the pixels of the picture."""
    figure, (left, right) = make_axes(2)
    draw_systems(left, speeds, lambda speed: median(speed.end_to_end_ms))
    left.set(title="end to end", ylabel="p50, ms")
    draw_systems(right, speeds, lambda speed: median(speed.network_ms))
    right.set(title="network alone")
    return figure


def plot_memory(results: Results) -> Figure:
    """Plot peak memory against the pixels of the picture, and memory against requests."""
    figure, (left, right) = make_axes(2)
    draw_systems(left, results.speeds, lambda speed: speed.peak_mb)
    left.set(title="one picture after the other", ylabel="peak memory, MB")
    requests = [reading.requests for reading in results.memory]
    right.plot(requests, [reading.resident_mb for reading in results.memory], "o-", label="now")
    right.plot(requests, [reading.peak_mb for reading in results.memory], "x--", label="peak")
    right.set(title="this service", xlabel="requests of random sizes", ylabel="memory, MB")
    right.set_ylim(0, 1.1 * max((reading.peak_mb for reading in results.memory), default=1))
    right.legend()
    return figure


def plot_load(results: Results) -> Figure:
    """Plot pictures per second and percentiles of the time against the number of clients."""
    figure, (left, right) = make_axes(2)
    clients = [load.clients for load in results.loads]
    rates = [len(load.latencies_ms) / load.seconds for load in results.loads]
    left.plot(clients, rates, "o-")
    left.set(ylabel="pictures a second")
    left.set_ylim(0, 1.1 * max(rates) or 1)
    mark_clients(left, clients)
    for percent in PERCENTS:
        waits = [
            percentile(x.latencies_ms, percent) if x.latencies_ms else None for x in results.loads
        ]
        right.plot(clients, waits, "o-", label=f"p{percent}")
    right.set(yscale="log", ylabel="end to end, ms")
    mark_clients(right, clients)
    right.legend()
    return figure


def draw_systems(
    axes: Axes, speeds: Sequence[Speed], value: Callable[[Speed], float | None]
) -> None:
    """Draw a line for each system that has values, in the same colour on all axes."""
    for colour, name in enumerate(dict.fromkeys(speed.system for speed in speeds)):
        points = [(s.width * s.height, value(s)) for s in speeds if s.system == name]
        known = [(pixels, y) for pixels, y in points if y is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", color=f"C{colour}", label=name)
    axes.set(xscale="log", yscale="log", xlabel="LR pixels")
    if axes.lines:
        axes.legend(fontsize="x-small")


def mark_clients(axes: Axes, clients: Sequence[int]) -> None:
    """Use a logarithmic axis with a mark for each measured number of clients."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(count) for count in clients])
    axes.set_xlabel("clients")


def median(times_ms: Sequence[float]) -> float | None:
    """Return the median; None without times."""
    return percentile(times_ms, 50) if times_ms else None


def make_axes(count: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and its axes, side by side."""
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]
