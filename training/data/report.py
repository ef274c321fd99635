"""A report on a collection: `report.html`, one page with its pictures inside.

It shows sizes, HR beside LR, sharpness, colours, licences and refused files, and states what
to look for in each.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from html import escape
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from core.images import decode_rgb
from core.pixels import LEVELS
from training.data.collect import REFUSED
from training.data.photos import MANIFEST, Pair, Photo, make_pair, read_manifest, read_table
from training.data.selection import channel_range
from training.evaluation.metrics import LUMA
from training.evaluation.outputs import CROP_PX, find_busiest_square
from training.models.networks import SCALE

WIDTH_IN = 9.0  # width of every figure, inches
BINS = 40
DPI = 100  # of the figures in the page
SAMPLE = 8  # number of photographs of which a patch is shown

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
REFUSED_NOTE = (
    "Look for a reason that comes up again and again: the source may be unfit as a whole."
)


class PhotoMeasures(NamedTuple):
    """Figures of one photograph; levels are those of 8 bits, [0, 255].

    Attributes:
        height: px.
        width: px.
        sharpness: variance of the Laplacian of luma, squared levels.
        red: mean of the channel, levels.
        green: mean of the channel, levels.
        blue: mean of the channel, levels.
        luma: mean, levels.
        saturation: mean of (greatest - least channel) / greatest channel, in [0, 1].
    """

    height: int
    width: int
    sharpness: float
    red: float
    green: float
    blue: float
    luma: float
    saturation: float


def write_report(collection: Path, folder: Path) -> None:
    """Measure a prepared collection, and write `report.html` to a folder."""
    photos = read_manifest(collection)
    refused = read_table(collection / REFUSED, ("file", "reason"))
    splits = Counter(row["split"] for row in read_table(collection / MANIFEST, ("split",)))
    body = "".join([*render_plots(photos, splits), render_refused(refused)])
    folder.mkdir(parents=True, exist_ok=True)
    page = PAGE.format(title=f"{len(photos)} photographs to train on", body=body)
    (folder / "report.html").write_text(page, encoding="utf-8")


def render_plots(photos: Sequence[Photo], splits: Counter[str]) -> list[str]:
    """Return the sections of the page that hold a figure, as HTML."""
    measures = measure_all(photos)
    licences = Counter(photo.licence for photo in photos)
    patches = [busiest_patch(photo) for photo in choose_sample(photos)]
    return [
        render_section("Licences and split", COUNTS_NOTE, plot_counts(licences, splits)),
        render_section("Sizes", SIZES_NOTE, plot_sizes(measures)),
        render_section("HR and LR", PAIRS_NOTE, plot_pairs(patches)),
        render_section("Sharpness", SHARPNESS_NOTE, plot_sharpness(measures)),
        render_section("Colours", COLOURS_NOTE, plot_colours(measures)),
    ]


def render_section(heading: str, note: str, figure: Figure) -> str:
    """Return a heading, a figure as a PNG inside the page, and a note, as HTML."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    encoded = base64.b64encode(file.getvalue()).decode()
    return (
        f"<h2>{heading}</h2>\n"
        f'<img alt="{heading}" src="data:image/png;base64,{encoded}">\n<p>{note}</p>\n'
    )


def render_refused(rows: Sequence[dict[str, str]]) -> str:
    """Return a table of the refused files, as HTML."""
    cells = "".join(
        f"<tr><td>{escape(row['file'])}</td><td>{escape(row['reason'])}</td></tr>\n" for row in rows
    )
    table = f"<table>\n<tr><th>file</th><th>reason</th></tr>\n{cells}</table>\n"
    return f"<h2>Refused: {len(rows)}</h2>\n<p>{REFUSED_NOTE}</p>\n{table if rows else ''}"


def choose_sample(photos: Sequence[Photo]) -> list[Photo]:
    """Return a few photographs, always the same of the same collection: by least sha256."""
    return sorted(photos, key=lambda photo: photo.sha256)[:SAMPLE]


def busiest_patch(photo: Photo) -> Pair:
    """Return the square of a photograph with the most detail, (96, 96, 3), and its LR."""
    pixels = decode_rgb(photo.path.read_bytes())
    top, left = find_busiest_square(pixels)
    return make_pair(pixels[top : top + CROP_PX, left : left + CROP_PX])


def measure_all(photos: Sequence[Photo]) -> list[PhotoMeasures]:
    """Measure every photograph, in the same order."""
    with ThreadPool() as pool:
        bar = tqdm(pool.imap(measure_file, photos), total=len(photos), unit="photo", disable=None)
        return list(bar)


def measure_file(photo: Photo) -> PhotoMeasures:
    """Measure the picture in a file."""
    return measure(decode_rgb(photo.path.read_bytes()))


def measure(pixels: np.ndarray) -> PhotoMeasures:
    """Measure a picture, (H, W, 3) uint8 in [0, 255]; H, W >= 3."""
    luma = pixels.astype(np.float32) @ LUMA.astype(np.float32)
    red, green, blue = (float(channel.mean()) for channel in np.moveaxis(pixels, -1, 0))
    return PhotoMeasures(
        *pixels.shape[:2],
        float(laplacian(luma).var()),
        red,
        green,
        blue,
        float(luma.mean()),
        mean_saturation(pixels),
    )


def laplacian(luma: np.ndarray) -> np.ndarray:
    """Return the four neighbours less four times the pixel: (H, W) -> (H - 2, W - 2) levels.

    Its variance is small for blurred pictures, larger for sharp ones, largest for noisy ones.

    Source: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, sec. 3.
    """
    neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return neighbours - 4 * luma[1:-1, 1:-1]


def mean_saturation(pixels: np.ndarray) -> float:
    """Return the mean saturation of HSV, in [0, 1]; that of black is 0."""
    least, greatest = channel_range(pixels)
    return float(((greatest - least) / np.maximum(greatest, 1).astype(np.float32)).mean())


def plot_sizes(measures: Sequence[PhotoMeasures]) -> Figure:
    """Plot width against height, and the distribution of megapixels."""
    figure, (left, right) = make_axes(2)
    left.scatter([m.width for m in measures], [m.height for m in measures], s=6, alpha=0.5)
    left.set(xlabel="width, px", ylabel="height, px", xlim=(0, None), ylim=(0, None))
    right.hist([m.width * m.height / 1e6 for m in measures], BINS)
    right.set(xlabel="megapixels", ylabel="photographs")
    return figure


def plot_sharpness(measures: Sequence[PhotoMeasures]) -> Figure:
    """Plot the variance of the Laplacian, logarithmically; a variance below 1 counts as 1."""
    figure, (axes,) = make_axes(1)
    sharpness = np.maximum([m.sharpness for m in measures], 1.0)
    axes.hist(sharpness, np.geomspace(1, max(10.0, sharpness.max()), BINS))
    axes.set(xscale="log", xlabel="variance of the Laplacian of luma", ylabel="photographs")
    return figure


def plot_colours(measures: Sequence[PhotoMeasures]) -> Figure:
    """Plot the means of the channels, of luma, and of saturation."""
    figure, (left, middle, right) = make_axes(3)
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
    """Plot the number of photographs under each licence, and in each split."""
    figure, axes = make_axes(2, height=1.2 + 0.25 * max(len(licences), len(splits)))
    for axis, counts in zip(axes, (licences, splits), strict=True):
        names, numbers = zip(*reversed(counts.most_common()), strict=True)
        axis.bar_label(axis.barh(names, numbers), padding=2)
        axis.margins(x=0.15)
        axis.set(xlabel="photographs")
    return figure


def plot_pairs(pairs: Sequence[Pair]) -> Figure:
    """Show HR patches above the LR patches made from them, enlarged without smoothing."""
    figure, axes = make_axes(2 * len(pairs), rows=2, height=2.6 * WIDTH_IN / len(pairs))
    for index, pair in enumerate(pairs):
        axes[index].imshow(pair.hr, interpolation="nearest")
        enlarged = pair.lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        axes[len(pairs) + index].imshow(enlarged, interpolation="nearest")
    for axis in axes:
        axis.set_axis_off()
    return figure


def make_axes(count: int, rows: int = 1, height: float = 3.2):
    """Return a figure and its axes, row by row; `height` in inches."""
    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    return figure, list(figure.subplots(rows, count // rows, squeeze=False).flat)
