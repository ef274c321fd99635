"""What animations are written as.

Animations to videos, which browsers and messengers play with a tenth of the bytes.

They are played once: a video does not say how often, its player does.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

from core.animation.apng import APNG, write_apng
from core.animation.gif_reader import GIF
from core.animation.gif_writer import write_gif
from core.animation.model import AS_VIEWERS_SHOW, UpscaledAnimation
from core.animation.webp import WEBP, write_webp
from core.errors import ImageTooLarge
from core.images.encode import MAX_SIDES
from core.media.medium import Frame
from core.options import OutputOptions, check_format, check_supported
from core.video import (
    CONTAINERS,
    LARGEST_SIDE,
    SRGB,
    USUAL_QUALITY,
    EncoderSettings,
    VideoOutput,
    choose_codec,
    encode_alone,
)

MOST_A_SECOND = Fraction(100)
"""Frames, that the rate tells; their times are exact all the same."""


def write_video(film: UpscaledAnimation, wish: OutputOptions, path: Path) -> None:
    """Write a film without sound; what is transparent is laid over white.

    Args:
        film: with at least one frame.
        wish: whose `format` is a video's.
        path: of the file.

    Raises:
        InvalidWish: if the format cannot have the codec.
    """
    kind = str(wish.format)
    codec = choose_codec(kind, wish.codec)
    durations = shown(film)
    rate = min(len(durations) / (sum(durations) * film.time_base), MOST_A_SECOND)
    encode_alone(
        frames(film, durations),
        path,
        EncoderSettings(codec, wish.quality or USUAL_QUALITY, rate, Fraction(1), SRGB),
        VideoOutput(kind, codec, film.time_base, wish.has_note),
        report=lambda _done: None,
    )


def shown(film: UpscaledAnimation) -> list[int]:
    """Durations as viewers have them: a frame without one is shown for a while."""
    return [duration or round(AS_VIEWERS_SHOW / film.time_base) for duration in film.durations]


def frames(film: UpscaledAnimation, durations: list[int]) -> Iterator[Frame]:
    starts = accumulate(durations, initial=0)
    for picture, start, duration in zip(film.pictures(), starts, durations, strict=False):
        yield Frame(picture, start, duration)


class OutputFormat(NamedTuple):
    """A format, and how it is written.

    Attributes:
        name: as people write it.
        suffix: of a file's name.
        mimetype: of a file.
        max_side: px.
        options: names of the options that it has, beside the universal ones.
        write: a film, as it is wished for, to a file.
    """

    name: str
    suffix: str
    mimetype: str
    max_side: int
    options: tuple[str, ...]
    write: Callable[[UpscaledAnimation, OutputOptions, Path], None]


def into_file(
    write: Callable[[UpscaledAnimation, OutputOptions, IO[bytes]], None],
) -> Callable[..., None]:
    """A writer that opens its file."""
    return partial(_open_and_write, write)


def _open_and_write(
    write: Callable[[UpscaledAnimation, OutputOptions, IO[bytes]], None],
    film: UpscaledAnimation,
    wish: OutputOptions,
    path: Path,
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


def find_output(wish: OutputOptions, source: str) -> OutputFormat:
    """The format wished for, or else that of the file.

    Args:
        wish: how the result is to be.
        source: format of the file, as people write it.

    Raises:
        InvalidWish: if there is no such format, or it has no such option.
    """
    chosen = source.lower() if wish.format is None else wish.format
    check_format(chosen, OUTPUTS, "animations")
    output = OUTPUTS[chosen]
    check_supported(wish, output.options, f"an animation that becomes {output.name}")
    return output


def check_size(output: OutputFormat, height: int, width: int) -> None:
    """Raise ImageTooLarge if SR frames of such a size would not fit into a format."""
    if max(height, width) > output.max_side:
        raise ImageTooLarge(
            f"Output as {output.name} must be at most {output.max_side} pixels wide and high. "
            f"Received: an animation that would become {width} x {height} pixels."
        )
