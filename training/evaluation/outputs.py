"""Figures of outputs on test sets: per picture, as means, as a table.

Tables inside Markdown documents, between two marks.

Where upscaled test pictures come from: models, interpolation, folders of files.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import requests

from core.images import decode_image, decode_rgb, resize_bicubic
from core.media.render import upscale_to_stream
from core.model.upscaler import Upscaler, load_upscaler
from core.options import OutputOptions
from training.evaluation.metrics import LearnedDistance, colour_shift, grid_share, psnr_y, ssim_y


def write_between(document: Path, table: str, first_mark: str, last_mark: str) -> None:
    """Put a table between two marks of a document, in place of what is there.

    Raises:
        ValueError: if one of the marks is not there exactly once.
    """
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(first_mark)
    _, after = rest.split(last_mark)
    document.write_text(f"{before}{first_mark}\n{table}{last_mark}{after}", encoding="utf-8")


WINDOW = 256  # LR px
PATIENCE_S = 600  # with one request


@dataclass(frozen=True)
class TestPicture:
    """A picture of a test set: what is upscaled, and what should come out."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    test_set: str
    lr_path: Path
    hr_path: Path

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return self.hr_path.stem

    def decode_lr(self) -> np.ndarray:
        return decode_rgb(self.lr_path.read_bytes())

    def decode_hr(self) -> np.ndarray:
        return decode_rgb(self.hr_path.read_bytes())


Output = Callable[[TestPicture], np.ndarray]
"""A test picture -> SR, (4H, 4W, 3) uint8, as an 8-bit PNG holds it."""


def list_test_pictures(test_set: Path) -> list[TestPicture]:
    """Pictures of a folder with `HR/<name>.png` and `LRx4/<name>.png`, by name."""
    return [
        TestPicture(test_set.name, test_set / "LRx4" / hr_path.name, hr_path)
        for hr_path in sorted(test_set.glob("HR/*.png"))
    ]


def list_test_sets(folder: Path) -> list[Path]:
    """Every test set in a folder, the smallest first."""
    test_sets = [path.parent for path in folder.glob("*/HR")]
    return sorted(test_sets, key=lambda test_set: len(list_test_pictures(test_set)))


def bicubic(picture: TestPicture) -> np.ndarray:
    """The yardstick: classical interpolation."""
    lr = picture.decode_lr()
    height, width = lr.shape[:2]
    return resize_bicubic(lr, 4 * height, 4 * width)


def load_for_measuring(card_path: Path) -> Upscaler:
    """A frozen graph in float32.

    The service may compute in bfloat16; figures of weights must not depend on the processor.
    """
    return load_upscaler(card_path, window=WINDOW, threads=0, precision="float32")


def through_core(card_path: Path) -> Output:
    """A frozen graph, run and encoded as the service does it."""
    upscaler = load_for_measuring(card_path)

    def upscale(picture):
        lr = decode_image(picture.lr_path.read_bytes())
        return decode_rgb(b"".join(upscale_to_stream(upscaler, lr, OutputOptions())))

    return upscale


def through_service(url: str) -> Output:
    """A running service, for example at `http://127.0.0.1:5000`."""

    def upscale(picture):
        files = {"image": picture.lr_path.read_bytes()}
        answer = requests.post(f"{url}/model/predict", files=files, timeout=PATIENCE_S)
        answer.raise_for_status()
        return decode_rgb(answer.content)

    return upscale


def from_folder(folder: Path) -> Output:
    """What another system made: `<folder>/<set>/<name>.png`."""

    def read(picture):
        path = folder / picture.test_set / picture.hr_path.name
        return decode_rgb(path.read_bytes())

    return read


def list_peers(folder: Path, test_set: Path) -> list[Path]:
    """Folders of other systems' outputs that have this test set."""
    return sorted(path.parent for path in folder.glob(f"*/{test_set.name}"))


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
class PictureFigures:
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
) -> list[PictureFigures]:
    """The figures of every output, by name, on one picture."""
    lr, hr = picture.decode_lr(), picture.decode_hr()
    return [
        PictureFigures(
            picture.test_set,
            picture.name,
            name,
            {key: metric(sr, hr) for key, metric in metrics.items()}
            | {GRID: grid_share(sr, hr), SHIFT: colour_shift(sr, lr)},
        )
        for name, sr in upscaled.items()
    ]


def mean_figures(rows: Sequence[PictureFigures]) -> Means:
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


def write_report(folder: Path, rows: Sequence[PictureFigures]) -> None:
    """`quality.json` with every figure, `quality.md` with the table of means."""
    folder.mkdir(parents=True, exist_ok=True)
    means = mean_figures(rows)
    report = {"means": means, "pictures": [asdict(row) for row in rows]}
    (folder / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "quality.md").write_text(as_table(means))


def write_into(document: Path, table: str) -> None:
    """Put a table between the two marks of a Markdown document."""
    write_between(document, table, FIRST_MARK, LAST_MARK)
