"""Measure a model on any pictures, without originals: those outside its training domain.

A folder holds pictures, or a folder of pictures for each kind: drawings, screenshots, scans, night.
Nothing is known of what they should look like enlarged, so the measures need no reference. They
find what often goes wrong, and sheets show it. None of them says how good a picture looks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.images import resize_bicubic
from core.images.condition import LUMA, MIN_SIDE, measure_condition, sample_windows
from core.picture import Picture
from core.pixels import LEVELS
from training import CommandFailed
from training.evaluation.outputs import (
    Output,
    TestPicture,
    bicubic,
    decode_file,
    find_busiest_square,
    is_picture,
    load_for_measuring,
    through_upscaler,
    write_columns,
)
from training.evaluation.tables import Means, markdown_table, require_marks, write_between
from training.models.networks import SCALE

FAITHFUL, DETAILED, RESTORED = "detail 0", "detail 1", "restored"
AREA = 8  # LR px, side of the areas in which texture repeats
BLOCK = 8  # LR px, side of the blocks of JPEG
HIGHEST_DB = 100.0  # consistency of identical pictures
LEAST_STEP = 0.1  # levels; with smaller differences of neighbours no block could show

FIRST_MARK = "<!-- outside: written by python -m training evaluate-outside -->"
LAST_MARK = "<!-- end of outside -->"

HEADINGS = {
    "consistency_db": "consistency dB",
    "sharpness": "sharpness",
    "noise": "noise",
    "blocks": "blocks",
    "lattice": "lattice",
}
FORMATS = {
    "consistency_db": "{:.1f}",
    "sharpness": "{:.2f}",
    "noise": "{:.1f}",
    "blocks": "{:.0%}",
    "lattice": "{:.2f}",
}


@dataclass(frozen=True)
class OutsideEvaluation:
    """What to measure, and where to write it.

    Attributes:
        card: card of the model.
        pictures: folder of pictures, or of a folder for each kind.
        report: folder for `outside.json`, `outside.md` and `sheets`.
        document: Markdown file whose table to rewrite; None for none.
    """

    card: Path
    pictures: Path
    report: Path
    document: Path | None = None

    def run(self) -> Means:
        """Measure, write the report, and return the means over the pictures of a kind.

        Raises:
            CommandFailed: if the folder holds no picture, or one that cannot be measured, or if
                the document lacks the marks of the table; nothing is written then.
        """
        if self.document is not None:
            require_marks(self.document, FIRST_MARK, LAST_MARK)
        report = self.report.resolve()
        paths = sorted(
            path
            for path in self.pictures.rglob("*")
            if is_picture(path) and report not in path.resolve().parents
        )
        if not paths:
            raise CommandFailed(
                f"PICTURES must be a folder that holds pictures. Received: {self.pictures}."
            )
        for path in paths:
            check_picture(path)
        outputs = list_outputs(self.card)
        rows = [
            row
            for path in tqdm(paths, unit="picture", disable=None)
            for row in self._measure(path, outputs)
        ]
        table = mean_by_kind(rows)
        self.report.mkdir(parents=True, exist_ok=True)
        (self.report / "outside.json").write_text(json.dumps(rows, indent=2) + "\n")
        (self.report / "outside.md").write_text(as_table(table))
        if self.document is not None:
            write_between(self.document, as_table(table), FIRST_MARK, LAST_MARK)
        return table

    def _measure(self, path: Path, outputs: Mapping[str, Output]) -> list[dict[str, object]]:
        """Return the measures of every output of one picture, and write its sheet."""
        inside = path.relative_to(self.pictures)
        kind = inside.parent.as_posix()
        picture = TestPicture(kind, path, path)
        lr = picture.decode_lr()
        shown = {name: output(picture) for name, output in outputs.items()}
        measures = {name: measure_without_reference(sr, lr) for name, sr in shown.items()}
        captions = {name: make_caption(figures) for name, figures in measures.items()}
        name = inside.name if path.suffix == ".png" else f"{inside.name}.png"
        sheet = self.report / "sheets" / inside.with_name(name)
        write_columns(sheet, shown, find_busiest_square(shown["bicubic"]), captions)
        return [
            {"kind": kind, "picture": path.name, "output": name, **figures}
            for name, figures in measures.items()
        ]


def check_picture(path: Path) -> None:
    """Raise CommandFailed unless a picture can be decoded and is large enough."""
    height, width = decode_file(path).shape[:2]
    if min(height, width) < MIN_SIDE:
        raise CommandFailed(
            f"{path} must be at least {MIN_SIDE} pixels wide and high. "
            f"Received: {width} x {height} pixels."
        )


def list_outputs(card_path: Path) -> dict[str, Output]:
    """Return the outputs by name, those that a card lacks left out."""
    upscaler = load_for_measuring(card_path)
    outputs: dict[str, Output] = {"bicubic": bicubic}
    if upscaler.card.faithful is not None:
        outputs[FAITHFUL] = through_upscaler(upscaler, detail="0", restore="0")
    outputs[DETAILED] = through_upscaler(upscaler, restore="0")
    if upscaler.restorer is not None:
        outputs[RESTORED] = through_upscaler(upscaler, restore="1")
    return outputs


def measure_without_reference(sr: np.ndarray, lr: np.ndarray) -> dict[str, float]:
    """Return the measures of one SR picture.

    Args:
        sr: (4H, 4W, 3) uint8.
        lr: (H, W, 3) uint8, H and W at least 33.

    Returns:
        Consistency: PSNR of SR, reduced to LR by the mean of its blocks, dB. Sharpness: logarithm
        to base 2 of fine over coarse energy where detail is strongest. Noise: standard deviation
        of white noise that is left where SR, reduced to LR, is flat, levels. Blocks: see
        `block_excess`. Lattice: see `lattice_levels`.
    """
    reduced = Picture(np.rint(reduce_to_lr(sr)).astype(np.uint8))
    figures = {
        "consistency_db": consistency_db(sr, lr),
        "sharpness": measure_condition(sample_windows(Picture(sr))).sharpness,
        "noise": measure_condition(sample_windows(reduced)).noise,
        "blocks": block_excess(sr),
        "lattice": lattice_levels(sr),
    }
    return {key: round(float(value), 4) for key, value in figures.items()}


def reduce_to_lr(sr: np.ndarray) -> np.ndarray:
    """Return the mean of each block of 4 x 4: (4H, 4W, 3) uint8 -> (H, W, 3) float64 levels."""
    height, width = (side // SCALE for side in sr.shape[:2])
    return sr.reshape(height, SCALE, width, SCALE, -1).mean(axis=(1, 3))


def consistency_db(sr: np.ndarray, lr: np.ndarray) -> float:
    """Return the ratio between LR and SR that is reduced to its size, at most `HIGHEST_DB`."""
    error = float(np.mean((reduce_to_lr(sr) - lr) ** 2))
    return min(10 * np.log10(LEVELS**2 / max(error, 1e-9)), HIGHEST_DB)


def block_excess(sr: np.ndarray) -> float:
    """Return how much larger the steps between blocks of 8 x 8 LR px are than other steps.

    It is the mean difference of neighbouring LR pixels at that offset of the blocks where it is
    largest, relative to the mean over all offsets, less 1; the lesser of height and width.
    """
    luma = reduce_to_lr(sr) @ LUMA
    excess = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        means = np.array([steps[offset::BLOCK].mean() for offset in range(BLOCK)])
        excess.append(means.max() / max(means.mean(), LEAST_STEP) - 1)
    return max(min(excess), 0.0)


def lattice_levels(sr: np.ndarray) -> float:
    """Return how strong texture is that repeats from one LR pixel to the next, levels.

    What LR determines is taken away: SR, reduced to LR and interpolated. The rest is averaged over
    the blocks of 4 x 4 px of areas of 8 x 8 LR px: what repeats remains, other texture averages to
    an eighth. The root mean square of the means counts.
    """
    height, width = (side // (SCALE * AREA) for side in sr.shape[:2])
    if not height or not width:
        return 0.0
    reduced = np.rint(reduce_to_lr(sr)).astype(np.uint8)
    texture = (sr.astype(np.float64) - resize_bicubic(reduced, *sr.shape[:2])) @ LUMA
    whole = texture[: height * SCALE * AREA, : width * SCALE * AREA]
    means = whole.reshape(height, AREA, SCALE, width, AREA, SCALE).mean(axis=(1, 4))
    return float(np.sqrt(np.mean(means**2)))


def make_caption(figures: Mapping[str, float]) -> str:
    """Return the figures of a picture as its sheet shows them, in the order of the table."""
    return "  ".join(FORMATS[key].format(value) for key, value in figures.items())


def mean_by_kind(rows: Sequence[Mapping[str, object]]) -> Means:
    """Return the means over the pictures of a kind, rounded to four places."""
    table: Means = {}
    for row in rows:
        table.setdefault(str(row["kind"]), {}).setdefault(str(row["output"]), {})
    for kind, outputs in table.items():
        for output in outputs:
            same = [row for row in rows if (row["kind"], row["output"]) == (kind, output)]
            outputs[output] = {
                key: round(float(np.mean([row[key] for row in same])), 4) for key in HEADINGS
            }
    return table


def as_table(means: Means) -> str:
    """Return a Markdown table with one row per kind and output."""
    return markdown_table("pictures", means, HEADINGS, format_cell)


def format_cell(key: str, value: float | None) -> str:
    """Return a measure with the digits of its column; every output has all measures."""
    return FORMATS[key].format(value)
