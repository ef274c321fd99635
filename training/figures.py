"""Figures of outputs on test sets: per picture, as means, as a table."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from training.documents import write_between
from training.metrics import colour_shift, grid_share, psnr_y, ssim_y
from training.outputs import TestPicture
from training.perceptual import LearnedDistance

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(SR, HR), both (H, W, 3) uint8 -> figure."""

Means = dict[str, dict[str, dict[str, float]]]
"""Test set -> output -> figure -> mean over the pictures; of the colour shift the largest."""

SHIFT, GRID = "colour_shift_levels", "grid_share"
HEADINGS = {
    "psnr_y_db": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "lpips_sq": "LPIPS-sq",
    GRID: "grid",
    SHIFT: "colour shift",
}
FORMATS = {
    "psnr_y_db": "{:.2f}",
    "ssim_y": "{:.4f}",
    "lpips_sq": "{:.4f}",
    GRID: "{:.1%}",
    SHIFT: "{:.1f}",
}

FIRST_MARK = "<!-- quality: written by python -m training evaluate -->"
LAST_MARK = "<!-- end of quality -->"


@dataclass(frozen=True)
class Row:
    """The figures of one output on one picture."""

    test_set: str
    picture: str
    output: str
    figures: dict[str, float]


def choose_metrics(perceptual_folder: Path | None) -> dict[str, Metric]:
    """PSNR-Y and SSIM-Y; with the weights for it, LPIPS-sq too."""
    metrics: dict[str, Metric] = {"psnr_y_db": psnr_y, "ssim_y": ssim_y}
    if perceptual_folder is not None:
        metrics["lpips_sq"] = LearnedDistance(perceptual_folder)
    return metrics


def measure(
    picture: TestPicture, upscaled: Mapping[str, np.ndarray], metrics: Mapping[str, Metric]
) -> list[Row]:
    """The figures of every output, by name, on one picture."""
    lr, hr = picture.decode_lr(), picture.decode_hr()
    return [
        Row(
            picture.test_set,
            picture.name,
            name,
            {key: metric(sr, hr) for key, metric in metrics.items()}
            | {GRID: grid_share(sr, hr), SHIFT: colour_shift(sr, lr)},
        )
        for name, sr in upscaled.items()
    ]


def mean_figures(rows: Sequence[Row]) -> Means:
    """Means over pictures, rounded to four places, in the order of the rows."""
    grouped: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in rows:
        grouped.setdefault((row.test_set, row.output), []).append(row.figures)
    means: Means = {}
    for (test_set, output), figures in grouped.items():
        means.setdefault(test_set, {})[output] = {
            key: summarise(key, [f[key] for f in figures]) for key in figures[0]
        }
    return means


def summarise(key: str, values: Sequence[float]) -> float:
    """The mean; of the colour shift the largest, since one wrong picture is too many."""
    return round(float(np.max(values) if key == SHIFT else np.mean(values)), 4)


def pick_outputs(means: Means, names: Collection[str]) -> Means:
    """The means of some of the outputs."""
    return {
        test_set: {name: figures for name, figures in outputs.items() if name in names}
        for test_set, outputs in means.items()
    }


def as_table(means: Means) -> str:
    """Markdown, one line a test set and output."""
    keys = next(iter(next(iter(means.values())).values())).keys()
    lines = [
        f"| test set | output | {' | '.join(HEADINGS[key] for key in keys)} |",
        "|---|---|" + "---|" * len(keys),
    ]
    for test_set, outputs in means.items():
        for output, figures in outputs.items():
            cells = " | ".join(FORMATS[key].format(figures[key]) for key in keys)
            lines.append(f"| {test_set} | {output} | {cells} |")
    return "\n".join(lines) + "\n"


def write_report(folder: Path, rows: Sequence[Row]) -> None:
    """`quality.json` with every figure, `quality.md` with the table of means."""
    folder.mkdir(parents=True, exist_ok=True)
    means = mean_figures(rows)
    report = {"means": means, "pictures": [asdict(row) for row in rows]}
    (folder / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "quality.md").write_text(as_table(means))


def write_into(document: Path, table: str) -> None:
    """Put a table between the two marks of a Markdown document."""
    write_between(document, table, FIRST_MARK, LAST_MARK)
