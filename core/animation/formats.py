"""What animations are written as."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from core.animation.apng import APNG
from core.animation.apng_writer import write_apng
from core.animation.film import Film
from core.animation.gif import GIF
from core.animation.gif_writer import write_gif
from core.animation.video_writer import write_video
from core.animation.webp import WEBP
from core.animation.webp_writer import write_webp
from core.clips import ClipWish, check_unwished
from core.errors import ImageTooLarge, InvalidWish
from core.images.output import MAX_SIDES
from core.video import CONTAINERS, LARGEST_SIDE


class OutputFormat(NamedTuple):
    """A format, and how it is written.

    Attributes:
        name: as people write it.
        suffix: of a file's name.
        mimetype: of a file.
        max_side: px.
        options: of `core.clips.OPTIONS`, those that it has.
        write: a film, as it is wished for, to a file.
    """

    name: str
    suffix: str
    mimetype: str
    max_side: int
    options: tuple[str, ...]
    write: Callable[[Film, ClipWish, Path], None]


def into_file(write: Callable[[Film, ClipWish, IO[bytes]], None]) -> Callable[..., None]:
    """A writer that opens its file."""
    return partial(_open_and_write, write)


def _open_and_write(
    write: Callable[[Film, ClipWish, IO[bytes]], None], film: Film, wish: ClipWish, path: Path
) -> None:
    with path.open("wb") as file:
        write(film, wish, file)


OUTPUTS = {
    "gif": OutputFormat(
        GIF, ".gif", "image/gif", 2**16 - 1, ("palette", "dither"), into_file(write_gif)
    ),
    "apng": OutputFormat(APNG, ".png", "image/apng", MAX_SIDES["png"], (), into_file(write_apng)),
    "webp": OutputFormat(WEBP, ".webp", "image/webp", MAX_SIDES["webp"], (), into_file(write_webp)),
} | {
    name: OutputFormat(
        container.name, container.suffix, container.mimetype, LARGEST_SIDE, ("codec",), write_video
    )
    for name, container in CONTAINERS.items()
}
"""By what is wished for."""


def find_output(wish: ClipWish, source: str) -> OutputFormat:
    """The format wished for, or else that of the file.

    Args:
        wish: how the result is to be.
        source: format of the file, as people write it.

    Raises:
        InvalidWish: if there is no such format, or it has no such option.
    """
    chosen = source.lower() if wish.format is None else wish.format
    if chosen not in OUTPUTS:
        raise InvalidWish(
            f"`format` must be one of {', '.join(OUTPUTS)}, for animations. Received: {chosen}"
        )
    output = OUTPUTS[chosen]
    check_unwished(wish, output.options, f"an animation that becomes {output.name}")
    return output


def check_size(output: OutputFormat, height: int, width: int) -> None:
    """Raise ImageTooLarge if SR frames of such a size would not fit into a format."""
    if max(height, width) > output.max_side:
        raise ImageTooLarge(
            f"Output as {output.name} must be at most {output.max_side} pixels wide and high. "
            f"Received: an animation that would become {width} x {height} pixels."
        )
