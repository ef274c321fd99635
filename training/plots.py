"""Plots of a collection, each a Matplotlib figure."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from core.pixels import LEVELS
from training.measures import Measures
from training.networks import SCALE
from training.photos import Pair

WIDTH_IN = 9.0  # of every figure, inches
BINS = 40


def plot_sizes(measures: Sequence[Measures]) -> Figure:
    """Width against height, and how many megapixels."""
    figure, (left, right) = panels(2)
    left.scatter([m.width for m in measures], [m.height for m in measures], s=6, alpha=0.5)
    left.set(xlabel="width, px", ylabel="height, px", xlim=(0, None), ylim=(0, None))
    right.hist([m.width * m.height / 1e6 for m in measures], BINS)
    right.set(xlabel="megapixels", ylabel="photographs")
    return figure


def plot_sharpness(measures: Sequence[Measures]) -> Figure:
    """Variance of the Laplacian, in decades; a variance below 1 counts as 1."""
    figure, (axes,) = panels(1)
    sharpness = np.maximum([m.sharpness for m in measures], 1.0)
    axes.hist(sharpness, np.geomspace(1, max(10.0, sharpness.max()), BINS))
    axes.set(xscale="log", xlabel="variance of the Laplacian of luma", ylabel="photographs")
    return figure


def plot_colours(measures: Sequence[Measures]) -> Figure:
    """Means of the channels and of luma, and saturation."""
    figure, (left, middle, right) = panels(3)
    for channel in ("red", "green", "blue"):
        levels = [getattr(m, channel) for m in measures]
        left.hist(levels, BINS, range=(0, LEVELS), histtype="step", color=channel, label=channel)
    left.legend()
    left.set(xlabel="mean level of a channel", ylabel="photographs")
    middle.hist([m.luma for m in measures], BINS, range=(0, LEVELS), color="grey")
    middle.set(xlabel="mean luma, levels")
    right.hist([m.saturation for m in measures], BINS, range=(0, 1), color="purple")
    right.set(xlabel="mean saturation")
    return figure


def plot_counts(licences: Counter[str], splits: Counter[str]) -> Figure:
    """How many photographs under each licence, and in each split."""
    figure, axes = panels(2, height=1.2 + 0.25 * max(len(licences), len(splits)))
    for axis, counts in zip(axes, (licences, splits), strict=True):
        names, numbers = zip(*reversed(counts.most_common()), strict=True)
        axis.bar_label(axis.barh(names, numbers), padding=2)
        axis.margins(x=0.15)
        axis.set(xlabel="photographs")
    return figure


def plot_pairs(pairs: Sequence[Pair]) -> Figure:
    """HR patches above the LR patches made from them, these enlarged without smoothing."""
    figure, axes = panels(2 * len(pairs), rows=2, height=2.6 * WIDTH_IN / len(pairs))
    for index, pair in enumerate(pairs):
        axes[index].imshow(pair.hr, interpolation="nearest")
        enlarged = pair.lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        axes[len(pairs) + index].imshow(enlarged, interpolation="nearest")
    for axis in axes:
        axis.set_axis_off()
    return figure


def panels(count: int, rows: int = 1, height: float = 3.2):
    """A figure of axes in rows, and the axes, row by row; `height` in inches."""
    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    return figure, list(figure.subplots(rows, count // rows, squeeze=False).flat)
