"""A picture as the program sees it: pixels, and what goes with them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from core.pixels import PixelArray


class Header(NamedTuple):
    """What is known of a picture before a pixel of it is decoded.

    Attributes:
        height: of the upright picture, LR px.
        width: likewise.
        channels: of colour, 1 for grey or 3, and one more with alpha.
        bits: of a sample, as it will be decoded: 8 or 16.
        frames: in the file, of which the first is decoded; 0 if that is not known.
    """

    height: int
    width: int
    channels: int
    bits: int = 8
    frames: int = 1


@dataclass(frozen=True)
class Extras:
    """What goes with a picture and is not seen by the network.

    Attributes:
        icc_profile: the colour space that the picture came in, and to which its sRGB
            pixels can be converted back; None if that was sRGB, or cannot be.
        dpi: pixels per inch, across and down; None if the file did not say.
        exif: without orientation and thumbnail, as a TIFF structure; None without.
        xmp: an XMP packet without them; None without.
    """

    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, sRGB.

    Attributes:
        pixels: colour, (H, W, 3) uint8 in [0, 255] or uint16 in [0, 65535].
        alpha: opacity, (H, W) of the same type, the highest level opaque; None if all is
            opaque. Under alpha 0 the pixels continue the colour beside them.
        is_grey: whether the picture has one channel of colour: the three are equal then.
        extras: what else the file held.
    """

    pixels: PixelArray
    alpha: PixelArray | None = None
    is_grey: bool = False
    extras: Extras = field(default_factory=Extras)

    @property
    def height(self) -> int:
        return len(self.pixels)

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """As they are encoded: 1 for grey or 3, and one more with alpha."""
        return (1 if self.is_grey else 3) + (self.alpha is not None)

    @property
    def bits(self) -> int:
        """Of a sample, 8 or 16."""
        return 8 * self.pixels.itemsize

    @property
    def highest(self) -> int:
        """The highest level: white, opaque."""
        return int(2**self.bits - 1)
