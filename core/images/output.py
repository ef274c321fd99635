"""What a picture is to be written as."""

from dataclasses import dataclass, field

from core.errors import ImageTooLarge
from core.picture import Extras

QUALITIES = {"png": 100, "jpeg": 90, "webp": 85, "avif": 75}
"""Usual for a photograph that is to be looked at, not edited; of PNG it has no meaning."""

OUTPUT_FORMATS = tuple(QUALITIES)

MAX_SIDES = {"png": 2**31 - 1, "jpeg": 65_535, "webp": 16_383, "avif": 65_536}
"""Pixels. Source: PNG, section 11.2.1; ITU-T T.81, B.2.2; RFC 6386, 9.1; AV1, 5.5.1."""

NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}


@dataclass(frozen=True)
class Output:
    """A format with its settings, and what is written beside the pixels.

    Attributes:
        format: one of `OUTPUT_FORMATS`.
        quality: from 1 to 100; None for what is usual in the format. PNG has none.
        extras: what to write. Of a profile, pixels are converted to it.
    """

    format: str = "png"
    quality: int | None = None
    extras: Extras = field(default_factory=Extras)

    def __post_init__(self) -> None:
        if self.format not in OUTPUT_FORMATS:
            raise ValueError(
                f"`format` must be one of {', '.join(OUTPUT_FORMATS)}. Received: {self.format}"
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"`quality` must be from 1 to 100. Received: {self.quality}")

    @property
    def chosen_quality(self) -> int:
        """The quality, or what is usual."""
        return QUALITIES[self.format] if self.quality is None else self.quality


def check_output_size(output_format: str, height: int, width: int) -> None:
    """Judge, before the work, whether a picture would fit into a format.

    Args:
        output_format: one of `OUTPUT_FORMATS`.
        height: of the SR picture.
        width: likewise.

    Raises:
        ImageTooLarge: with the limit and what would come.
    """
    at_most = MAX_SIDES[output_format]
    if max(height, width) > at_most:
        raise ImageTooLarge(
            f"Output as {NAMES[output_format]} must be at most {at_most} pixels wide and high. "
            f"Received: a picture that would become {width} x {height} pixels."
        )
