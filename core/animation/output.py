"""Output formats of animations: what each can hold, and which function writes it.

An animation can also become a video, which browsers and messengers play with a tenth of the
bytes. A video is played once: its player, not the file, says how often it repeats.
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
from core.animation.model import LONGEST_IGNORED_DELAY, VIEWER_DELAY, UpscaledAnimation
from core.animation.webp import WEBP, write_webp
from core.errors import ImageTooLarge, InvalidOptions
from core.images.encode import MAX_SIDES
from core.media.medium import Frame
from core.options import OutputOptions, check_supported
from core.video import (
    CONTAINERS,
    DEFAULT_QUALITY,
    MAX_SIDE,
    SRGB,
    EncoderSettings,
    VideoOutput,
    check_encodable,
    choose_codec,
    write_silent_video,
)

GIF_MAX_SIDE = 2**16 - 1

SOURCE_OPTIONS = {GIF: ("zero_delay",)}
"""Names of the options that depend on the format of the source file, by that format."""

MAX_FRAME_RATE, MAX_RATE_DENOMINATOR = Fraction(100), 1_000_000
"""Highest frame rate that a video declares, and its largest denominator, with which it fits into 32
bits. The times of its frames are exact all the same."""

StreamWriter = Callable[[UpscaledAnimation, OutputOptions, IO[bytes]], None]
FileWriter = Callable[[UpscaledAnimation, OutputOptions, Path], None]


class OutputFormat(NamedTuple):
    """An output format and its writer.

    Attributes:
        name: name for people.
        suffix: file name suffix.
        mimetype: media type.
        max_side: largest height and width, px.
        options: options from `core.media.medium.OPTIONS` that the format supports.
        write: writes an animation to a path.
    """

    name: str
    suffix: str
    mimetype: str
    max_side: int
    options: tuple[str, ...]
    write: FileWriter


def find_output(options: OutputOptions, source_format: str) -> OutputFormat:
    """Return the requested output format, or that of the source file.

    Args:
        options: the caller's output options.
        source_format: name of the source file's format, for people.

    Raises:
        InvalidOptions: if there is no such format, or it does not support an option.
    """
    name = source_format.lower() if options.format is None else options.format
    if name not in OUTPUTS:
        raise InvalidOptions(
            f"`format` must be one of {', '.join(OUTPUTS)}, for animations. Received: {name}"
        )
    output = OUTPUTS[name]
    supported = supported_options(name, source_format)
    check_supported(options, supported, f"an animation that becomes {output.name}")
    return output


def supported_options(output_format: str, source_format: str) -> tuple[str, ...]:
    """Return the names of the options that an animation has, beside the universal ones."""
    return (*OUTPUTS[output_format].options, *SOURCE_OPTIONS.get(source_format, ()))


def check_size(output: OutputFormat, options: OutputOptions, height: int, width: int) -> None:
    """Raise an error if SR frames of this size do not fit into the format.

    Raises:
        ImageTooLarge: if they are too large.
        UnsupportedClip: if they are too small for the codec of a video.
        InvalidOptions: if the format cannot hold that codec.
    """
    if max(height, width) > output.max_side:
        raise ImageTooLarge(
            f"Output as {output.name} must be at most {output.max_side} pixels wide and high. "
            f"Received: an animation that would become {width} x {height} pixels."
        )
    if options.format in CONTAINERS:
        check_encodable(height, width, choose_codec(options.format, options.codec))


def write_video(animation: UpscaledAnimation, options: OutputOptions, path: Path) -> None:
    """Write an animation as a video without sound, over a white background.

    Args:
        animation: has at least one frame.
        options: `format` is a video container.
        path: file to write.

    Raises:
        InvalidOptions: if the container cannot hold the codec.
    """
    container = str(options.format)
    codec = choose_codec(container, options.codec)
    durations = visible_durations(animation)
    mean_rate = min(len(durations) / (sum(durations) * animation.time_base), MAX_FRAME_RATE)
    rate = mean_rate.limit_denominator(MAX_RATE_DENOMINATOR)
    write_silent_video(
        with_times(animation, durations),
        path,
        EncoderSettings(codec, options.quality or DEFAULT_QUALITY, rate, Fraction(1), SRGB),
        VideoOutput(container, codec, animation.time_base, options.has_note),
        report=lambda _done: None,
    )


def visible_durations(animation: UpscaledAnimation) -> list[int]:
    """Return the durations as viewers show them: too short ones become `VIEWER_DELAY`."""
    default = round(VIEWER_DELAY / animation.time_base)
    return [
        duration if duration * animation.time_base > LONGEST_IGNORED_DELAY else default
        for duration in animation.durations
    ]


def with_times(animation: UpscaledAnimation, durations: list[int]) -> Iterator[Frame]:
    """Yield the pictures of an animation with their start times and durations."""
    starts = accumulate(durations, initial=0)
    for picture, start, duration in zip(animation.pictures(), starts, durations, strict=False):
        yield Frame(picture, start, duration)


def to_path(write: StreamWriter) -> FileWriter:
    """Turn a function that writes to a file object into one that takes a path."""
    return partial(_open_and_write, write)


def _open_and_write(
    write: StreamWriter, animation: UpscaledAnimation, options: OutputOptions, path: Path
) -> None:
    with path.open("wb") as file:
        write(animation, options, file)


OUTPUTS = {
    "gif": OutputFormat(
        GIF, ".gif", "image/gif", GIF_MAX_SIDE, ("palette", "dither"), to_path(write_gif)
    ),
    "apng": OutputFormat(APNG, ".png", "image/apng", MAX_SIDES["png"], (), to_path(write_apng)),
    "webp": OutputFormat(WEBP, ".webp", "image/webp", MAX_SIDES["webp"], (), to_path(write_webp)),
} | {
    name: OutputFormat(
        container.name, container.suffix, container.mimetype, MAX_SIDE, ("codec",), write_video
    )
    for name, container in CONTAINERS.items()
}
"""Output formats by the value of the `format` option."""
