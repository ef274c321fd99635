"""Degrade HR to LR as cameras and web sites do: blur, downscale, add noise, compress.

This is the classical degradation model of first order: LR = JPEG((HR * blur) downscaled +
noise). Every strength is drawn again for every patch from the ranges in a recipe.

Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, sec. 3.1, eq. 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from core.images import decode_image, encode_jpeg, resize_bicubic
from core.model.tiles import Box
from core.pixels import LEVELS
from training import CommandFailed
from training.data.photos import Pair
from training.models.networks import SCALE

BLUR_REACH = 3  # standard deviations at which the kernel is cut off
BICUBIC_REACH = 2 * SCALE  # HR px on each side that one LR pixel depends on when downscaled
JPEG_BLOCK = 8  # px a side of a block that is compressed as a whole
JPEG_UNIT = 16  # px after which the grid of blocks repeats: chroma has half the resolution


@dataclass(frozen=True)
class Degradation:
    """Table `[degradation]`: ranges [lowest, highest] from which strengths are drawn uniformly."""

    blur_sigma: list[float]  # width of a Gaussian, HR px, drawn separately for each axis
    noise_sigma: list[float]  # deviation of Gaussian noise on LR, 8-bit levels
    jpeg_quality: list[int]  # quality of LR, 1 to 100
    grey_noise_share: float  # share of degraded patches with the same noise in all channels
    clean_share: float  # share of all patches that are only downscaled

    def __post_init__(self) -> None:
        self._check_range("blur_sigma", float, 0, 100)
        self._check_range("noise_sigma", float, 0, LEVELS)
        self._check_range("jpeg_quality", int, 1, 100)
        self._check_share("grey_noise_share")
        self._check_share("clean_share")

    def _check_range(self, name, kind, least, most):
        match getattr(self, name):
            case [int() | kind() as low, int() | kind() as high] if least <= low <= high <= most:
                return
            case value:
                raise CommandFailed(
                    f"`{name}` must be [lowest, highest], two numbers of type {kind.__name__} "
                    f"from {least} to {most}. Received: {name}={value!r}"
                )

    def _check_share(self, name):
        value = getattr(self, name)
        if not 0 <= value <= 1:
            raise CommandFailed(f"`{name}` must be between 0 and 1. Received: {name}={value!r}")

    @property
    def margin(self) -> int:
        """LR pixels around a patch on which it depends, through blur and downscaling, or JPEG."""
        reach = ceil(BLUR_REACH * self.blur_sigma[1]) + BICUBIC_REACH
        return max(ceil(reach / SCALE), JPEG_BLOCK)


def degrade(hr: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Degrade HR (4H, 4W, 3) uint8 to LR (H, W, 3) uint8.

    LR and HR stay aligned: LR pixel (y, x) shows the 4 x 4 HR pixels from (4y, 4x) on. Beyond
    the edges, the pixels of the edge are repeated.

    Args:
        hr: picture to degrade.
        degradation: ranges of the strengths.
        rng: source of random numbers; its state determines the result.
    """
    height, width = (side // SCALE for side in hr.shape[:2])
    if rng.random() < degradation.clean_share:
        return resize_bicubic(hr, height, width)
    blurred = blur(hr, *rng.uniform(*degradation.blur_sigma, size=2))
    noisy = add_noise(resize_bicubic(blurred, height, width), degradation, rng)
    return compress(noisy, rng.integers(*degradation.jpeg_quality, endpoint=True), rng)


def blur(pixels: np.ndarray, sigma_y: float, sigma_x: float) -> np.ndarray:
    """Convolve (H, W, 3) uint8 with a Gaussian; its width can differ between axes, px."""
    blurred = convolve_rows(pixels.astype(np.float32), gaussian(sigma_y))
    blurred = convolve_rows(blurred.swapaxes(0, 1), gaussian(sigma_x)).swapaxes(0, 1)
    return np.rint(blurred).astype(np.uint8)


def gaussian(sigma: float) -> np.ndarray:
    """Return a kernel of odd length and sum 1; a kernel of width zero changes nothing."""
    radius = ceil(BLUR_REACH * sigma)
    offsets = np.arange(-radius, radius + 1) / (sigma or 1)
    kernel = np.exp(-(offsets**2) / 2)
    return (kernel / kernel.sum()).astype(np.float32)


def convolve_rows(pixels, kernel):
    """Return weighted sums of each row and its neighbours above and below; edges are repeated."""
    radius, height = len(kernel) // 2, len(pixels)
    padded = np.pad(pixels, ((radius, radius), (0, 0), (0, 0)), mode="edge")
    return sum(weight * padded[k : k + height] for k, weight in enumerate(kernel))


def add_noise(lr: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to (H, W, 3) uint8, in colour or the same in all channels."""
    sigma = rng.uniform(*degradation.noise_sigma)
    channels = 1 if rng.random() < degradation.grey_noise_share else 3
    noise = rng.normal(0, sigma, (*lr.shape[:2], channels))
    return np.clip(np.rint(lr + noise), 0, LEVELS).astype(np.uint8)


def compress(lr: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Compress (H, W, 3) uint8 as JPEG and decode it, with a random offset of the block grid.

    A patch is cut from anywhere in a picture, so its corner need not be that of a block.
    """
    dy, dx = rng.integers(JPEG_UNIT, size=2)
    padded = np.pad(lr, ((dy, 0), (dx, 0), (0, 0)), mode="edge")
    return decode_image(encode_jpeg(padded, int(quality))).pixels[dy:, dx:]


def crop_lr(
    pair: Pair, box: Box, degradation: Degradation | None, rng: np.random.Generator
) -> np.ndarray:
    """Return the LR pixels inside `box`, degraded from HR if there is a degradation."""
    if degradation is None:
        return box.crop(pair.lr)
    window = box.grown(degradation.margin, *pair.lr.shape[:2])
    lr = degrade(window.scaled(SCALE).crop(pair.hr), degradation, rng)
    return box.relative_to(window).crop(lr)


def degrade_pairs(pairs: Sequence[Pair], degradation: Degradation | None, seed: int) -> list[Pair]:
    """Return the pairs with degraded LR; the seed and the index in the list determine each."""
    if degradation is None:
        return list(pairs)
    return [
        Pair(pair.hr, degrade(pair.hr, degradation, np.random.default_rng((seed, index))))
        for index, pair in enumerate(pairs)
    ]
