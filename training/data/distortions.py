"""The distortions that make LR from HR: blur, resizing, noise, sharpening, compression.

A distortion is one operation with all its strengths, noise and offsets already drawn, so it
does the same to a picture every time. `str` describes it. `training.data.degradation` draws
distortions at random.

Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, sec. 3.1 and 3.2; all but
`Sharpening` and WebP are from there.
"""

from dataclasses import dataclass
from math import ceil, cos, degrees, sin
from typing import Protocol

import numpy as np

from core.images import decode_image, encode_jpeg, encode_webp, resize_with_kernel
from core.pixels import LEVELS

BLUR_REACH = 3  # standard deviations at which the kernel is cut off
JPEG_UNIT = 16  # px after which the grid of blocks repeats: chroma has half the resolution
DARKEST = 4  # level below which noise that grows with brightness stays constant
MIDDLE = 110  # level at which noise that grows with brightness is as strong as plain noise
JPEG, WEBP = "jpeg", "webp"
FILE_SUFFIXES = {JPEG: ".jpg", WEBP: ".webp"}


class Distortion(Protocol):
    """One operation on a picture."""

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the distorted picture: (H, W, 3) uint8 -> (h, w, 3) uint8."""


@dataclass(frozen=True)
class Blur:
    """Convolution with a generalised Gaussian; beyond the edges, edge pixels are repeated.

    Attributes:
        sigma_y: width along the second axis of the ellipse, px.
        sigma_x: width along the first axis of the ellipse, px.
        angle: rotation of the first axis from the horizontal, radians.
        shape: exponent; 1 is a Gaussian, less has a sharper peak, more has a flatter top.

    Source: Wang et al. 2021, arXiv:2107.10833, sec. 3.1 (blur); Liu et al. 2020,
    arXiv:2009.06943 (generalised Gaussian).
    """

    sigma_y: float
    sigma_x: float
    angle: float = 0.0
    shape: float = 1.0

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Blur a picture."""
        if self.shape == 1.0 and (self.sigma_y == self.sigma_x or self.angle == 0.0):
            return blur(pixels, self.sigma_y, self.sigma_x)
        return to_levels(convolve(pixels, self.kernel()))

    def kernel(self) -> np.ndarray:
        """Return the kernel, square with sides of odd length and with sum 1."""
        radius = ceil(BLUR_REACH * max(self.sigma_y, self.sigma_x))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        along = (cos(self.angle) * x + sin(self.angle) * y) / self.sigma_x
        across = (cos(self.angle) * y - sin(self.angle) * x) / self.sigma_y
        kernel = np.exp(-((along**2 + across**2) ** self.shape) / 2)
        return kernel / kernel.sum()

    def __str__(self) -> str:
        """Describe the kernel."""
        if self.shape == 1.0 and self.sigma_y == self.sigma_x:
            return f"blur {self.sigma_y:.2f} px"
        return (
            f"blur {self.sigma_y:.2f} x {self.sigma_x:.2f} px"
            f" at {degrees(self.angle):.0f} degrees, shape {self.shape:g}"
        )


@dataclass(frozen=True)
class Resizing:
    """Resizing to a height and a width, px, with a kernel of `core.images.resize`."""

    height: int
    width: int
    kernel: str

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Resize a picture."""
        return resize_with_kernel(pixels, self.height, self.width, self.kernel)

    def __str__(self) -> str:
        """State width, height and kernel."""
        return f"resize {self.width} x {self.height} px {self.kernel}"


@dataclass(frozen=True)
class Noise:
    """Gaussian noise.

    Attributes:
        sigma: standard deviation, 8-bit levels.
        is_grey: whether the noise is the same in all channels.
        grows_with_brightness: whether the variance is proportional to the level, as that of
            photons is (Poisson-like); `sigma` is then the deviation at level `MIDDLE`.
        seed: determines the noise, for a given size of picture.
    """

    sigma: float
    is_grey: bool
    grows_with_brightness: bool
    seed: int

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Add the noise to a picture."""
        channels = 1 if self.is_grey else 3
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal((*pixels.shape[:2], channels), np.float32) * self.sigma
        if self.grows_with_brightness:
            noise = noise * np.sqrt(np.maximum(pixels, DARKEST, dtype=np.float32) / MIDDLE)
        return to_levels(pixels + noise)

    def __str__(self) -> str:
        """State the deviation and the kind of noise."""
        kind = "grey" if self.is_grey else "colour"
        return f"noise {self.sigma:.1f} {kind}" + " poisson" * self.grows_with_brightness


@dataclass(frozen=True)
class Sharpening:
    """Unsharp mask, which leaves halos along edges.

    Attributes:
        sigma: width of the Gaussian whose result is subtracted, px.
        amount: share of the difference that is added.
    """

    sigma: float
    amount: float

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Sharpen a picture."""
        soft = blur(pixels, self.sigma, self.sigma).astype(np.float32)
        return to_levels(pixels + self.amount * (pixels - soft))

    def __str__(self) -> str:
        """State amount and width."""
        return f"sharpen {self.amount:.2f} at {self.sigma:.2f} px"


@dataclass(frozen=True)
class Compression:
    """Lossy compression to JPEG or WebP.

    Attributes:
        file_format: `JPEG` or `WEBP`.
        quality: quality of the encoder, from 1 to 100.
        subsampling: resolution of colour in JPEG, "4:4:4" or "4:2:0".
        offset: rows and columns of the first block that lie above and left of the picture,
            px below `JPEG_UNIT`. A patch is cut from anywhere in a picture, so its corner
            need not be that of a block.
    """

    file_format: str
    quality: int
    subsampling: str = "4:2:0"
    offset: tuple[int, int] = (0, 0)

    @property
    def suffix(self) -> str:
        """Suffix of files of this format."""
        return FILE_SUFFIXES[self.file_format]

    def encode(self, pixels: np.ndarray) -> bytes:
        """Encode a picture as a file, whose blocks begin at the picture's corner."""
        if self.file_format == WEBP:
            return encode_webp(pixels, self.quality)
        return encode_jpeg(pixels, self.quality, self.subsampling)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Compress a picture and decode it."""
        dy, dx = self.offset
        padded = np.pad(pixels, ((dy, 0), (dx, 0), (0, 0)), mode="edge")
        return decode_image(self.encode(padded)).pixels[dy:, dx:]

    def __str__(self) -> str:
        """State format and quality."""
        colour = f" {self.subsampling}" if self.file_format == JPEG else ""
        return f"{self.file_format} {self.quality}{colour}"


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


def convolve(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve (H, W, 3) with a square kernel of odd sides, by Fourier transforms.

    Beyond the edges, edge pixels are repeated. The result is float64.
    """
    side, (height, width) = len(kernel), pixels.shape[:2]
    radius = side // 2
    padded = np.pad(pixels, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, shape)[..., None]
    whole = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    return whole[side - 1 : side - 1 + height, side - 1 : side - 1 + width]


def to_levels(pixels: np.ndarray) -> np.ndarray:
    """Round floats to the nearest 8-bit levels, and clip them."""
    return np.clip(np.rint(pixels), 0, LEVELS).astype(np.uint8)
