"""Measure models beside interpolation and other systems, and write down what came out.

Contact sheets: the same picture from every output, side by side, for the eye.

The upper row shows whole pictures, one screen pixel a pixel; the lower row the place
with the most detail, enlarged without smoothing.

One picture for the eye: bicubic interpolation, the model, the original.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from core.images import encode_png
from core.model.card import read_card
from core.picture import Picture
from core.pixels import LEVELS
from training.errors import CommandFailed
from training.evaluation.outputs import (
    FORMATS,
    Means,
    Output,
    PictureFigures,
    TestPicture,
    as_table,
    bicubic,
    choose_metrics,
    from_folder,
    list_peers,
    list_test_pictures,
    list_test_sets,
    mean_figures,
    measure,
    pick_outputs,
    through_core,
    through_service,
    write_into,
    write_report,
)
from training.export import save_card

DPI = 100  # of the canvas: positions in pixels are inches times this
CAPTION_PX = 36  # height of two lines of text
LEAST_ZOOM = 3  # also keeps columns wide enough for their captions
CROP_PX = 96  # side of the place that is enlarged, on the SR grid
CROP_STEP_PX = 16  # between the places that are tried
PAPER = 255  # background level


def write_sheet(
    path: Path,
    picture: TestPicture,
    upscaled: Mapping[str, np.ndarray],
    captions: Mapping[str, str],
) -> None:
    """Draw LR, every output and HR as a PNG.

    Args:
        path: file to write; its folder is made.
        picture: what to show.
        upscaled: what to compare, by name: SR, (4H, 4W, 3) uint8.
        captions: text under a name, its figures for one.
    """
    hr = picture.decode_hr()
    shown = {"LR": picture.decode_lr().repeat(4, axis=0).repeat(4, axis=1)}
    shown |= upscaled
    shown["HR"] = hr
    top, left = busiest_place(hr)
    zoom = max(LEAST_ZOOM, hr.shape[1] // CROP_PX)
    columns = [
        column(pixels, pixels[top : top + CROP_PX, left : left + CROP_PX], zoom)
        for pixels in shown.values()
    ]
    sheet = np.concatenate(columns, axis=1)
    texts = [f"{name}\n{captions.get(name, '')}" for name in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(path, sheet, texts, columns[0].shape[1])


def busiest_place(hr: np.ndarray) -> tuple[int, int]:
    """Top and left of the square with the strongest gradients, HR px."""
    luma = hr.astype(np.float32).mean(axis=-1)
    energy = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    tops = range(0, max(1, energy.shape[0] - CROP_PX), CROP_STEP_PX)
    lefts = range(0, max(1, energy.shape[1] - CROP_PX), CROP_STEP_PX)
    return max(
        ((top, left) for top in tops for left in lefts),
        key=lambda place: energy[
            place[0] : place[0] + CROP_PX, place[1] : place[1] + CROP_PX
        ].mean(),
    )


def column(whole: np.ndarray, place: np.ndarray, zoom: int) -> np.ndarray:
    """A whole picture above an enlarged place, on paper wide enough for both."""
    enlarged = place.repeat(zoom, axis=0).repeat(zoom, axis=1)
    width = max(whole.shape[1], enlarged.shape[1]) + 4
    return np.concatenate([on_paper(part, width) for part in (whole, enlarged)])


def on_paper(pixels: np.ndarray, width: int) -> np.ndarray:
    height = pixels.shape[0] + 4
    paper = np.full((height, width, 3), PAPER, np.uint8)
    paper[: pixels.shape[0], : pixels.shape[1]] = pixels
    return paper


def draw(path: Path, sheet: np.ndarray, texts: list[str], column_px: int) -> None:
    """Save an array pixel for pixel, with two lines of text above each column."""
    height, width = sheet.shape[0] + CAPTION_PX, sheet.shape[1]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(sheet / LEVELS, origin="upper")
    for index, text in enumerate(texts):
        x, y = index * column_px / width, (sheet.shape[0] + 6) / height
        figure.text(x, y, text, fontsize=9, family="monospace")
    figure.savefig(path, dpi=DPI)


def compare(card_path: Path, picture: TestPicture) -> bytes:
    """PNG of three pictures of the same size, side by side."""
    shown = [bicubic(picture), through_core(card_path)(picture), picture.decode_hr()]
    return encode_png(Picture(np.concatenate(shown, axis=1)))


YARDSTICK = "bicubic"  # the output whose figures a card holds beside the model's own


@dataclass(frozen=True)
class Evaluation:
    """What to measure, and where to write it.

    Attributes:
        cards: of the models, each of another name; their `quality` is rewritten.
        test_sets: folder of test sets.
        perceptual: folder of weights for LPIPS-sq; None to leave that out.
        peers: folder of other systems' outputs; None for none.
        service: URL of a running service to measure the one card through; None for `core`.
        readme: Markdown file with a table of quality; None to leave it alone.
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
        """Measure and write; the means over pictures.

        Raises:
            CommandFailed: if a service is to be measured as several models.
        """
        metrics = choose_metrics(self.perceptual)
        models = self._models()
        rows: list[PictureFigures] = []
        for test_set in list_test_sets(self.test_sets):
            outputs = self._outputs(test_set, models)
            for picture in tqdm(list_test_pictures(test_set), desc=test_set.name, unit="picture"):
                rows += self._appraise(picture, outputs, metrics)
        self._write(rows)
        return mean_figures(rows)

    def _models(self) -> dict[str, Output]:
        """What is measured, by the name on its card."""
        if self.service is None:
            return {read_card(card).name: through_core(card) for card in self.cards}
        if len(self.cards) != 1:
            raise CommandFailed(
                f"A service must be measured with one card. Received: {len(self.cards)} cards."
            )
        return {read_card(self.cards[0]).name: through_service(self.service)}

    def _outputs(self, test_set: Path, models: dict[str, Output]) -> dict[str, Output]:
        peers = list_peers(self.peers, test_set) if self.peers else []
        return {YARDSTICK: bicubic, **{p.name: from_folder(p) for p in peers}, **models}

    def _appraise(self, picture, outputs, metrics):
        """Figures and contact sheet of one picture, upscaled once for both."""
        upscaled = {name: output(picture) for name, output in outputs.items()}
        rows = measure(picture, upscaled, metrics)
        if self.sheets is not None:
            path = self.sheets / picture.test_set / f"{picture.name}.png"
            write_sheet(path, picture, upscaled, {row.output: caption(row) for row in rows})
        return rows

    def _write(self, rows):
        means = mean_figures(rows)
        names = {path: read_card(path).name for path in self.cards}
        for path, name in names.items():
            noted = pick_outputs(means, (YARDSTICK, name))
            save_card(path, replace(read_card(path), quality=noted))
        if self.readme is not None:
            shown = pick_outputs(means, (YARDSTICK, *names.values()))
            write_into(self.readme, as_table(shown))
        if self.report is not None:
            write_report(self.report, rows)


def caption(row: PictureFigures) -> str:
    """The figures of a row, as a contact sheet shows them."""
    return "  ".join(FORMATS[key].format(value) for key, value in row.figures.items())
