"""Raw frames in pipes: YUV4MPEG2, which FFmpeg and others write and read.

It is of one frame rate throughout, and says nothing of the matrix: frames go out with the
one that they came in with.

Source: yuv4mpeg(5) of MJPEG Tools.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from core.errors import UnreadableClip
from core.media.medium import ClipLimits, Frame
from core.picture import Picture
from core.video.colour import Colour, FrameToPicture, Orientation, colour_of
from core.video.container import damage_reported, decoded_frames
from core.video.encoder import PictureToFrame
from core.video.probe import check_pixels, rate_of

FORMAT = "yuv4mpegpipe"


@dataclass(frozen=True)
class RawClip:
    """Frames of a pipe, to be taken once.

    Attributes:
        frames: LR, as they come; `start` counts them.
        rate: of them a second.
        aspect: width of a pixel by its height.
        colour: what colours mean.
    """

    frames: Iterator[Frame]
    rate: Fraction
    aspect: Fraction
    colour: Colour


@contextmanager
def read_raw(file: IO[bytes], limits: ClipLimits) -> Iterator[RawClip]:
    """The frames that a program writes to a pipe; it is trusted, and read in this process.

    Raises:
        UnreadableClip: if it is no YUV4MPEG2, or without frames.
        UnsupportedClip: if it is of a kind that is not taken.
        ClipTooLarge: if frames are larger than the limit.
    """
    with damage_reported(), av.open(file, "r", format=FORMAT) as container:
        stream = container.streams.video[0]
        check_pixels(stream.codec_context.height, stream.codec_context.width, limits)
        yield raw_clip(container, stream)


def raw_clip(container: InputContainer, stream: VideoStream) -> RawClip:
    decoded = decoded_frames(container, stream)
    first = next(decoded, None)
    if first is None:
        raise UnreadableClip("Clip must have frames. Received: none.")
    return RawClip(
        frames=as_pictures(first, decoded),
        rate=rate_of(stream),
        aspect=stream.sample_aspect_ratio or Fraction(1),
        colour=colour_of(first),
    )


def as_pictures(first: VideoFrame, others: Iterator[VideoFrame]) -> Iterator[Frame]:
    pictures = FrameToPicture(first.height, first.width, colour_of(first), Orientation())
    yield Frame(pictures.of(first), 0, 1)
    del first
    for number, frame in enumerate(others, start=1):
        yield Frame(pictures.of(frame), number, 1)


def write_raw(
    file: IO[bytes], frames: Iterable[Picture], rate: Fraction, aspect: Fraction, colour: Colour
) -> None:
    """Write SR frames, each as soon as it is there; alpha is laid over white."""
    to_frame = PictureToFrame(colour)
    for number, picture in enumerate(frames):
        if number == 0:
            file.write(raw_header(picture, rate, aspect, colour))
        file.write(b"FRAME\n")
        file.write(to_frame(picture).to_ndarray().tobytes())
        file.flush()


def raw_header(picture: Picture, rate: Fraction, aspect: Fraction, colour: Colour) -> bytes:
    levels = "FULL" if colour.is_full else "LIMITED"
    return (
        f"YUV4MPEG2 W{picture.width} H{picture.height} F{rate.numerator}:{rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C420mpeg2 XCOLORRANGE={levels}\n"
    ).encode()
