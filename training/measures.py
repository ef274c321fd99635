"""What can be said of a photograph in numbers: size, sharpness, colour."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from core.images import decode_rgb
from training.checks import channel_range
from training.metrics import LUMA
from training.photos import Photo


class Measures(NamedTuple):
    """Figures of one photograph; levels are those of 8 bits, [0, 255].

    Attributes:
        height, width: px.
        sharpness: variance of the Laplacian of luma, squared levels.
        red, green, blue: means of the channels, levels.
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


def measure_all(photos: Sequence[Photo]) -> list[Measures]:
    """Measures of every photograph, in the same order."""
    with ThreadPool() as pool:
        bar = tqdm(pool.imap(measure_file, photos), total=len(photos), unit="photo", disable=None)
        return list(bar)


def measure_file(photo: Photo) -> Measures:
    return measure(decode_rgb(photo.path.read_bytes()))


def measure(pixels: np.ndarray) -> Measures:
    """Measures of a picture, (H, W, 3) uint8 in [0, 255]; H, W >= 3."""
    luma = pixels.astype(np.float32) @ LUMA.astype(np.float32)
    red, green, blue = (float(channel.mean()) for channel in np.moveaxis(pixels, -1, 0))
    return Measures(
        *pixels.shape[:2],
        float(laplacian(luma).var()),
        red,
        green,
        blue,
        float(luma.mean()),
        saturation(pixels),
    )


def laplacian(luma: np.ndarray) -> np.ndarray:
    """Four neighbours less four times the pixel: (H, W) -> (H - 2, W - 2) levels.

    Its variance tells sharp pictures from blurred ones, noisy ones from both.

    Source: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, sec. 3.
    """
    neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return neighbours - 4 * luma[1:-1, 1:-1]


def saturation(pixels: np.ndarray) -> float:
    """Mean saturation of HSV, in [0, 1]; black has none."""
    least, greatest = channel_range(pixels)
    return float(((greatest - least) / np.maximum(greatest, 1).astype(np.float32)).mean())
