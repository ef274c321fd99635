"""Upscaled frames of a segment, without loss, until all segments are done.

A file is a ZIP of PNGs that are compressed quickly, each with the time of its frame.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from core.clips import Frame
from core.files import whole_file
from core.picture import Picture
from core.png import Layout, encode_png_rows


def write_part(frames: Iterable[Frame], target: Path) -> None:
    """Write frames as they come; the file is there when all of them are in it."""
    with whole_file(target) as unfinished, ZipFile(unfinished, "w", ZIP_STORED) as archive:
        for number, frame in enumerate(frames):
            entry = ZipInfo(f"{number:06}.png")
            entry.comment = f"{frame.start} {frame.duration}".encode()
            archive.writestr(entry, _encode(frame.picture))


def read_part(source: Path) -> Iterator[Frame]:
    """The frames that were written, one after the other."""
    with ZipFile(source) as archive:
        for entry in archive.infolist():
            start, duration = map(int, entry.comment.split())
            yield Frame(_decode(archive.read(entry)), start, duration)


def read_durations(source: Path) -> list[int]:
    """Of the frames that were written, without a look at them."""
    with ZipFile(source) as archive:
        return [int(entry.comment.split()[1]) for entry in archive.infolist()]


def _encode(picture: Picture) -> bytes:
    channels = picture.pixels[..., :1] if picture.is_grey else picture.pixels
    if picture.alpha is not None:
        channels = np.dstack([channels, picture.alpha])
    layout = Layout(picture.height, picture.width, picture.channels, picture.bits)
    return b"".join(encode_png_rows([channels], layout))


def _decode(png: bytes) -> Picture:
    channels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))
    if channels.ndim == 2:
        channels = channels[..., None]
    count = channels.shape[2]
    alpha = np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None
    is_grey = count < 3
    colour = np.repeat(channels[..., :1], 3, axis=2) if is_grey else channels[..., :3]
    return Picture(np.ascontiguousarray(colour), alpha, is_grey)
