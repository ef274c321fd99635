"""Whether an SR picture, made small again, is the picture that it was made from."""

import math

import numpy as np

from core.picture import Picture
from core.pixels import Float32Array, PixelArray

IDENTICAL_DB = 100.0
"""Said of pictures without any difference, where the ratio has no end."""


class Consistency:
    """Peak signal-to-noise ratio between a picture and its SR, box-downscaled.

    What the network invents must not change what the camera saw: the mean of the SR
    pixels under an LR pixel is to be that pixel. Fully transparent pixels do not count.

    Args:
        lr: the picture.
        scale: SR pixels per LR pixel, on each side.
    """

    def __init__(self, lr: Picture, scale: int) -> None:
        self._lr = lr
        self._scale = scale
        self._rows = 0
        self._squares = 0.0
        self._samples = 0

    def add(self, strip: PixelArray) -> None:
        """Take the next SR rows, (h, scale*W, C), colour first; h is a multiple of scale."""
        rows = slice(self._rows, self._rows + len(strip) // self._scale)
        self._rows = rows.stop
        colours = 1 if self._lr.is_grey else 3
        small = downscale(strip[..., :colours], self._scale)
        difference = small - self._lr.pixels[rows, :, :colours]
        if self._lr.alpha is not None:
            difference = difference[self._lr.alpha[rows] > 0]
        self._squares += float(np.vdot(difference, difference))
        self._samples += difference.size

    @property
    def psnr_db(self) -> float:
        """Of the rows so far, dB, at most `IDENTICAL_DB`."""
        mean_square = self._squares / max(1, self._samples)
        least = self._lr.highest**2 / 10 ** (IDENTICAL_DB / 10)
        return 10 * math.log10(self._lr.highest**2 / max(mean_square, least))


def downscale(sr: PixelArray, scale: int) -> Float32Array:
    """(scale*h, scale*W, C) -> (h, W, C) float32, the mean of every block."""
    total = np.uint16 if sr.dtype == np.uint8 else np.uint32
    rows = np.zeros((len(sr) // scale, *sr.shape[1:]), total)
    for k in range(scale):  # a reduction of numpy takes four times as long
        np.add(rows, sr[k::scale], out=rows)
    blocks = np.zeros((len(rows), sr.shape[1] // scale, sr.shape[2]), total)
    for k in range(scale):
        np.add(blocks, rows[:, k::scale], out=blocks)
    return blocks.astype(np.float32) / np.float32(scale**2)
