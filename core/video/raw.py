"""Raw frames in pipes: YUV4MPEG2 (Y4M), which FFmpeg and other programs read and write.

PyAV reads the format. It has one frame rate and does not declare the matrix, so the output
uses the matrix of the input.

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

DEMUXER = "yuv4mpegpipe"


@dataclass(frozen=True)
class RawClip:
    """Frames read from a pipe; you can iterate over them once.

    Attributes:
        frames: LR frames as they arrive; `start` is the frame number.
        rate: frames per second.
        aspect: width of a pixel divided by its height.
        colour: meaning of the colours.
    """

    frames: Iterator[Frame]
    rate: Fraction
    aspect: Fraction
    colour: Colour


@contextmanager
def read_raw(file: IO[bytes], limits: ClipLimits) -> Iterator[RawClip]:
    """Read frames from a pipe, in this process: the writing program is trusted.

    Raises:
        UnreadableClip: if the data is not YUV4MPEG2, or has no frames.
        UnsupportedClip: if its colours are not supported.
        ClipTooLarge: if frames exceed the limit.
    """
    with damage_reported(), av.open(file, "r", format=DEMUXER) as container:
        stream = container.streams.video[0]
        check_pixels(stream.codec_context.height, stream.codec_context.width, limits)
        yield _open_stream(container, stream)


def _open_stream(container: InputContainer, stream: VideoStream) -> RawClip:
    decoded = decoded_frames(container, stream)
    first = next(decoded, None)
    if first is None:
        raise UnreadableClip("Clip must have frames. Received: none.")
    return RawClip(
        frames=_to_frames(first, decoded),
        rate=rate_of(stream),
        aspect=stream.sample_aspect_ratio or Fraction(1),
        colour=colour_of(first),
    )


def _to_frames(first: VideoFrame, others: Iterator[VideoFrame]) -> Iterator[Frame]:
    to_picture = FrameToPicture(first.height, first.width, colour_of(first), Orientation())
    yield Frame(to_picture.convert(first), 0, 1)
    del first  # frees its memory while the others are read
    for number, frame in enumerate(others, start=1):
        yield Frame(to_picture.convert(frame), number, 1)


def write_raw(
    file: IO[bytes], frames: Iterable[Picture], rate: Fraction, aspect: Fraction, colour: Colour
) -> None:
    """Write SR frames to a pipe, each as soon as it is ready; alpha is blended over white."""
    to_frame = PictureToFrame(colour)
    for number, picture in enumerate(frames):
        if number == 0:
            file.write(_encode_header(picture, rate, aspect, colour))
        file.write(b"FRAME\n")
        file.write(to_frame.convert(picture).to_ndarray().tobytes())
        file.flush()


def _encode_header(picture: Picture, rate: Fraction, aspect: Fraction, colour: Colour) -> bytes:
    color_range = "FULL" if colour.is_full else "LIMITED"
    return (
        f"YUV4MPEG2 W{picture.width} H{picture.height} F{rate.numerator}:{rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C420mpeg2 XCOLORRANGE={color_range}\n"
    ).encode()
