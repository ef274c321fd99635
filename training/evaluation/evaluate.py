"""Measure models on test sets beside other outputs, and record the figures.

The figures are measured per picture, averaged per test set, and written to the models'
cards, to tables in Markdown documents, and to a report.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.model.card import ModelCard, read_card
from training import CommandFailed
from training.evaluation.metrics import (
    BORDER,
    SSIM_RADIUS,
    LearnedDistance,
    Metric,
    colour_shift,
    flip,
    grid_share,
    mse_y,
    psnr_y,
    ssim_y,
)
from training.evaluation.outputs import (
    WILD,
    Output,
    TestPicture,
    bicubic,
    from_folder,
    list_peers,
    list_test_pictures,
    list_test_sets,
    list_wild_pictures,
    restored_through_core,
    through_core,
    through_service,
    write_sheet,
)
from training.evaluation.scatter import plot_metrics
from training.evaluation.tables import Means, markdown_table, require_marks, write_between
from training.export import save_card

CLEAN_STRENGTHS = ("0",)  # values of `restore` that are measured on clean LR
WILD_STRENGTHS = ("0", "1", "auto")  # the same on wild LR
LEAST_SIDE = 2 * (BORDER + SSIM_RADIUS) + 1  # px of HR: one window of SSIM inside the borders
BASELINE = "bicubic"  # the output whose figures a card holds beside the model's own
SHIFT, GRID = "colour_shift_levels", "grid_share"
HEADINGS = {
    "psnr_y_db": "PSNR-Y dB",
    "mse_y": "MSE-Y",
    "ssim_y": "SSIM-Y",
    "flip": "FLIP",
    "lpips_sq": "LPIPS-sq",
    GRID: "grid",
    SHIFT: "colour shift",
}
FORMATS = {
    "psnr_y_db": "{:.2f}",
    "mse_y": "{:.1f}",
    "ssim_y": "{:.4f}",
    "flip": "{:.4f}",
    "lpips_sq": "{:.4f}",
    GRID: "{:.1%}",
    SHIFT: "{:.1f}",
}

FIRST_MARK = "<!-- quality: written by python -m training evaluate -->"
LAST_MARK = "<!-- end of quality -->"
WILD_FIRST_MARK = "<!-- wild quality: written by python -m training evaluate -->"
WILD_LAST_MARK = "<!-- end of wild quality -->"


@dataclass(frozen=True)
class PictureFigures:
    """The figures of one output on one picture."""

    test_set: str
    picture: str
    output: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """What to measure, and where to write the figures.

    A test set with a folder `LRwild` is measured on wild LR as well, as a test set of its own.
    There, a model with a restorer has an output for each strength of restoring. The output with
    the name of the model is not restored.

    Attributes:
        cards: cards of the models, each with another name; their `quality` is rewritten.
        test_sets: folder of test sets.
        perceptual: folder with weights for LPIPS-sq; None to leave it out.
        peers: folder of other systems' outputs; None for none.
        service: URL of a running service to measure instead of running the card's graph;
            None to run the graphs.
        readme: Markdown file with a table of quality to rewrite; None for none.
        report: folder for every figure; None for none.
        sheets: folder for contact sheets; None for none.
    """

    cards: Sequence[Path]
    test_sets: Path
    perceptual: Path | None = None
    peers: Path | None = None
    service: str | None = None
    readme: Path | None = None
    report: Path | None = None
    sheets: Path | None = None

    def run(self) -> Means:
        """Measure, write the figures, and return the means over pictures.

        Raises:
            GraphMismatch: if a card cannot be read.
            CommandFailed: if a service is given and more than one card, if there is nothing to
                measure, or if pictures have wrong sizes; nothing but sheets is written then.
        """
        if self.readme is not None:
            require_marks(self.readme, FIRST_MARK, LAST_MARK)
        cards = {path: read_card(path) for path in self.cards}
        metrics = choose_metrics(self.perceptual)
        rows: list[PictureFigures] = []
        for list_pictures, strengths in (
            (list_test_pictures, CLEAN_STRENGTHS),
            (list_wild_pictures, WILD_STRENGTHS),
        ):
            test_sets = [list_pictures(folder) for folder in list_test_sets(self.test_sets)]
            models = self._models(cards, strengths) if any(test_sets) else {}
            for pictures in filter(None, test_sets):
                name = pictures[0].test_set
                outputs = self._outputs(name, models)
                for picture in tqdm(pictures, desc=name, unit="picture"):
                    rows += self._measure(picture, outputs, metrics)
        if not rows:
            raise CommandFailed(
                "TEST_SETS must hold <set>/HR/*.png with <set>/LRx4 or <set>/LRwild. "
                f"Received: {self.test_sets}, without any."
            )
        self._write(rows)
        return mean_over_pictures(rows)

    def _models(
        self, cards: Mapping[Path, ModelCard], strengths: Sequence[str]
    ) -> dict[str, Output]:
        """Return the outputs of the models, by the names on their cards and the strengths."""
        if self.service is not None and len(self.cards) != 1:
            raise CommandFailed(
                f"A service must be measured with one card. Received: {len(self.cards)} cards."
            )
        models = {}
        for path, card in cards.items():
            if card.restorer is None:
                models[card.name] = self._plain(path)
            else:
                restored = self._restored(path, strengths)
                models |= {name_output(card.name, s): output for s, output in restored.items()}
        return models

    def _plain(self, card_path):
        return through_core(card_path) if self.service is None else through_service(self.service)

    def _restored(self, card_path, strengths):
        if self.service is None:
            return restored_through_core(card_path, strengths)
        return {strength: through_service(self.service, restore=strength) for strength in strengths}

    def _outputs(self, test_set: str, models: dict[str, Output]) -> dict[str, Output]:
        peers = list_peers(self.peers, test_set) if self.peers else []
        return {BASELINE: bicubic, **{p.name: from_folder(p) for p in peers}, **models}

    def _measure(self, picture, outputs, metrics):
        """Return the figures of one picture; write its contact sheet if asked for."""
        upscaled = {name: output(picture) for name, output in outputs.items()}
        rows = measure(picture, upscaled, metrics)
        if self.sheets is not None:
            path = self.sheets / picture.test_set / f"{picture.name}.png"
            write_sheet(path, picture, upscaled, {row.output: make_caption(row) for row in rows})
        return rows

    def _write(self, rows):
        means = mean_over_pictures(rows)
        names = {path: read_card(path).name for path in self.cards}
        for path, name in names.items():
            quality = pick_outputs(means, (BASELINE, *names_of_outputs(name)))
            save_card(path, replace(read_card(path), quality=quality))
        if self.readme is not None:
            shown = [output for name in names.values() for output in names_of_outputs(name)]
            write_tables(self.readme, pick_outputs(means, (BASELINE, *shown)))
        if self.report is not None:
            write_report(self.report, rows)


def name_output(model: str, strength: str) -> str:
    """Return the name of a model's output at a strength of restoring."""
    return model if strength == "0" else f"{model}, restore {strength}"


def names_of_outputs(model: str) -> list[str]:
    """Return the names of all outputs that a model can have."""
    return [name_output(model, strength) for strength in WILD_STRENGTHS]


def choose_metrics(perceptual_folder: Path | None) -> dict[str, Metric]:
    """Return metrics by name; LPIPS-sq only if there is a folder with its weights."""
    metrics: dict[str, Metric] = {
        "psnr_y_db": psnr_y,
        "mse_y": mse_y,
        "ssim_y": ssim_y,
        "flip": flip,
    }
    if perceptual_folder is not None:
        metrics["lpips_sq"] = LearnedDistance(perceptual_folder)
    return metrics


def measure(
    picture: TestPicture, upscaled: Mapping[str, np.ndarray], metrics: Mapping[str, Metric]
) -> list[PictureFigures]:
    """Return the figures of every output on one picture.

    Args:
        picture: the test picture.
        upscaled: SR by the name of its output, (4H, 4W, 3) uint8.
        metrics: metrics by name, in addition to grid and colour shift.

    Raises:
        CommandFailed: if HR is too small to measure, or an output has another size.
    """
    lr, hr = picture.decode_lr(), picture.decode_hr()
    check_sizes(picture, upscaled, hr)
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


def check_sizes(picture: TestPicture, upscaled: Mapping[str, np.ndarray], hr: np.ndarray) -> None:
    """Raise CommandFailed unless outputs have the size of HR, and it can be measured."""
    name = f"{picture.test_set}/{picture.name}"
    height, width = hr.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise CommandFailed(
            f"HR of {name} must be at least {LEAST_SIDE} pixels wide and high. "
            f"Received: {width} x {height}."
        )
    for output, sr in upscaled.items():
        if sr.shape != hr.shape:
            raise CommandFailed(
                f"{output} of {name} must have the size of HR, {width} x {height}. "
                f"Received: {sr.shape[1]} x {sr.shape[0]}."
            )


def make_caption(row: PictureFigures) -> str:
    """Return the figures of a row as a contact sheet shows them."""
    return "  ".join(FORMATS[key].format(value) for key, value in row.figures.items())


def mean_over_pictures(rows: Sequence[PictureFigures]) -> Means:
    """Return means over pictures, rounded to four places, in the order of the rows."""
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
    """Return the mean; for the colour shift the largest, since one wrong picture is too many."""
    return round(float(np.max(values) if key == SHIFT else np.mean(values)), 4)


def pick_outputs(means: Means, names: Collection[str]) -> Means:
    """Return the means of the named outputs only."""
    return {
        test_set: {name: figures for name, figures in outputs.items() if name in names}
        for test_set, outputs in means.items()
    }


def as_table(means: Means) -> str:
    """Return a Markdown table with one row per test set and output."""
    return markdown_table("test set", means, HEADINGS, format_cell)


def format_cell(key: str, value: float | None) -> str:
    """Return a figure with the digits of its column; every output has all figures."""
    return FORMATS[key].format(value)


def write_report(folder: Path, rows: Sequence[PictureFigures]) -> None:
    """Write every figure, the table of means, and metrics plotted against each other.

    The files are `quality.json`, `quality.md` and `metrics.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    means = mean_over_pictures(rows)
    report = {"means": means, "pictures": [asdict(row) for row in rows]}
    (folder / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "quality.md").write_text(as_table(means))
    plot_metrics([(row.output, row.figures) for row in rows], HEADINGS).savefig(
        folder / "metrics.png"
    )


def part_wild(means: Means) -> tuple[Means, Means]:
    """Return the means of the test sets with clean LR, and of those with wild LR."""
    clean, wild = (
        {name: outputs for name, outputs in means.items() if name.endswith(WILD) is is_wild}
        for is_wild in (False, True)
    )
    return clean, wild


def write_tables(document: Path, means: Means) -> None:
    """Write the tables of quality on clean and wild LR; leave one as it is without such LR."""
    clean, wild = part_wild(means)
    if clean:
        write_into(document, as_table(clean))
    if wild:
        write_between(document, as_table(wild), WILD_FIRST_MARK, WILD_LAST_MARK)


def write_into(document: Path, table: str) -> None:
    """Write the table of quality between its marks in a Markdown document."""
    write_between(document, table, FIRST_MARK, LAST_MARK)
