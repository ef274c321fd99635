"""How frames are held upright, as a container's display matrix says."""

import struct
from typing import NamedTuple, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from core.pixels import Uint8Array


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
