"""What animations are written as."""

from collections.abc import Callable
from typing import IO, NamedTuple

from core.animation.apng import APNG
from core.animation.apng_writer import write_apng
from core.animation.film import Film
from core.animation.gif import GIF
from core.animation.gif_writer import write_gif
from core.animation.webp import WEBP
from core.animation.webp_writer import write_webp
from core.clips import ClipWish
from core.errors import ImageTooLarge
from core.images.output import MAX_SIDES


class OutputFormat(NamedTuple):
    """A format, and how it is written.

    Attributes:
        name: as people write it.
        suffix: of a file's name.
        mimetype: of a file.
        max_side: px.
        write: a film, as it is wished for, to a file.
    """

    name: str
    suffix: str
    mimetype: str
    max_side: int
    write: Callable[[Film, ClipWish, IO[bytes]], None]


OUTPUTS = {
    "gif": OutputFormat(GIF, ".gif", "image/gif", 2**16 - 1, write_gif),
    "apng": OutputFormat(APNG, ".png", "image/apng", MAX_SIDES["png"], write_apng),
    "webp": OutputFormat(WEBP, ".webp", "image/webp", MAX_SIDES["webp"], write_webp),
}
"""By what is wished for. A video's writer would be one more entry."""


def find_output(wished: str | None, source: str) -> OutputFormat:
    """The format wished for, or else that of the file.

    Args:
        wished: one of `OUTPUTS`; None for that of the file.
        source: of the file, as people write it.
    """
    chosen = source.lower() if wished is None else wished
    if chosen not in OUTPUTS:
        raise ValueError(f"`format` must be one of {', '.join(OUTPUTS)}. Received: {chosen}")
    return OUTPUTS[chosen]


def check_size(output: OutputFormat, height: int, width: int) -> None:
    """Raise ImageTooLarge if SR frames of such a size would not fit into a format."""
    if max(height, width) > output.max_side:
        raise ImageTooLarge(
            f"Output as {output.name} must be at most {output.max_side} pixels wide and high. "
            f"Received: an animation that would become {width} x {height} pixels."
        )
