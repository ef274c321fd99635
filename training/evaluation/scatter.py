"""Metrics plotted against each other: where they agree, and where they do not.

Each panel has a dot per picture and output, and states the rank correlation of the two metrics.
Metrics that measure the same have a correlation of 1 or -1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

PAIRS = (("psnr_y_db", "lpips_sq"), ("psnr_y_db", "flip"), ("ssim_y", "flip"), ("flip", "lpips_sq"))
"""Metrics of each panel, across and up."""

COLUMNS = 2
PANEL_IN = 3.6  # width and height of a panel, inches
LEGEND_IN = 0.9  # height of the legend, inches
LEAST_DOTS = 3  # of which there is a rank correlation

Row = tuple[str, Mapping[str, float]]
"""Output, and its figures on one picture by the name of the metric."""


def plot_metrics(rows: Sequence[Row], headings: Mapping[str, str]) -> Figure:
    """Return the panels of those pairs of metrics that were measured.

    Args:
        rows: figures of every output on every picture.
        headings: how the metrics are called, by name.
    """
    measured = rows[0][1].keys()
    pairs = [pair for pair in PAIRS if measured >= set(pair)]
    lines = -(-len(pairs) // COLUMNS)
    size = (COLUMNS * PANEL_IN, lines * PANEL_IN + LEGEND_IN)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for panel, (across, up) in zip(panels, pairs, strict=False):
        for output in dict.fromkeys(output for output, _ in rows):
            dots = [(f[across], f[up]) for name, f in rows if name == output]
            panel.scatter(*zip(*dots, strict=True), s=7, alpha=0.5, linewidths=0, label=output)
        correlation = rank_correlation([(f[across], f[up]) for _, f in rows])
        panel.set(xlabel=headings[across], ylabel=headings[up], title=correlation)
    for panel in list(panels)[len(pairs) :]:
        panel.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=COLUMNS, fontsize="small")
    return figure


def rank_correlation(dots: Sequence[tuple[float, float]]) -> str:
    """Return Spearman's rank correlation as a title; empty where there is none.

    Source: Spearman 1904, doi:10.2307/1412159; computed by SciPy.
    """
    across, up = np.transpose(dots)
    if len(dots) < LEAST_DOTS or np.ptp(across) == 0 or np.ptp(up) == 0:
        return ""
    return f"rank correlation {spearmanr(across, up).statistic:.2f}"
