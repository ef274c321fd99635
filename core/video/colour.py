"""From what a decoder gives to upright RGB, and what is said of its colours.

Neither primaries nor transfer are converted: what a file says of them is said of the
result, too. What it leaves open, the matrix and the range, is decided as players do.

Source: ITU-T H.273, tables 2 to 4.

How frames are held upright, as a container's display matrix says.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from core.errors import UnsupportedClip
from core.picture import Picture
from core.pixels import LEVELS, PixelArray, Uint8Array, flatten_on_white


class Orientation(NamedTuple):
    """What is done to a frame, in this order.

    Attributes:
        is_transposed: rows become columns.
        is_mirrored: left becomes right.
        is_upturned: top becomes bottom.
    """

    is_transposed: bool = False
    is_mirrored: bool = False
    is_upturned: bool = False

    def upright(self, pixels: Uint8Array) -> Uint8Array:
        """(H, W, C) -> (H, W, C), or (W, H, C) if it is transposed."""
        if self.is_transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.is_mirrored:
            pixels = pixels[:, ::-1]
        if self.is_upturned:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: VideoFrame) -> Orientation:
    """By the display matrix that goes with a frame; of other angles, the nearest right one.

    Source: ISO/IEC 14496-12, sec. 6.2.2: x' = ax + cy, y' = bx + dy.
    """
    try:
        matrix = cast(SideDataContainer, frame.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, is_mirrored=a < 0, is_upturned=d < 0)
    return Orientation(True, is_mirrored=c < 0, is_upturned=b < 0)


BT709, UNSPECIFIED, FCC, BT470BG, BT601, SMPTE240, BT2020 = 1, 2, 4, 5, 6, 7, 9
RGB = 0
MATRICES = {BT709: 1, FCC: 4, BT470BG: 5, BT601: 5, SMPTE240: 7, BT2020: 9}
"""By the numbers of H.273, to those of FFmpeg's scaler."""

HDR = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
"""Transfer characteristics that only tone mapping would bring into 8 bits."""

HD_LINES = 720
"""From here on what says nothing of its matrix is BT.709."""

EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""Of FFmpeg's scaler; without these flags it rounds down, and repeats chroma."""

THREADS = 1  # the cores are the network's


@dataclass(frozen=True)
class Colour:
    """What the colours of a clip mean, by the numbers of H.273.

    Attributes:
        matrix: from RGB to luma and chroma, a key of `MATRICES`.
        primaries: as the file has them; 2 if it does not say.
        transfer: likewise.
        is_full: whether luma reaches from 0 to 255, rather than from 16 to 235.
    """

    matrix: int
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    is_full: bool = False

    @property
    def range(self) -> ColorRange:
        return ColorRange.JPEG if self.is_full else ColorRange.MPEG


SRGB = Colour(BT709, primaries=1, transfer=1)
"""For frames that came as RGB: browsers show what is tagged so as it is."""


def colour_of(frame: VideoFrame) -> Colour:
    """What the colours of a decoded frame mean.

    Raises:
        UnsupportedClip: if it is HDR, or of a matrix that is not known.
    """
    if frame.color_trc in HDR:
        raise UnsupportedClip(
            "Clip must be of standard dynamic range. "
            f"Received: HDR with the transfer of {HDR[frame.color_trc]}."
        )
    if frame.format.is_rgb:
        return Colour(BT709, frame.color_primaries, frame.color_trc)
    matrix = frame.colorspace
    if matrix in (RGB, UNSPECIFIED):
        matrix = BT709 if frame.height >= HD_LINES else BT601
    if matrix not in MATRICES:
        raise UnsupportedClip(
            f"Clip must have the matrix of BT.601, BT.709 or BT.2020. Received: number {matrix}."
        )
    is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Colour(matrix, frame.color_primaries, frame.color_trc, is_full)


class FrameToPicture:
    """Makes pictures of decoded frames.

    Args:
        height: of a frame as it is coded; one of another size is resized.
        width: likewise.
        colour: what their colours mean.
        orientation: how they are held upright.
    """

    def __init__(self, height: int, width: int, colour: Colour, orientation: Orientation) -> None:
        self._height, self._width = height, width
        self._colour, self._orientation = colour, orientation
        self._reformatter = VideoReformatter()

    def of(self, frame: VideoFrame) -> Picture:
        """A frame as a picture: RGB of 8 bits, upright, opaque, progressive."""
        if frame.interlaced_frame and frame.height > 1:
            frame = keep_a_field(frame)
        pixels = self._rgb(frame)
        if pixels.shape[2] > 3:
            pixels = flatten_on_white(pixels[..., :3], pixels[..., 3])
        return Picture(self._orientation.upright(pixels))

    def _rgb(self, frame: VideoFrame) -> Uint8Array:
        """(H, W, 3), or (H, W, 4) with alpha, uint8."""
        bits = max(component.bits for component in frame.format.components)
        is_whole = self._colour.is_full or frame.format.is_rgb
        target = target_format(bits, is_full=is_whole, has_alpha=has_alpha(frame))
        converted = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format=target,
            src_colorspace=MATRICES[self._colour.matrix],
            src_color_range=self._colour.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT,
            threads=THREADS,
        ).to_ndarray()
        pixels = cast(PixelArray, converted)
        return rounded(pixels, bits) if pixels.itemsize > 1 else pixels.astype(np.uint8, copy=False)


def target_format(bits: int, *, is_full: bool, has_alpha: bool) -> str:
    """To what FFmpeg's scaler converts best.

    Of limited range it rounds right into 8 bits; white in more of them comes out darker.
    Of full range it is the other way round.
    """
    if has_alpha:
        return "rgba"
    return f"gbrp{bits}le" if bits > 8 and is_full else "rgb24"


def rounded(pixels: PixelArray, bits: int) -> Uint8Array:
    """Levels of so many bits -> [0, 255] uint8, rounded to the nearest."""
    highest = 2**bits - 1
    levels = (pixels.astype(np.uint32) * LEVELS + highest // 2) // highest
    return np.asarray(levels, np.uint8)


def has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def keep_a_field(frame: VideoFrame) -> VideoFrame:
    """Every other line of an interlaced frame, from the first on: one moment, not two.

    Chroma is in every other line of its own planes. What is left out is interpolated
    where the field is resized.
    """
    field = VideoFrame(frame.width, (frame.height + 1) // 2, frame.format.name)
    for plane, source in zip(field.planes, frame.planes, strict=True):
        lines = _lines(source)[::2][: plane.height]
        kept = np.zeros((plane.height, plane.line_size), np.uint8)
        size = min(plane.line_size, source.line_size)
        kept[: len(lines), :size] = lines[:, :size]
        kept[len(lines) :] = kept[len(lines) - 1]  # chroma of an odd number of lines
        plane.update(kept.tobytes())
    return field


def _lines(plane: VideoPlane) -> Uint8Array:
    """(lines, bytes of a line) uint8."""
    samples = np.frombuffer(bytes(plane), np.uint8)
    return samples[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
