"""Animated PNG: each frame is a PNG without its head.

Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/, section 4.9
and 11.3.6.

Frames to animated PNG: of each, the part that has changed replaces what is there.

Source: Portable Network Graphics, third edition, section 11.3.6.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import count
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
from core.pixels import LEVELS, Uint8Array, to_uint8

APNG = "APNG"
DISPOSALS = (KEEP, CLEAR, RESTORE)
OVER = 1  # of the ways to blend; the other is to replace
USUAL_DENOMINATOR = 100  # where a delay is given as parts of zero
COLOUR_KINDS = (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT")
"""Chunks that say what the samples of all frames mean."""


class FrameControl(NamedTuple):
    """The chunk fcTL: where a frame is drawn, for how long, and how."""

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
        return Fraction(self.numerator, self.denominator or USUAL_DENOMINATOR)


class CompressedFrame(NamedTuple):
    """A frame, and the PNG that it would be by itself."""

    control: FrameControl
    png: bytes


class _Damaged(Exception):
    """Chunks cannot be read any further."""


def is_apng(data: bytes) -> bool:
    """Whether a PNG says that it is animated; of a damaged one, before the damage."""
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
        ImageTooLarge: as `limits` say.
        UnreadableImage: without a whole frame.
    """
    parser = _Parser(limits)
    try:
        for chunk in split_chunks(data):
            parser.read(chunk)
        damage = parser.missing()
    except _Damaged as error:
        damage = str(error)
        parser.give_up()
    if not parser.frames:
        raise UnreadableImage(
            "Animation must have a whole frame. Received: an APNG without, or damaged before."
        )
    seconds = [frame.control.seconds for frame in parser.frames]
    time_base = Fraction(1, lcm(*(each.denominator for each in seconds)))
    return DecodedAnimation(
        APNG,
        parser.height,
        parser.width,
        time_base,
        tuple(int(each / time_base) for each in seconds),
        parser.plays,
        partial(_draw, parser.height, parser.width, parser.frames, limits),
        damage=damage,
    )


def split_chunks(data: bytes) -> Iterator[PngChunk]:
    """All up to the end; raises _Damaged if that is missing, or at a wrong checksum."""
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
    """Chunks to frames; what comes before the first frame's fcTL is not part of it."""

    def __init__(self, limits: Limits | None) -> None:
        self.height = self.width = self.plays = self._announced = 0
        self.frames: list[CompressedFrame] = []
        self._limits = limits
        self._head = b""
        self._colour: list[PngChunk] = []
        self._control: FrameControl | None = None
        self._body: list[bytes] = []
        self._sequence = 0

    def read(self, chunk: PngChunk) -> None:
        match chunk.kind:
            case b"IHDR":
                self._read_head(chunk.body)
            case b"acTL":
                self._announced, self.plays = self._unpack(">II", chunk.body)
            case b"fcTL":
                self._finish()
                self._begin(chunk.body)
            case b"IDAT" if self._control is not None:
                self._body.append(chunk.body)
            case b"fdAT" if self._control is not None:
                self._count(*self._unpack(">I", chunk.body[:4]))
                self._body.append(chunk.body[4:])
            case b"IEND":
                self._finish()
            case kind if kind in COLOUR_KINDS:
                self._colour.append(chunk)

    def give_up(self) -> None:
        """Add the last frame as far as it goes: decoding it will tell whether that is all."""
        if self._body:
            self._finish()

    def missing(self) -> str | None:
        """What the file announced and does not have."""
        if len(self.frames) >= self._announced:
            return None
        return f"Of {self._announced} frames {len(self.frames)} are in the file."

    def _read_head(self, body: bytes) -> None:
        self.width, self.height = self._unpack(">II", body[:8])
        check_image(self._limits, self.height, self.width)
        self._head = body

    def _begin(self, body: bytes) -> None:
        control = FrameControl(*self._unpack(">5I2H2B", body))
        self._count(control.sequence)
        right, bottom = control.left + control.width, control.top + control.height
        is_first = not self.frames
        fits = control.width > 0 and right <= self.width and bottom <= self.height
        if not (fits and control.height > 0 and control.disposal < len(DISPOSALS)):
            raise _Damaged(f"Frame {len(self.frames) + 1} lies outside the picture.")
        if is_first and control.disposal == DISPOSALS.index(RESTORE):
            control = control._replace(disposal=DISPOSALS.index(CLEAR))
        self._control = control

    def _count(self, sequence: int) -> None:
        if sequence != self._sequence:
            raise _Damaged(f"After frame {len(self.frames)} parts are missing or out of order.")
        self._sequence += 1

    def _finish(self) -> None:
        """Add the frame whose last chunk has been read."""
        if self._control is None:
            return
        if not self._body:
            raise _Damaged(f"Frame {len(self.frames) + 1} is empty.")
        size = struct.pack(">II", self._control.width, self._control.height)
        chunks = [
            PngChunk(b"IHDR", size + self._head[8:]),
            *self._colour,
            *(PngChunk(b"IDAT", body) for body in self._body),
            PngChunk(b"IEND", b""),
        ]
        png = SIGNATURE + b"".join(chunk.encode() for chunk in chunks)
        self.frames.append(CompressedFrame(self._control, png))
        if self._limits is not None:
            self._limits.check_frames(len(self.frames))
        self._control, self._body = None, []

    def _unpack(self, form: str, body: bytes) -> tuple[int, ...]:
        if len(body) != struct.calcsize(form):
            raise _Damaged(f"After frame {len(self.frames)} a chunk has a wrong length.")
        return struct.unpack(form, body)


def _draw(
    height: int, width: int, frames: Sequence[CompressedFrame], limits: Limits | None
) -> Iterator[DrawnFrame]:
    canvas = Canvas(height, width)
    for control, png in frames:
        colour, alpha = _decode(png, limits)
        disposal = DISPOSALS[control.disposal]
        is_blended = control.blend == OVER
        canvas.draw(Patch(control.left, control.top, colour, alpha, disposal, is_blended))
        yield DrawnFrame(canvas.colour, canvas.alpha)


def _decode(png: bytes, limits: Limits | None) -> tuple[Uint8Array, Uint8Array]:
    """Colour as sRGB, (H, W, 3), and opacity, (H, W)."""
    file = io.BytesIO(png)
    with open_image(file, limits) as image:
        samples = read_samples(image, file, UPRIGHT)
        colour, _ = to_srgb(samples, image.info.get("icc_profile"))
    shown = to_uint8(colour)
    if shown.ndim == 2:
        shown = np.repeat(shown[..., None], 3, axis=2)
    if samples.alpha is None:
        return shown, np.full(shown.shape[:2], LEVELS, np.uint8)
    return shown, to_uint8(samples.alpha)


MOST = 2**16 - 1
"""Of a duration's numerator and denominator."""

DISPOSE_NONE, BLEND_SOURCE = 0, 0
"""What becomes of a frame before the next one, and of what was there before it."""


def write_apng(film: UpscaledAnimation, wish: OutputOptions, file: IO[bytes]) -> None:
    """Write a film without loss, whatever is wished.

    Durations are exact, or as near as numerators and denominators of 16 bits are.
    """
    del wish
    file.write(SIGNATURE)
    for chunk in _chunks(film):
        file.write(chunk.encode())


def as_fraction(seconds: Fraction) -> tuple[int, int]:
    """Numerator and denominator for a file.

    >>> as_fraction(Fraction(3, 100)), as_fraction(Fraction(70_001, 1000))
    ((3, 100), (65521, 936))
    """
    denominator = min(MOST, int(MOST / seconds)) if seconds > 1 else MOST
    near = seconds.limit_denominator(max(denominator, 1))
    return min(near.numerator, MOST), near.denominator


def _chunks(film: UpscaledAnimation) -> Iterator[PngChunk]:
    channels = 4 if film.has_alpha else 3
    kind = COLOUR_TYPES[channels]
    yield PngChunk(b"IHDR", struct.pack(">IIBBBBB", film.width, film.height, 8, kind, 0, 0, 0))
    yield PngChunk(b"acTL", struct.pack(">II", len(film.durations), film.plays))
    yield colour_chunk(None, RELATIVE_COLORIMETRIC)
    if film.xmp is not None:
        yield xmp_chunk(film.xmp)
    numbers, before = count(), None
    for picture, duration in zip(film.pictures(), film.durations, strict=True):
        now = rgba(picture)[..., :channels]
        yield from _frame(before, now, duration * film.time_base, numbers)
        before = now
    yield PngChunk(b"IEND", b"")


def _frame(
    before: Uint8Array | None, now: Uint8Array, seconds: Fraction, numbers: Iterator[int]
) -> Iterator[PngChunk]:
    area = changed_area(before, now)
    size = area.width, area.height, area.left, area.top
    control = FrameControl(next(numbers), *size, *as_fraction(seconds), DISPOSE_NONE, BLEND_SOURCE)
    yield PngChunk(b"fcTL", struct.pack(">5I2H2B", *control))
    for body in _compress(area.crop(now)):
        if before is None:
            yield PngChunk(b"IDAT", body)
        else:
            yield PngChunk(b"fdAT", struct.pack(">I", next(numbers)) + body)


def _compress(pixels: Uint8Array) -> Iterator[bytes]:
    """What a PNG of them would have in its chunks IDAT."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return (chunk.body for chunk in split_chunks(file.getvalue()) if chunk.kind == b"IDAT")
