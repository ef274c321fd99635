"""Convert decoded frames to upright 8-bit RGB pictures.

Primaries and transfer characteristics are not converted: the output declares those of the
source. Frames in PQ and HLG are the exception. They are tone-mapped like pictures
(`core.images.hdr`), and the output declares BT.709. A matrix or range that the file leaves open
is chosen as players do.

Source: ITU-T H.273, tables 2 to 4 and eq. 25 to 47; CTA-861.3 (light levels).
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
from core.images.colours import PRIMARIES, declare_hdr
from core.images.hdr import HDR_TRANSFERS, Conversion, make_tone_mapping
from core.picture import Picture
from core.pixels import LEVELS, LEVELS_16, PixelArray, Uint8Array, Uint16Array, to_uint8

RGB, BT709, UNSPECIFIED, FCC, BT470BG, BT601, SMPTE240, BT2020 = 0, 1, 2, 4, 5, 6, 7, 9
"""Numbers of matrices in H.273."""

MATRICES = {BT709: 1, FCC: 4, BT470BG: 5, BT601: 5, SMPTE240: 7, BT2020: 9}
"""Matrix numbers of FFmpeg's scaler by their number in H.273."""

LUMA_WEIGHTS = {
    BT709: (0.2126, 0.0722),
    FCC: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    BT601: (0.299, 0.114),
    SMPTE240: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by the number of the matrix."""

STRIP_PIXELS = 500_000
"""Number of pixels that are tone-mapped at a time."""

MIN_HD_HEIGHT = 720
"""Lowest height, px, from which a frame without a declared matrix counts as BT.709."""

ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""Flags of FFmpeg's scaler; without them it rounds down and repeats chroma."""

THREADS = 1  # the network uses the cores

WHITE = LEVELS


class Orientation(NamedTuple):
    """Steps that turn a decoded frame upright, in this order.

    Attributes:
        is_transposed: whether rows become columns.
        is_mirrored: whether left and right are swapped.
        is_flipped: whether top and bottom are swapped.
    """

    is_transposed: bool = False
    is_mirrored: bool = False
    is_flipped: bool = False

    def upright(self, pixels: Uint8Array) -> Uint8Array:
        """Turn (H, W, C) upright; the result is (W, H, C) if transposed."""
        if self.is_transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.is_mirrored:
            pixels = pixels[:, ::-1]
        if self.is_flipped:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation from a frame's display matrix, to the nearest right angle.

    Source: ISO/IEC 14496-12, sec. 6.2.2: x' = ax + cy, y' = bx + dy.
    """
    try:
        matrix = cast(SideDataContainer, frame.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, is_mirrored=a < 0, is_flipped=d < 0)
    return Orientation(True, is_mirrored=c < 0, is_flipped=b < 0)


@dataclass(frozen=True)
class Colour:
    """Meaning of the colours of a clip, in numbers of H.273.

    Attributes:
        matrix: matrix from RGB to luma and chroma, a key of `MATRICES`.
        primaries: primaries that the file declares; 2 for none.
        transfer: transfer characteristics that the file declares; 2 for none.
        is_full: whether luma ranges from 0 to 255 rather than from 16 to 235.
        peak_nits: light of the brightest part of an HDR clip, cd/m2; 0 if unknown.
    """

    matrix: int
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    is_full: bool = False
    peak_nits: float = 0.0

    @property
    def is_hdr(self) -> bool:
        """Whether frames are tone-mapped."""
        return self.transfer in HDR_TRANSFERS

    @property
    def of_pictures(self) -> "Colour":
        """Meaning of the colours of the pictures that frames become."""
        return SRGB if self.is_hdr else self

    @property
    def range(self) -> ColorRange:
        """The range as PyAV's constant."""
        return ColorRange.JPEG if self.is_full else ColorRange.MPEG


SRGB = Colour(BT709, primaries=1, transfer=1)
"""Colours of frames that were RGB: browsers show video with these tags unchanged."""


def colour_of(frame: VideoFrame) -> Colour:
    """Return the meaning of a decoded frame's colours.

    Raises:
        UnsupportedClip: if the matrix of the frame is unknown, or its primaries if it is HDR, or
            if it is HDR and not opaque.
    """
    primaries, transfer = frame.color_primaries, frame.color_trc
    peak_nits = 0.0
    if transfer in HDR_TRANSFERS:
        check_hdr(frame)
        peak_nits = light_level(frame)
    if frame.format.is_rgb:
        return Colour(BT709, primaries, transfer, peak_nits=peak_nits)
    matrix = frame.colorspace
    if matrix in (RGB, UNSPECIFIED):
        matrix = BT709 if frame.height >= MIN_HD_HEIGHT else BT601
        matrix = BT2020 if transfer in HDR_TRANSFERS else matrix
    if matrix not in MATRICES:
        raise UnsupportedClip(
            f"Clip must have the matrix of BT.601, BT.709 or BT.2020. Received: number {matrix}."
        )
    is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Colour(matrix, primaries, transfer, is_full, peak_nits)


def check_hdr(frame: VideoFrame) -> None:
    """Raise UnsupportedClip if an HDR frame cannot be tone-mapped."""
    if has_alpha(frame):
        raise UnsupportedClip("Clip must be opaque if it is HDR. Received: one with alpha.")
    if frame.color_primaries not in PRIMARIES:
        raise UnsupportedClip(
            "Clip must have primaries of H.273 if it is HDR. "
            f"Received: number {frame.color_primaries}."
        )


def light_level(frame: VideoFrame) -> float:
    """Return the light of the brightest part of a clip in cd/m2; 0 if the frame does not say."""
    try:
        level = cast(SideDataContainer, frame.side_data)[Type.CONTENT_LIGHT_LEVEL]
    except KeyError:
        return 0.0
    return float(struct.unpack_from("=I", bytes(level))[0])


class FrameToPicture:
    """Converts decoded frames to pictures.

    Args:
        height: height of the coded frames, px; a frame of another size is resized.
        width: width of the coded frames, px.
        colour: meaning of their colours.
        orientation: how they are turned upright.
    """

    def __init__(self, height: int, width: int, colour: Colour, orientation: Orientation) -> None:
        self._height, self._width = height, width
        self._colour, self._orientation = colour, orientation
        self._reformatter = VideoReformatter()
        self._tone_mapping: Conversion | None = None
        if colour.is_hdr:
            primaries = BT2020 if colour.primaries == UNSPECIFIED else colour.primaries
            declared = declare_hdr(primaries, colour.transfer, colour.peak_nits)
            self._tone_mapping = make_tone_mapping(declared, bits=16)

    def convert(self, frame: VideoFrame) -> Picture:
        """Return the frame as an upright, opaque, progressive 8-bit RGB picture."""
        if frame.interlaced_frame and frame.height > 1:
            frame = extract_field(frame)
        if self._tone_mapping is None:
            pixels = self._to_rgb(frame)
        else:
            pixels = self._tone_mapped(frame, self._tone_mapping)
        if pixels.shape[2] > 3:
            pixels = over_white(pixels[..., :3], pixels[..., 3])
        return Picture(self._orientation.upright(pixels))

    def _tone_mapped(self, frame: VideoFrame, tone_mapping: Conversion) -> Uint8Array:
        """Return an HDR frame as (H, W, 3) uint8, tone-mapped from 16 bits.

        FFmpeg's scaler only aligns luma and chroma here: its RGB of limited range is too dark.
        """
        colour, is_rgb = self._colour, frame.format.is_rgb
        matrix = MATRICES[colour.matrix]
        samples = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format="gbrp16le" if is_rgb else "yuv444p16le",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=colour.range,
            dst_color_range=colour.range,
            interpolation=ACCURATE,
            threads=THREADS,
        ).to_ndarray()
        pixels = np.empty(samples.shape, np.uint8)
        rows = max(1, STRIP_PIXELS // self._width)
        for top in range(0, len(pixels), rows):
            strip = np.asarray(samples[top : top + rows], np.uint16)
            if not is_rgb:
                strip = rgb_from_yuv(strip, colour)
            pixels[top : top + rows] = to_uint8(tone_mapping(strip))
        return pixels

    def _to_rgb(self, frame: VideoFrame) -> Uint8Array:
        """Return (H, W, 3) uint8, or (H, W, 4) if the frame has alpha."""
        bits = max(component.bits for component in frame.format.components)
        is_full = self._colour.is_full or frame.format.is_rgb
        converted = self._reformatter.reformat(
            frame,
            width=self._width,
            height=self._height,
            format=choose_rgb_format(bits, is_full=is_full, has_alpha=has_alpha(frame)),
            src_colorspace=MATRICES[self._colour.matrix],
            src_color_range=self._colour.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=ACCURATE,
            threads=THREADS,
        ).to_ndarray()
        pixels = cast(PixelArray, converted)
        if pixels.itemsize > 1:
            return round_to_8_bits(pixels, bits)
        return pixels.astype(np.uint8, copy=False)


def rgb_from_yuv(samples: Uint16Array, colour: Colour) -> Uint16Array:
    """Convert luma and chroma, (h, W, 3) uint16, to RGB of full range, of the same type."""
    red_weight, blue_weight = LUMA_WEIGHTS[colour.matrix]
    levels = samples.astype(np.float32)
    if colour.is_full:
        luma, chroma = levels[..., 0] / LEVELS_16, (levels[..., 1:] - 2**15) / LEVELS_16
    else:
        luma = (levels[..., 0] - 16 * 256) / (219 * 256)
        chroma = (levels[..., 1:] - 2**15) / (224 * 256)
    red = luma + (2 - 2 * red_weight) * chroma[..., 1]
    blue = luma + (2 - 2 * blue_weight) * chroma[..., 0]
    green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    rgb = np.stack([red, green, blue], axis=-1)
    return np.rint(np.clip(rgb, 0, 1) * LEVELS_16).astype(np.uint16)


def choose_rgb_format(bits: int, *, is_full: bool, has_alpha: bool) -> str:
    """Return the pixel format to which FFmpeg's scaler converts most exactly.

    From limited range it rounds correctly to 8 bits, but more bits make white too dark. From
    full range it is the other way round.
    """
    if has_alpha:
        return "rgba"
    return f"gbrp{bits}le" if bits > 8 and is_full else "rgb24"


def round_to_8_bits(pixels: PixelArray, bits: int) -> Uint8Array:
    """Round levels of the given number of bits to [0, 255] uint8."""
    highest = 2**bits - 1
    levels = (pixels.astype(np.uint32) * LEVELS + highest // 2) // highest
    return np.asarray(levels, np.uint8)


def has_alpha(frame: VideoFrame) -> bool:
    """Return whether a frame has an alpha plane."""
    return any(component.is_alpha for component in frame.format.components)


def to_8_bits(pixels: PixelArray) -> Uint8Array:
    """Return 8-bit pixels; 16-bit ones are rounded."""
    if pixels.dtype == np.uint16:
        return to_uint8(pixels.astype(np.uint16, copy=False))
    return pixels.astype(np.uint8, copy=False)


def over_white(pixels: Uint8Array, alpha: Uint8Array) -> Uint8Array:
    """Blend (H, W, 3) uint8 over white by its straight alpha, (H, W) uint8."""
    share = alpha[..., np.newaxis].astype(np.uint16)
    mixed = pixels * share + WHITE * (LEVELS - share)
    return ((mixed + LEVELS // 2) // LEVELS).astype(np.uint8)


def extract_field(frame: VideoFrame) -> VideoFrame:
    """Return the first field of an interlaced frame: every other line, one moment in time.

    Chroma is taken from every other line of its own planes. The missing lines are
    interpolated when the field is resized.
    """
    field = VideoFrame(frame.width, (frame.height + 1) // 2, frame.format.name)
    for plane, source in zip(field.planes, frame.planes, strict=True):
        lines = _plane_lines(source)[::2][: plane.height]
        kept = np.zeros((plane.height, plane.line_size), np.uint8)
        size = min(plane.line_size, source.line_size)
        kept[: len(lines), :size] = lines[:, :size]
        kept[len(lines) :] = kept[len(lines) - 1]  # chroma of an odd number of lines
        plane.update(kept.tobytes())
    return field


def _plane_lines(plane: VideoPlane) -> Uint8Array:
    """Return the bytes of a plane, (lines, bytes per line) uint8."""
    samples = np.frombuffer(bytes(plane), np.uint8)
    return samples[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
