"""Contact sheets: the same picture from every output, side by side, for the eye.

The upper row shows whole pictures, one screen pixel a pixel; the lower row the place
with the most detail, enlarged without smoothing.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from core.pixels import LEVELS
from training.outputs import TestPicture

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
