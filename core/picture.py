"""A decoded picture, and what its header says before decoding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np

from core.pixels import PixelArray

BLOCK_PIXELS = 250_000
"""Number of pixels that are decoded to their final form at a time."""


class Header(NamedTuple):
    """Size and kind of a picture, read before any pixel is decoded.

    Attributes:
        height: height of the upright picture, LR px.
        width: width of the upright picture, LR px.
        channels: 1 for grey or 3 for colour, plus 1 if there may be alpha.
        bits: bits of a decoded sample, 8 or 16.
        frames: number of frames in the file, of which the first is decoded; 0 if unknown.
        decoder_bytes: memory that its decoder takes at most; 0 if it is decoded already.
    """

    height: int
    width: int
    channels: int
    bits: int = 8
    frames: int = 1
    decoder_bytes: int = 0


@dataclass(frozen=True)
class Extras:
    """Everything in a picture file that the network does not see.

    Attributes:
        icc_profile: colour profile of the file, to which the sRGB pixels can be converted
            back; None if the file was sRGB, or if there is no way back.
        dpi: pixels per inch, horizontal and vertical; None if the file does not say.
        exif: EXIF as a TIFF structure, without orientation and thumbnail; None if absent.
        xmp: XMP packet, without orientation and thumbnail; None if absent.
        jpeg_quality: quality at which a JPEG was saved, in [1, 100] as libjpeg counts;
            None for other formats.
    """

    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    jpeg_quality: float | None = None


class RestorationFacts(NamedTuple):
    """How an SR picture was restored before it was upscaled.

    Attributes:
        strength: share of the restorer's change, in [0, 1].
        consistency_db: PSNR of the restored LR picture and the SR picture, box-downscaled, dB.
    """

    strength: float
    consistency_db: float


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, sRGB.

    Attributes:
        pixels: colour, (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        alpha: opacity, (H, W) of the same type, the highest level opaque; None if all
            pixels are opaque. Pixels with alpha 0 continue the visible colour around them.
        is_grey: whether the picture is grey; the three channels are then equal.
        extras: everything else in the file.
        restoration: facts about an SR picture that was restored; None for all others, and for
            frames of clips, where nobody asks for them.
    """

    pixels: PixelArray
    alpha: PixelArray | None = None
    is_grey: bool = False
    extras: Extras = field(default_factory=Extras)
    restoration: RestorationFacts | None = None

    @property
    def height(self) -> int:
        """Number of rows, px."""
        return len(self.pixels)

    @property
    def width(self) -> int:
        """Number of columns, px."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Number of encoded channels: 1 for grey or 3 for colour, plus 1 with alpha."""
        return (1 if self.is_grey else 3) + (self.alpha is not None)

    @property
    def bits(self) -> int:
        """Bits of a sample, 8 or 16."""
        return 8 * self.pixels.itemsize

    @property
    def highest(self) -> int:
        """Highest level of a sample, 255 or 65535: white, or opaque."""
        return int(2**self.bits - 1)


@dataclass(frozen=True)
class PixelRows:
    """Pixels that are computed in blocks of rows, so that they never need to be in memory at once.

    Attributes:
        shape: (H, W) or (H, W, C).
        dtype: uint8 or uint16.
        read: returns rows [top, bottom), (h, W) or (h, W, C) of this type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int, int], PixelArray]

    @classmethod
    def of(cls, pixels: PixelArray) -> "PixelRows":
        """Return the rows of an array."""
        return cls(pixels.shape, pixels.dtype, lambda top, bottom: pixels[top:bottom])

    @property
    def nbytes(self) -> int:
        """Size of all pixels, in bytes."""
        return prod(self.shape) * self.dtype.itemsize

    def blocks(self) -> Iterator[PixelArray]:
        """Yield contiguous blocks of rows; all but the last have an even height.

        They end at the same rows whatever the type and the channels.
        """
        height, width = self.shape[:2]
        rows = max(2, BLOCK_PIXELS // width // 2 * 2)
        for top in range(0, height, rows):
            yield np.ascontiguousarray(self.read(top, min(top + rows, height)))

    def assemble(self) -> PixelArray:
        """Return all pixels."""
        pixels: PixelArray = np.empty(self.shape, self.dtype)
        top = 0
        for block in self.blocks():
            pixels[top : top + len(block)] = block
            top += len(block)
        return pixels


@dataclass(frozen=True)
class PictureRows:
    """A `Picture` whose pixels are computed in blocks of rows.

    Attributes:
        pixels: colour, (H, W, 3), or (H, W, 1) if the picture is grey.
        alpha: opacity, (H, W); None if all pixels are opaque.
        is_grey: whether the picture is grey.
        extras: everything else in the file.
        restoration: None, as in any decoded picture.
    """

    pixels: PixelRows
    alpha: PixelRows | None
    is_grey: bool
    extras: Extras
    restoration: RestorationFacts | None = None

    def assemble(self) -> Picture:
        """Return the picture with all its pixels."""
        alpha = None if self.alpha is None else self.alpha.assemble()
        return Picture(repeat_grey(self.pixels.assemble()), alpha, self.is_grey, self.extras)


def repeat_grey(pixels: PixelArray) -> PixelArray:
    """Return (H, W, 3) for colour or grey, (H, W, 1); grey is not copied and cannot be changed."""
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels
