"""Degrade HR to LR as cameras and web sites do: blur, downscale, add noise, compress.

There are two models of what happened to a picture:

- `Degradation`, table `[degradation]` of a recipe, is of first order: LR = JPEG((HR * blur)
  downscaled + noise).
- `DegradationMix`, tables `[[processes]]` of a recipe, is of higher order: a picture goes
  through several rounds of blur, resizing, noise, sharpening and compression, as one that was
  saved, shared and saved again. A share of the pictures can stay clean.

Every strength is drawn again for every patch from the ranges in a recipe.

Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, sec. 3.1, eq. 1 (first order) and
sec. 3.2, eq. 3 (higher order).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, pi

import numpy as np

from core.images import RESIZE_KERNELS, resize_bicubic
from core.model.tiles import Box
from core.pixels import LEVELS
from training import CommandFailed
from training.data.distortions import (
    BLUR_REACH,
    JPEG,
    JPEG_UNIT,
    WEBP,
    Blur,
    Compression,
    Distortion,
    Noise,
    Resizing,
    Sharpening,
    blur,
    to_levels,
)
from training.data.photos import Pair
from training.models.networks import SCALE

BICUBIC_REACH = 2 * SCALE  # HR px on each side that one LR pixel depends on when downscaled
JPEG_BLOCK = 8  # px a side of a block that is compressed as a whole
MIX_MARGIN = 8  # LR px around a patch on which it depends; the rest of longer blurs is faint
LEAST_SIDE = 8  # px to which a side is resized at least between two rounds
WEAK_NOISE = 1.5  # exponent of the uniform number that is drawn for noise: weak noise is frequent


@dataclass(frozen=True)
class Degradation:
    """Table `[degradation]`: ranges [lowest, highest] from which strengths are drawn uniformly."""

    blur_sigma: list[float]  # width of a Gaussian, HR px, drawn separately for each axis
    noise_sigma: list[float]  # deviation of Gaussian noise on LR, 8-bit levels
    jpeg_quality: list[int]  # quality of LR, 1 to 100
    grey_noise_share: float  # share of degraded patches with the same noise in all channels
    clean_share: float  # share of all patches that are only downscaled

    def __post_init__(self) -> None:
        check_range("blur_sigma", self.blur_sigma, float, 0, 100)
        check_range("noise_sigma", self.noise_sigma, float, 0, LEVELS)
        check_range("jpeg_quality", self.jpeg_quality, int, 1, 100)
        check_shares(self, ("grey_noise_share", "clean_share"))

    @property
    def margin(self) -> int:
        """LR pixels around a patch on which it depends, through blur and downscaling, or JPEG."""
        reach = ceil(BLUR_REACH * self.blur_sigma[1]) + BICUBIC_REACH
        return max(ceil(reach / SCALE), JPEG_BLOCK)

    def apply(self, hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade a picture; see `degrade`."""
        height, width = (side // SCALE for side in hr.shape[:2])
        if rng.random() < self.clean_share:
            return resize_bicubic(hr, height, width)
        blurred = blur(hr, *rng.uniform(*self.blur_sigma, size=2))
        noisy = add_noise(resize_bicubic(blurred, height, width), self, rng)
        return compress(noisy, rng.integers(*self.jpeg_quality, endpoint=True), rng)


@dataclass(frozen=True)
class DegradationRound:
    """One round of a process: blur, resizing, noise, sharpening, compression, in this order.

    Strengths are drawn from ranges [lowest, highest], uniformly except those of noise. A share
    is the probability of an operation.
    """

    share: float = 1.0  # of the whole round
    blur_share: float = 0.0
    blur_sigma: tuple[float, float] = (0.2, 3.0)  # width of the kernel, px
    anisotropic_share: float = 0.0  # of blurs whose kernel is an ellipse of any angle
    blur_shapes: tuple[float, ...] = (1.0,)  # exponents of elliptic kernels; see `Blur`
    resize: tuple[float, float] | None = None  # factor; the last round resizes to LR instead
    kernels: tuple[str, ...] = tuple(RESIZE_KERNELS)  # of resizing; all are equally likely
    noise_share: float = 0.0
    noise_sigma: tuple[float, float] = (0.0, 12.0)  # deviation, 8-bit levels
    grey_noise_share: float = 0.5  # of noise that is the same in all channels
    poisson_share: float = 0.5  # of noise that grows with brightness
    sharpen_share: float = 0.0
    sharpen_sigma: tuple[float, float] = (0.5, 1.5)  # width of the unsharp mask, px
    sharpen_amount: tuple[float, float] = (0.3, 1.5)
    jpeg_share: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)
    full_colour_share: float = 0.5  # of JPEG with 4:4:4; the rest has 4:2:0
    webp_share: float = 0.0  # at most 1 - jpeg_share
    webp_quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        for name in ("blur_sigma", "sharpen_sigma"):
            check_range(name, getattr(self, name), float, 0.1, 100)
        for name in ("noise_sigma", "sharpen_amount"):
            check_range(name, getattr(self, name), float, 0, LEVELS)
        for name in ("jpeg_quality", "webp_quality"):
            check_range(name, getattr(self, name), int, 1, 100)
        if self.resize is not None:
            check_range("resize", self.resize, float, 0.01, 100)
        check_shares(self, [name for name in vars(self) if name.endswith("share")])
        self._check_choices()

    def _check_choices(self):
        if not self.kernels or not set(self.kernels) <= RESIZE_KERNELS.keys():
            raise CommandFailed(
                f"`kernels` must be some of {', '.join(RESIZE_KERNELS)}. "
                f"Received: {list(self.kernels)}"
            )
        if not self.blur_shapes or min(self.blur_shapes) <= 0:
            raise CommandFailed(
                f"`blur_shapes` must be numbers above 0. Received: {list(self.blur_shapes)}"
            )
        if self.jpeg_share + self.webp_share > 1:
            raise CommandFailed(
                "`jpeg_share` and `webp_share` must sum to at most 1. "
                f"Received: {self.jpeg_share} and {self.webp_share}"
            )

    def draw(
        self, size: tuple[int, int], target: tuple[int, int] | None, rng: np.random.Generator
    ) -> list[Distortion]:
        """Draw the distortions of a round.

        Args:
            size: height and width of the picture, px.
            target: height and width to resize to; None to draw a factor from `resize`.
            rng: source of random numbers.
        """
        if rng.random() >= self.share:
            return []
        drawn = [
            self._draw_blur(rng),
            self._draw_resizing(size, target, rng),
            self._draw_noise(rng),
            self._draw_sharpening(rng),
            self._draw_compression(rng),
        ]
        return [distortion for distortion in drawn if distortion is not None]

    def _draw_blur(self, rng):
        if rng.random() >= self.blur_share:
            return None
        sigma_y, sigma_x = (float(sigma) for sigma in rng.uniform(*self.blur_sigma, size=2))
        if rng.random() >= self.anisotropic_share:
            return Blur(sigma_y, sigma_y)
        return Blur(
            sigma_y, sigma_x, float(rng.uniform(0, pi)), float(rng.choice(self.blur_shapes))
        )

    def _draw_resizing(self, size, target, rng):
        kernel = str(rng.choice(self.kernels))
        if target is not None:
            return Resizing(*target, kernel)
        if self.resize is None:
            return None
        factor = rng.uniform(*self.resize)
        height, width = (max(LEAST_SIDE, round(factor * side)) for side in size)
        return Resizing(height, width, kernel)

    def _draw_noise(self, rng):
        if rng.random() >= self.noise_share:
            return None
        low, high = self.noise_sigma
        return Noise(
            sigma=low + (high - low) * rng.random() ** WEAK_NOISE,
            is_grey=bool(rng.random() < self.grey_noise_share),
            grows_with_brightness=bool(rng.random() < self.poisson_share),
            seed=int(rng.integers(2**32)),
        )

    def _draw_sharpening(self, rng):
        if rng.random() >= self.sharpen_share:
            return None
        return Sharpening(
            float(rng.uniform(*self.sharpen_sigma)), float(rng.uniform(*self.sharpen_amount))
        )

    def _draw_compression(self, rng):
        chosen, offset = (
            rng.random(),
            tuple(int(start) for start in rng.integers(JPEG_UNIT, size=2)),
        )
        if chosen < self.jpeg_share:
            quality = int(rng.integers(*self.jpeg_quality, endpoint=True))
            subsampling = "4:4:4" if rng.random() < self.full_colour_share else "4:2:0"
            return Compression(JPEG, quality, subsampling, offset)
        if chosen < self.jpeg_share + self.webp_share:
            quality = int(rng.integers(*self.webp_quality, endpoint=True))
            return Compression(WEBP, quality, offset=offset)
        return None


@dataclass(frozen=True)
class DegradationProcess:
    """One of the tables `[[processes]]`: a sequence of rounds.

    Attributes:
        name: short name, used in logs and tables.
        share: relative frequency among the processes of a recipe.
        rounds: rounds in their order, at least one; the last one resizes to LR.
        clean_share: share of pictures that are only downscaled, by bicubic interpolation.
    """

    name: str
    share: float
    rounds: tuple[DegradationRound, ...]
    clean_share: float = 0.0

    def __post_init__(self) -> None:
        check_shares(self, ("share", "clean_share"))
        if not self.rounds or self.rounds[-1].share != 1:
            raise CommandFailed(
                "`rounds` must end with a round of share 1, which resizes to LR. "
                f"Received: {len(self.rounds)} rounds in process `{self.name}`"
            )

    def draw(self, height: int, width: int, rng: np.random.Generator) -> list[Distortion]:
        """Draw the distortions that make LR from HR of this height and width, px."""
        size, target = (height, width), (height // SCALE, width // SCALE)
        if rng.random() < self.clean_share:
            return [Resizing(*target, "bicubic")]
        drawn: list[Distortion] = []
        for number, one in enumerate(self.rounds, start=1):
            drawn += one.draw(size, target if number == len(self.rounds) else None, rng)
            sizes = [(d.height, d.width) for d in drawn if isinstance(d, Resizing)]
            size = sizes[-1] if sizes else size
        return drawn


@dataclass(frozen=True)
class DegradationMix:
    """All tables `[[processes]]` of a recipe; one is drawn for each picture by its share."""

    processes: tuple[DegradationProcess, ...]

    def __post_init__(self) -> None:
        if not sum(process.share for process in self.processes):
            raise CommandFailed(
                "`processes` must hold a process with a share above 0. "
                f"Received: {[process.name for process in self.processes]}"
            )

    @property
    def margin(self) -> int:
        """LR pixels around a patch that are degraded with it."""
        return MIX_MARGIN

    def choose(self, rng: np.random.Generator) -> DegradationProcess:
        """Draw one of the processes."""
        shares = np.array([process.share for process in self.processes])
        return self.processes[rng.choice(len(shares), p=shares / shares.sum())]

    def apply(self, hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Degrade a picture; see `degrade`."""
        return apply_all(hr, self.choose(rng).draw(*hr.shape[:2], rng))


AnyDegradation = Degradation | DegradationMix


def check_range(name: str, value: object, kind: type, least: float, most: float) -> None:
    """Raise CommandFailed unless a value is [lowest, highest] with both in [least, most]."""
    match value:
        case [int() | kind() as low, int() | kind() as high] if least <= low <= high <= most:
            return
    raise CommandFailed(
        f"`{name}` must be [lowest, highest], two numbers of type {kind.__name__} "
        f"from {least} to {most}. Received: {name}={value!r}"
    )


def check_shares(settings: object, names: Sequence[str]) -> None:
    """Raise CommandFailed unless the named settings are between 0 and 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise CommandFailed(f"`{name}` must be between 0 and 1. Received: {name}={value!r}")


def degrade(hr: np.ndarray, degradation: AnyDegradation, rng: np.random.Generator) -> np.ndarray:
    """Degrade HR (4H, 4W, 3) uint8 to LR (H, W, 3) uint8.

    LR and HR stay aligned: LR pixel (y, x) shows the 4 x 4 HR pixels from (4y, 4x) on. Beyond
    the edges, the pixels of the edge are repeated.

    Args:
        hr: picture to degrade.
        degradation: ranges of the strengths.
        rng: source of random numbers; its state determines the result.
    """
    return degradation.apply(hr, rng)


def apply_all(pixels: np.ndarray, distortions: Sequence[Distortion]) -> np.ndarray:
    """Apply distortions to a picture, (H, W, 3) uint8, one after the other."""
    for distortion in distortions:
        pixels = distortion.apply(pixels)
    return pixels


def add_noise(lr: np.ndarray, degradation: Degradation, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to (H, W, 3) uint8, in colour or the same in all channels."""
    sigma = rng.uniform(*degradation.noise_sigma)
    channels = 1 if rng.random() < degradation.grey_noise_share else 3
    noise = rng.normal(0, sigma, (*lr.shape[:2], channels))
    return to_levels(lr + noise)


def compress(lr: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Compress (H, W, 3) uint8 as JPEG and decode it, with a random offset of the block grid."""
    dy, dx = rng.integers(JPEG_UNIT, size=2)
    return Compression(JPEG, int(quality), offset=(dy, dx)).apply(lr)


def crop_lr(
    pair: Pair, box: Box, degradation: AnyDegradation | None, rng: np.random.Generator
) -> np.ndarray:
    """Return the LR pixels inside `box`, degraded from HR if there is a degradation."""
    if degradation is None:
        return box.crop(pair.lr)
    window = box.grown(degradation.margin, *pair.lr.shape[:2])
    lr = degrade(window.scaled(SCALE).crop(pair.hr), degradation, rng)
    return box.relative_to(window).crop(lr)


def degrade_pairs(
    pairs: Sequence[Pair], degradation: AnyDegradation | None, seed: int
) -> list[Pair]:
    """Return the pairs with degraded LR; the seed and the index in the list determine each."""
    if degradation is None:
        return list(pairs)
    return [
        Pair(pair.hr, degrade(pair.hr, degradation, np.random.default_rng((seed, index))))
        for index, pair in enumerate(pairs)
    ]
