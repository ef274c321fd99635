"""How a picture from the wild becomes small: blurred, downscaled, noisy, compressed.

The classical model in its first order, LR = JPEG((HR * blur) downscaled + noise), every
strength drawn anew for every patch from the ranges of a recipe.

Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, sec. 3.1, eq. 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from core.images import decode_image, encode_jpeg, resize_bicubic
from core.model.tiles import Box
from core.pixels import LEVELS
from training.data.photos import Pair
from training.errors import CommandFailed
from training.models.networks import SCALE

BLUR_REACH = 3  # standard deviations, where the kernel is cut off
BICUBIC_REACH = 2 * SCALE  # HR px a side that one LR pixel sees when downscaled
JPEG_BLOCK = 8  # px a side that are compressed together
JPEG_UNIT = 16  # px until the grid of blocks repeats: chroma has half the resolution


@dataclass(frozen=True)
class Degradation:
    """Ranges [lowest, highest] that strengths are drawn from, all values equally likely."""

    blur_sigma: list[float]  # of a Gaussian, HR px, drawn for each axis by itself
    noise_sigma: list[float]  # of a Gaussian on the LR grid, 8-bit levels
    jpeg_quality: list[int]  # of the LR, 1 to 100
    grey_noise_share: float  # of the degraded patches: the same noise in all channels
    clean_share: float  # of all patches: downscaled and nothing else

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
        """LR pixels around a patch that it depends on: by blur and downscaling, or by JPEG."""
        reach = ceil(BLUR_REACH * self.blur_sigma[1]) + BICUBIC_REACH
        return max(ceil(reach / SCALE), JPEG_BLOCK)


def degrade(hr: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """HR (4H, 4W, 3) uint8 -> LR (H, W, 3) uint8, a function of the generator's state.

    Nothing moves: LR pixel (y, x) shows the 4 x 4 HR pixels from (4y, 4x) on. Beyond the
    edges the picture goes on with the pixels of the edge.
    """
    height, width = (side // SCALE for side in hr.shape[:2])
    if rng.random() < degradation.clean_share:
        return resize_bicubic(hr, height, width)
    blurred = blur(hr, *rng.uniform(*degradation.blur_sigma, size=2))
    noisy = add_noise(resize_bicubic(blurred, height, width), degradation, rng)
    return compress(noisy, rng.integers(*degradation.jpeg_quality, endpoint=True), rng)


def blur(pixels: np.ndarray, sigma_y: float, sigma_x: float) -> np.ndarray:
    """(H, W, 3) uint8, convolved with a Gaussian of its own width along each axis, px."""
    blurred = convolve_rows(pixels.astype(np.float32), gaussian(sigma_y))
    blurred = convolve_rows(blurred.swapaxes(0, 1), gaussian(sigma_x)).swapaxes(0, 1)
    return np.rint(blurred).astype(np.uint8)


def gaussian(sigma: float) -> np.ndarray:
    """Kernel of odd length and sum 1; that of width zero changes nothing."""
    radius = ceil(BLUR_REACH * sigma)
    offsets = np.arange(-radius, radius + 1) / (sigma or 1)
    kernel = np.exp(-(offsets**2) / 2)
    return (kernel / kernel.sum()).astype(np.float32)


def convolve_rows(pixels, kernel):
    """Weighted sums of each row and its neighbours above and below; edges repeated."""
    radius, height = len(kernel) // 2, len(pixels)
    padded = np.pad(pixels, ((radius, radius), (0, 0), (0, 0)), mode="edge")
    return sum(weight * padded[k : k + height] for k, weight in enumerate(kernel))


def add_noise(lr: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise on (H, W, 3) uint8, in colour or the same in all channels."""
    sigma = rng.uniform(*degradation.noise_sigma)
    channels = 1 if rng.random() < degradation.grey_noise_share else 3
    noise = rng.normal(0, sigma, (*lr.shape[:2], channels))
    return np.clip(np.rint(lr + noise), 0, LEVELS).astype(np.uint8)


def compress(lr: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 through JPEG, with the grid of blocks beginning anywhere.

    A patch is cut from anywhere in a picture, so its corner is no corner of a block.
    """
    dy, dx = rng.integers(JPEG_UNIT, size=2)
    padded = np.pad(lr, ((dy, 0), (dx, 0), (0, 0)), mode="edge")
    return decode_image(encode_jpeg(padded, int(quality))).pixels[dy:, dx:]


def crop_lr(
    pair: Pair, box: Box, degradation: Degradation | None, rng: np.random.Generator
) -> np.ndarray:
    """LR pixels inside `box`, made from the HR pixels around it if there is a degradation."""
    if degradation is None:
        return box.crop(pair.lr)
    window = box.grown(degradation.margin, *pair.lr.shape[:2])
    lr = degrade(window.scaled(SCALE).crop(pair.hr), degradation, rng)
    return box.relative_to(window).crop(lr)


def degrade_pairs(pairs: Sequence[Pair], degradation: Degradation | None, seed: int) -> list[Pair]:
    """The pairs with degraded LR, each a function of the seed and its place in the list."""
    if degradation is None:
        return list(pairs)
    return [
        Pair(pair.hr, degrade(pair.hr, degradation, np.random.default_rng((seed, place))))
        for place, pair in enumerate(pairs)
    ]
