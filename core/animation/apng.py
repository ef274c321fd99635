"""Read and write animated PNG files.

Each frame of an APNG is the compressed data of a PNG. The reader adds the missing chunks and
decodes each frame as a PNG of its own. The writer stores the changed area of each frame,
which replaces what is there.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/, sections 4.9
and 11.3.6.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import accumulate, count, pairwise
from math import lcm
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from core.animation.model import (
    CLEAR,
    KEEP,
    RESTORE,
    Canvas,
    DecodedAnimation,
    DrawnFrame,
    Patch,
    UpscaledAnimation,
    changed_area,
    check_image,
    rgba,
)
from core.errors import UnreadableImage
from core.images.colours import PNG_CHUNKS, read_declarations
from core.images.decode import Limits, open_image
from core.images.header import UPRIGHT
from core.images.png import (
    COLOUR_TYPES,
    RELATIVE_COLORIMETRIC,
    SIGNATURE,
    PngChunk,
    colour_chunk,
    xmp_chunk,
)
from core.images.profiles import to_srgb
from core.images.samples import read_samples
from core.options import OutputOptions
from core.pixels import LEVELS, PixelArray, Uint8Array, to_uint8

APNG = "APNG"

DISPOSALS = (KEEP, CLEAR, RESTORE)
"""Disposals by their APNG number."""

BLEND_SOURCE, BLEND_OVER = 0, 1
"""Ways to draw a frame: replace the canvas, or blend over it."""

DEFAULT_DENOMINATOR = 100
"""Denominator of a delay whose denominator is given as 0."""

COLOUR_KINDS = (b"PLTE", b"tRNS", b"sBIT", b"iCCP", *PNG_CHUNKS)
"""Chunks that define the colours of all frames."""

MAX_UINT16 = 2**16 - 1
"""Largest numerator and denominator of a delay."""

UNITS_PER_SECOND = 1_000_000
"""Most time units in a second. Delays of different denominators may need more than a video, or a
64-bit integer, can hold."""


class FrameControl(NamedTuple):
    """The chunk fcTL: position, duration and drawing mode of a frame."""

    sequence: int
    width: int
    height: int
    left: int
    top: int
    numerator: int
    denominator: int
    disposal: int
    blend: int

    @property
    def seconds(self) -> Fraction:
        """Duration of the frame in seconds."""
        return Fraction(self.numerator, self.denominator or DEFAULT_DENOMINATOR)


class CompressedFrame(NamedTuple):
    """A frame as a complete PNG, and how it is drawn."""

    control: FrameControl
    png: bytes


class _Damaged(Exception):
    """No more chunks can be read."""


def is_apng(data: bytes) -> bool:
    """Return whether a PNG is animated; a damaged file yields False if the damage is first."""
    if not data.startswith(SIGNATURE):
        return False
    try:
        for chunk in split_chunks(data):
            if chunk.kind in (b"acTL", b"IDAT"):
                return chunk.kind == b"acTL"
    except _Damaged:
        pass
    return False


def read_apng(data: bytes, limits: Limits | None) -> DecodedAnimation:
    """Read an animated PNG.

    Raises:
        ImageTooLarge: if the picture or the frame count exceeds `limits`.
        UnreadableImage: if there is no whole frame.
    """
    parser = _Parser(limits)
    try:
        for chunk in split_chunks(data):
            parser.add(chunk)
        damage = parser.missing_frames()
    except _Damaged as error:
        damage = str(error)
        parser.add_partial_frame()
    if not parser.frames:
        raise UnreadableImage(
            "Animation must have a whole frame. Received: an APNG without one, or damaged before."
        )
    time_base, durations = to_units([frame.control.seconds for frame in parser.frames])
    return DecodedAnimation(
        APNG,
        parser.height,
        parser.width,
        time_base,
        durations,
        parser.plays,
        partial(_draw, parser.height, parser.width, parser.frames, limits),
        damage=damage,
    )


def to_units(seconds: Sequence[Fraction]) -> tuple[Fraction, tuple[int, ...]]:
    """Return a time base, and durations in its units.

    They are exact, unless a second would have more than `UNITS_PER_SECOND` units. Then the ends of
    frames are rounded to that many, so rounding errors do not add up.

    >>> to_units([Fraction(1, 3), Fraction(2, 7)])
    (Fraction(1, 21), (7, 6))
    """
    units = lcm(*(each.denominator for each in seconds))
    if units <= UNITS_PER_SECOND:
        return Fraction(1, units), tuple(int(each * units) for each in seconds)
    ends = accumulate(map(float, seconds), initial=0.0)  # exact sums of fractions take minutes
    rounded = [round(end * UNITS_PER_SECOND) for end in ends]
    durations = tuple(after - before for before, after in pairwise(rounded))
    return Fraction(1, UNITS_PER_SECOND), durations


def split_chunks(data: bytes) -> Iterator[PngChunk]:
    """Yield the chunks of a PNG up to IEND.

    Raises:
        _Damaged: if the file ends early, or a checksum is wrong.
    """
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if len(data) < position + 12:
            raise _Damaged("The file ends too early.")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if len(data) < end + 4:
            raise _Damaged("The file ends too early.")
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(data[position + 4 : end]):
            raise _Damaged(f"At byte {position} the checksum of a chunk is wrong.")
        yield PngChunk(kind, data[position + 8 : end])
        position = end + 4


class _Parser:
    """Collects the frames from the chunks; a picture before the first fcTL is no frame."""

    def __init__(self, limits: Limits | None) -> None:
        self.height = self.width = self.plays = self._announced = 0
        self.frames: list[CompressedFrame] = []
        self._limits = limits
        self._header = b""
        self._colour: list[PngChunk] = []
        self._control: FrameControl | None = None
        self._data: list[bytes] = []
        self._sequence = 0

    def add(self, chunk: PngChunk) -> None:
        match chunk.kind:
            case b"IHDR":
                self._parse_header(chunk.body)
            case b"acTL":
                self._announced, self.plays = self._unpack(">II", chunk.body)
            case b"fcTL":
                self._finish_frame()
                self._start_frame(chunk.body)
            case b"IDAT" if self._control is not None:
                self._data.append(chunk.body)
            case b"fdAT" if self._control is not None:
                self._check_sequence(*self._unpack(">I", chunk.body[:4]))
                self._data.append(chunk.body[4:])
            case b"IEND":
                self._finish_frame()
            case kind if kind in COLOUR_KINDS:
                self._colour.append(chunk)

    def add_partial_frame(self) -> None:
        """Add the last frame as far as it goes; decoding shows whether it is complete."""
        if self._data:
            self._finish_frame()

    def missing_frames(self) -> str | None:
        """Describe the frames that the file announces but lacks; None if there are none."""
        if len(self.frames) >= self._announced:
            return None
        return f"Only {len(self.frames)} of {self._announced} frames are in the file."

    def _parse_header(self, body: bytes) -> None:
        self.width, self.height = self._unpack(">II", body[:8])
        check_image(self._limits, self.height, self.width)
        self._header = body

    def _start_frame(self, body: bytes) -> None:
        control = FrameControl(*self._unpack(">5I2H2B", body))
        self._check_sequence(control.sequence)
        right, bottom = control.left + control.width, control.top + control.height
        is_first = not self.frames
        fits = control.width > 0 and right <= self.width and bottom <= self.height
        if not (fits and control.height > 0 and control.disposal < len(DISPOSALS)):
            raise _Damaged(f"Frame {len(self.frames) + 1} lies outside the picture.")
        if is_first and control.disposal == DISPOSALS.index(RESTORE):
            control = control._replace(disposal=DISPOSALS.index(CLEAR))
        self._control = control

    def _check_sequence(self, sequence: int) -> None:
        if sequence != self._sequence:
            raise _Damaged(f"After frame {len(self.frames)} parts are missing or out of order.")
        self._sequence += 1

    def _finish_frame(self) -> None:
        """Add the frame whose last chunk has been read, if there is one."""
        if self._control is None:
            return
        if not self._data:
            raise _Damaged(f"Frame {len(self.frames) + 1} is empty.")
        size = struct.pack(">II", self._control.width, self._control.height)
        chunks = [
            PngChunk(b"IHDR", size + self._header[8:]),
            *self._colour,
            *(PngChunk(b"IDAT", body) for body in self._data),
            PngChunk(b"IEND", b""),
        ]
        png = SIGNATURE + b"".join(chunk.encode() for chunk in chunks)
        self.frames.append(CompressedFrame(self._control, png))
        if self._limits is not None:
            self._limits.check_frames(len(self.frames))
        self._control, self._data = None, []

    def _unpack(self, layout: str, body: bytes) -> tuple[int, ...]:
        if len(body) != struct.calcsize(layout):
            raise _Damaged(f"After frame {len(self.frames)} a chunk has a wrong length.")
        return struct.unpack(layout, body)


def _draw(
    height: int, width: int, frames: Sequence[CompressedFrame], limits: Limits | None
) -> Iterator[DrawnFrame]:
    canvas = Canvas(height, width)
    for control, png in frames:
        colour, alpha = _decode(png, limits)
        disposal = DISPOSALS[control.disposal]
        is_blended = control.blend == BLEND_OVER
        canvas.draw(Patch(control.left, control.top, colour, alpha, disposal, is_blended))
        yield DrawnFrame(canvas.colour, canvas.alpha)


def _decode(png: bytes, limits: Limits | None) -> tuple[Uint8Array, Uint8Array]:
    """Decode a PNG to sRGB colour, (H, W, 3), and opacity, (H, W)."""
    file = io.BytesIO(png)
    with open_image(file, limits) as image:
        samples = read_samples(image, file, UPRIGHT)
        colour, _ = to_srgb(samples, *read_declarations(image, file))
    pixels = _to_uint8(colour.assemble())
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if samples.alpha is None:
        return pixels, np.full(pixels.shape[:2], LEVELS, np.uint8)
    return pixels, _to_uint8(samples.alpha.assemble())


def _to_uint8(levels: PixelArray) -> Uint8Array:
    if levels.dtype == np.uint16:
        return to_uint8(np.asarray(levels, np.uint16))
    return np.asarray(levels, np.uint8)


def write_apng(animation: UpscaledAnimation, options: OutputOptions, file: IO[bytes]) -> None:
    """Write an animation without loss; no option applies.

    Durations are exact, or the nearest that 16-bit numerators and denominators can express.
    """
    del options
    file.write(SIGNATURE)
    for chunk in _encode_chunks(animation):
        file.write(chunk.encode())


def to_fraction(seconds: Fraction) -> tuple[int, int]:
    """Return the numerator and denominator of a delay, both of 16 bits.

    >>> to_fraction(Fraction(3, 100)), to_fraction(Fraction(70_001, 1000))
    ((3, 100), (65521, 936))
    """
    denominator = min(MAX_UINT16, int(MAX_UINT16 / seconds)) if seconds > 1 else MAX_UINT16
    near = seconds.limit_denominator(max(denominator, 1))
    return min(near.numerator, MAX_UINT16), near.denominator


def _encode_chunks(animation: UpscaledAnimation) -> Iterator[PngChunk]:
    channels = 4 if animation.has_alpha else 3
    layout = 8, COLOUR_TYPES[channels], 0, 0, 0
    yield PngChunk(b"IHDR", struct.pack(">II5B", animation.width, animation.height, *layout))
    yield PngChunk(b"acTL", struct.pack(">II", len(animation.durations), animation.plays))
    yield colour_chunk(None, RELATIVE_COLORIMETRIC)
    if animation.xmp is not None:
        yield xmp_chunk(animation.xmp)
    sequence, previous = count(), None
    for picture, duration in zip(animation.pictures(), animation.durations, strict=True):
        current = rgba(picture)[..., :channels]
        yield from _encode_frame(previous, current, duration * animation.time_base, sequence)
        previous = current
    yield PngChunk(b"IEND", b"")


def _encode_frame(
    previous: Uint8Array | None, current: Uint8Array, seconds: Fraction, sequence: Iterator[int]
) -> Iterator[PngChunk]:
    area = changed_area(previous, current)
    geometry = area.width, area.height, area.left, area.top
    control = FrameControl(
        next(sequence), *geometry, *to_fraction(seconds), DISPOSALS.index(KEEP), BLEND_SOURCE
    )
    yield PngChunk(b"fcTL", struct.pack(">5I2H2B", *control))
    for body in _compress(area.crop(current)):
        if previous is None:
            yield PngChunk(b"IDAT", body)
        else:
            yield PngChunk(b"fdAT", struct.pack(">I", next(sequence)) + body)


def _compress(pixels: Uint8Array) -> Iterator[bytes]:
    """Yield the bodies of the IDAT chunks that Pillow writes for the pixels."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return (chunk.body for chunk in split_chunks(file.getvalue()) if chunk.kind == b"IDAT")
