"""EXIF: what is read of it, and what of it may be written to the output.

Kept is what tells of the picture: who made it, when, where and with what. Not kept is
what would be wrong of the output (size, orientation, resolution, thumbnail) or could
not be moved (notes of makers, which point into the file that they were in).

Source: EXIF 2.32, sections 4.6 and 4.7; Portable Network Graphics, third edition.
"""

import struct
from typing import IO, Any

from PIL import ExifTags, Image, ImageFile

PREFIX = b"Exif\0\0"
"""Before the TIFF structure, where EXIF is in a JPEG."""

LONGEST_EXIF = 65_533 - len(PREFIX)
"""Bytes of what a segment of a JPEG can hold."""

DESCRIPTIVE_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.Rating,
)
"""Kept of the first directory, which in a TIFF describes the file as well."""

PIXEL_TAGS = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.MakerNote,
)
"""Not kept of the directory of EXIF."""

X_RESOLUTION, Y_RESOLUTION = ExifTags.Base.XResolution, ExifTags.Base.YResolution
RESOLUTION_UNIT = ExifTags.Base.ResolutionUnit
INCH, CENTIMETRE = 2, 3
CM_PER_INCH = 2.54

PNG_SIGNATURE_BYTES = 8


def read_exif(image: ImageFile.ImageFile, file: IO[bytes]) -> Image.Exif:
    """All of it, empty if there is none or if it is damaged.

    Args:
        image: opened from `file`, not decoded yet.
    """
    try:
        if image.format in ("AVIF", "HEIF"):  # their own orientation is what counts
            return _parse(image.info.get("exif"))
        if image.format == "PNG" and "exif" not in image.info:
            late = _parse(_find_late_exif(file))
            return late or Image.Image.getexif(image)
        return Image.Image.getexif(image)  # not PNG's own, which decodes the picture
    except Exception:  # what decoders raise on damaged EXIF is of many kinds
        return Image.Exif()


def _parse(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data or b"")
    return exif


def _find_late_exif(file: IO[bytes]) -> bytes | None:
    """EXIF of a PNG, which may come after the pixels; other chunks are passed over."""
    position = PNG_SIGNATURE_BYTES
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return None
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        position += 12 + length


def clean_exif(exif: Image.Exif) -> bytes | None:
    """What may be written, as a TIFF structure; None if nothing is left of it."""
    try:
        kept = Image.Exif()
        for tag in DESCRIPTIVE_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if tags := _clean_directory(exif, directory):
                kept[directory] = tags
        data = kept.tobytes().removeprefix(PREFIX) if kept else b""
    except Exception:  # what decoders raise on damaged EXIF is of many kinds
        return None
    return data if 0 < len(data) <= LONGEST_EXIF else None


def _clean_directory(exif: Image.Exif, directory: int) -> dict[int, Any]:
    if directory not in exif:
        return {}
    tags = exif.get_ifd(directory)
    return {tag: value for tag, value in tags.items() if tag not in PIXEL_TAGS}


def resolution_of(exif: Image.Exif) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None if not told in a known unit."""
    try:
        across, down = float(exif[X_RESOLUTION]), float(exif[Y_RESOLUTION])
        unit = exif.get(RESOLUTION_UNIT, INCH)
    except Exception:  # not there, or not numbers
        return None
    if unit not in (INCH, CENTIMETRE):
        return None
    factor = CM_PER_INCH if unit == CENTIMETRE else 1.0
    return across * factor, down * factor


def with_resolution(data: bytes | None, dpi: tuple[float, float] | None) -> bytes | None:
    """Add the resolution, for formats that have no other place for it.

    Args:
        data: EXIF as `clean_exif` gives it; None for none.
        dpi: pixels per inch, across and down; None to add nothing.
    """
    if dpi is None:
        return data
    exif = _parse(data)
    exif[X_RESOLUTION], exif[Y_RESOLUTION] = dpi
    exif[RESOLUTION_UNIT] = INCH
    return exif.tobytes().removeprefix(PREFIX)
