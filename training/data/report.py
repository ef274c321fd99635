"""A collection on one page, for the eye: report.html, with its pictures inside.

Plots of a collection, each a Matplotlib figure.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from core.images import decode_rgb
from core.pixels import LEVELS
from training.data.collect import MANIFEST
from training.data.photos import Pair, Photo, make_pair, read_manifest, read_table
from training.data.selection import PhotoMeasures, measure_all
from training.evaluation.outputs import CROP_PX, find_busiest_square
from training.models.networks import SCALE

WIDTH_IN = 9.0  # of every figure, inches
BINS = 40


def plot_sizes(measures: Sequence[PhotoMeasures]) -> Figure:
    """Width against height, and how many megapixels."""
    figure, (left, right) = panels(2)
    left.scatter([m.width for m in measures], [m.height for m in measures], s=6, alpha=0.5)
    left.set(xlabel="width, px", ylabel="height, px", xlim=(0, None), ylim=(0, None))
    right.hist([m.width * m.height / 1e6 for m in measures], BINS)
    right.set(xlabel="megapixels", ylabel="photographs")
    return figure


def plot_sharpness(measures: Sequence[PhotoMeasures]) -> Figure:
    """Variance of the Laplacian, in decades; a variance below 1 counts as 1."""
    figure, (axes,) = panels(1)
    sharpness = np.maximum([m.sharpness for m in measures], 1.0)
    axes.hist(sharpness, np.geomspace(1, max(10.0, sharpness.max()), BINS))
    axes.set(xscale="log", xlabel="variance of the Laplacian of luma", ylabel="photographs")
    return figure


def plot_colours(measures: Sequence[PhotoMeasures]) -> Figure:
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


DPI = 100  # of the pictures in the page
SAMPLE = 8  # photographs of which patches are shown

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
img {{ max-width: 100%; }}
td, th {{ text-align: left; vertical-align: top; padding: 0.2em 1em 0.2em 0; }}
td {{ overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}</body>
</html>
"""


def write_report(collection: Path, folder: Path) -> None:
    """Measure a prepared collection, and write `report.html` into a folder."""
    photos = read_manifest(collection)
    refused = read_table(collection / "refused.csv", ("file", "reason"))
    splits = Counter(row["split"] for row in read_table(collection / MANIFEST, ("split",)))
    body = "".join([*plot_sections(photos, splits), refused_section(refused)])
    folder.mkdir(parents=True, exist_ok=True)
    page = PAGE.format(title=f"{len(photos)} photographs to train on", body=body)
    (folder / "report.html").write_text(page, encoding="utf-8")


def plot_sections(photos: Sequence[Photo], splits: Counter[str]) -> list[str]:
    measures = measure_all(photos)
    licences = Counter(photo.licence for photo in photos)
    return [
        section("Licences and split", COUNTS_NOTE, plot_counts(licences, splits)),
        section("Sizes", SIZES_NOTE, plot_sizes(measures)),
        section("HR and LR", PAIRS_NOTE, plot_pairs([patch_of(p) for p in sample(photos)])),
        section("Sharpness", SHARPNESS_NOTE, plot_sharpness(measures)),
        section("Colours", COLOURS_NOTE, plot_colours(measures)),
    ]


COUNTS_NOTE = (
    "Look for a licence that forbids what the weights are for, and for a validation set of "
    "less than about ten photographs, whose mean says little."
)
SIZES_NOTE = (
    "Look for a few very large photographs: patches are drawn from photographs, "
    "and all of them are held in memory."
)
PAIRS_NOTE = (
    "Above, the place with most detail in a photograph; below, what the network is given, "
    "enlarged. Look for blocks, halos and noise above: the network learns to draw them."
)
SHARPNESS_NOTE = (
    "The variance of the Laplacian (four neighbours less four times the pixel) of luma. "
    "Look at the far left, blurred or empty photographs, and at the far right, noise."
)
COLOURS_NOTE = (
    "Look for a collection that is all dark, all bright, or all of one colour: "
    "channels should cover about the same levels, luma most of its range."
)


def section(heading: str, note: str, figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    encoded = base64.b64encode(file.getvalue()).decode()
    return (
        f"<h2>{heading}</h2>\n"
        f'<img alt="{heading}" src="data:image/png;base64,{encoded}">\n<p>{note}</p>\n'
    )


def sample(photos: Sequence[Photo]) -> list[Photo]:
    """The same few photographs for the same collection: those of the least sha256."""
    return sorted(photos, key=lambda photo: photo.sha256)[:SAMPLE]


def patch_of(photo: Photo) -> Pair:
    """The place of a photograph with the most detail, (96, 96, 3), and its quarter."""
    pixels = decode_rgb(photo.path.read_bytes())
    top, left = find_busiest_square(pixels)
    return make_pair(pixels[top : top + CROP_PX, left : left + CROP_PX])


def refused_section(rows: Sequence[dict[str, str]]) -> str:
    """A table of what was refused."""
    cells = "".join(
        f"<tr><td>{escape(row['file'])}</td><td>{escape(row['reason'])}</td></tr>\n" for row in rows
    )
    table = f"<table>\n<tr><th>file</th><th>reason</th></tr>\n{cells}</table>\n"
    return f"<h2>Refused: {len(rows)}</h2>\n<p>{REFUSED_NOTE}</p>\n{table if rows else ''}"


REFUSED_NOTE = (
    "Look for a reason that comes up again and again: the source may be unfit as a whole."
)
