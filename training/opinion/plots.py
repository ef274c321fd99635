"""Plots of a trial: figures with their intervals beside all answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.opinion.statistics import LEVEL, Estimate
from training.opinion.trial import Design

WIDTH_IN, ROW_IN, FRAME_IN = 10.0, 0.45, 1.4  # inches
DPI = 120
POINT = "#7c4700"
GREY = "#7c8077"
SCORES = ("#9b1b1b", "#d98b5f", "#d9d2b0", "#8fb2a8", "#2d6a73")  # of scores 1 to 5
DARK = ("1", "5")  # scores whose colours are dark: their numbers are white
MARGIN = 0.12  # on both sides of the figures, for their numbers; share of the width
LEAST_SHARE = 0.06  # narrower parts of a bar have no number


def plot_scores(
    path: Path, estimates: Mapping[str, Estimate], counts: Mapping[str, Mapping[str, float]]
) -> None:
    """Plot mean opinion scores, and the share of each score."""
    figure, means, shares = make_axes(estimates)
    draw_estimates(means, estimates, f"mean opinion score, {LEVEL:.0%} interval")
    means.set_xlim(0.8, 5.2)
    means.set_xticks(Design.ABSOLUTE.values)
    for row, label in enumerate(estimates):
        total = sum(counts[label].values())
        left = 0.0
        for (score, count), colour in zip(counts[label].items(), SCORES, strict=True):
            share = count / total
            shares.barh(row, share, left=left, color=colour, height=0.7)
            if share >= LEAST_SHARE:
                ink = "white" if score in DARK else "black"
                middle = left + share / 2
                shares.text(middle, row, score, ha="center", va="center", color=ink, fontsize=9)
            left += share
    shares.set_xlim(0, 1)
    shares.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    shares.set_xlabel("share of the scores 1 to 5")
    save(figure, path)


def plot_wins(
    path: Path, estimates: Mapping[str, Estimate], wins: Mapping[str, Mapping[str, float]]
) -> None:
    """Plot strengths, and how often the output of a row is preferred to that of a column."""
    figure, strengths, matrix = make_axes(estimates)
    draw_estimates(strengths, estimates, f"strength (log odds), {LEVEL:.0%} interval")
    strengths.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    labels = list(estimates)
    shares = np.array([[share_of(wins, row, column) for column in labels] for row in labels])
    matrix.imshow(shares, cmap="BrBG", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            ink = "black" if abs(share - 0.5) < 0.35 else "white"
            matrix.text(column, row, f"{share:.0%}", ha="center", va="center", color=ink)
    matrix.set_xticks(range(len(labels)), labels, rotation=20, ha="right", parse_math=False)
    matrix.set_xlabel("row preferred to column, ties as half")
    save(figure, path)


def share_of(wins, first: str, second: str) -> float:
    """Return how often an output is preferred to another one; NaN for itself."""
    if first == second:
        return float("nan")
    total = wins[first][second] + wins[second][first]
    return wins[first][second] / total if total else float("nan")


def make_axes(labels: Sequence[str] | Mapping[str, Estimate]):
    """Return a figure with two axes that share a row for each label, the first on top."""
    figure = Figure(
        figsize=(WIDTH_IN, FRAME_IN + ROW_IN * len(labels)), dpi=DPI, layout="constrained"
    )
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_yticks(range(len(labels)), list(labels), parse_math=False)
    left.set_ylim(len(labels) - 0.5, -0.5)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, left, right


def draw_estimates(axes, estimates: Mapping[str, Estimate], caption: str) -> None:
    """Draw a point and its interval for every label."""
    for row, estimate in enumerate(estimates.values()):
        axes.plot([estimate.low, estimate.high], [row, row], color=POINT, linewidth=2)
        axes.plot(estimate.value, row, "o", color=POINT)
        place = (estimate.value, row)
        axes.annotate(
            f"{estimate.value:.2f}", place, (0, 7), textcoords="offset points", ha="center"
        )
    axes.margins(x=MARGIN)
    axes.grid(axis="x", color="#d0d0d0", linewidth=0.6)
    axes.set_xlabel(caption)


def save(figure: Figure, path: Path) -> None:
    """Save a figure as a PNG."""
    figure.savefig(path)
