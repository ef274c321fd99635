"""EXIF: what is read of it, and what of it may be written to the output.

Kept is what tells of the picture: who made it, when, where and with what. Not kept is
what would be wrong of the output (size, orientation, resolution, thumbnail) or could
not be moved (notes of makers, which point into the file that they were in).

Source: EXIF 2.32, sections 4.6 and 4.7; Portable Network Graphics, third edition.

XMP packets: what of them may be written, and what is added to them.

Source: XMP Specification Part 1 (ISO 16684-1), sections 7.2 to 7.9; IPTC Photo Metadata
Standard, Digital Source Type, https://cv.iptc.org/newscodes/digitalsourcetype/.

Pixels per inch, wherever a format says it.
"""

import math
import struct
from collections.abc import Iterator
from typing import IO, Any
from xml.dom.minidom import Document, Element, Node

from defusedxml.minidom import parseString
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
            return _parse_exif(image.info.get("exif"))
        if image.format == "PNG" and "exif" not in image.info:
            late = _parse_exif(_find_late_exif(file))
            return late or Image.Image.getexif(image)
        return Image.Image.getexif(image)  # not PNG's own, which decodes the picture
    except Exception:  # what decoders raise on damaged EXIF is of many kinds
        return Image.Exif()


def _parse_exif(data: bytes | None) -> Image.Exif:
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
    exif = _parse_exif(data)
    exif[X_RESOLUTION], exif[Y_RESOLUTION] = dpi
    exif[RESOLUTION_UNIT] = INCH
    return exif.tobytes().removeprefix(PREFIX)


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

WRONG_OF_THE_OUTPUT = (
    (TIFF, "Orientation"),
    (TIFF, "ImageWidth"),
    (TIFF, "ImageLength"),
    (XMP, "Thumbnails"),
)
SOURCE_TYPE = (IPTC_EXTENSION, "DigitalSourceType")
ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

LONGEST_PACKET = 256_000
"""Bytes; read into memory, a packet takes up to two hundred times as many."""

HEADER = '<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?>'
TRAILER = '<?xpacket end="w"?>'

EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'.encode()


def clean_xmp(packet: object) -> bytes | None:
    """A packet as it may be written; None if it is damaged, dangerous or too long.

    Args:
        packet: whatever was found where XMP should be.
    """
    if not isinstance(packet, bytes):
        return None
    try:
        document = _parse_xmp(packet)
        _remove(document, *WRONG_OF_THE_OUTPUT)
        return _serialise(document)
    except Exception:  # parsers raise many kinds, deep nesting RecursionError
        return None


def note_synthetic_detail(packet: bytes | None) -> bytes:
    """A packet which says that a picture was algorithmically enhanced.

    Args:
        packet: whose statements are kept, but for one of another source; None for none.
            One that cannot be read counts as none.
    """
    document = _parse_xmp(clean_xmp(packet) or EMPTY)
    _remove(document, SOURCE_TYPE)
    root = document.getElementsByTagNameNS(RDF, "RDF")[0]
    root.appendChild(_describe(document, root))
    return _serialise(document)


def _describe(document: Document, root: Element) -> Element:
    """The statement, about the same as the others: that is the rule for a packet."""
    others = root.getElementsByTagNameNS(RDF, "Description")
    about = others[0].getAttributeNS(RDF, "about") if others else ""
    description = document.createElementNS(RDF, "rdf:Description")
    description.setAttribute("xmlns:rdf", RDF)
    description.setAttribute("xmlns:Iptc4xmpExt", IPTC_EXTENSION)
    description.setAttributeNS(RDF, "rdf:about", about)
    source = document.createElementNS(IPTC_EXTENSION, "Iptc4xmpExt:DigitalSourceType")
    source.appendChild(document.createTextNode(ENHANCED))
    description.appendChild(source)
    return description


def _parse_xmp(packet: bytes) -> Document:
    """Raises whatever its parser does, and ValueError for what is no XMP."""
    if len(packet) > LONGEST_PACKET:
        raise ValueError(f"XMP must have at most {LONGEST_PACKET} bytes. Received: {len(packet)}")
    document: Document = parseString(packet.rstrip(b"\0 \n\r\t"), forbid_dtd=True)
    if not document.getElementsByTagNameNS(RDF, "RDF"):
        raise ValueError("XMP must have an element RDF. Received: none")
    return document


def _remove(document: Document, *names: tuple[str, str]) -> None:
    """Properties by namespace and name, each of which may be an element or an attribute."""
    for element in list(_elements(document)):
        for name in names:
            if element.hasAttributeNS(*name):
                element.removeAttributeNS(*name)
        if (element.namespaceURI, element.localName) in names and element.parentNode:
            element.parentNode.removeChild(element)


def _elements(document: Document) -> Iterator[Element]:
    waiting: list[Node] = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Element):
            yield node
        waiting.extend(node.childNodes)


def _serialise(document: Document) -> bytes:
    root = document.documentElement
    return f"{HEADER}{root.toxml() if root else ''}{TRAILER}".encode()


LEAST_DPI, MOST_DPI = 1, 100_000
"""Outside of these it is a ratio of sides or a mistake, and not a resolution."""

DENSITY_UNITS = (1, 2)
"""Of JFIF: per inch, per centimetre; 0 is a ratio. Source: JFIF 1.02, page 5."""


def read_dpi(image: ImageFile.ImageFile, exif: Image.Exif) -> tuple[float, float] | None:
    """Across and down, as the picture lies in the file; None if it is not told.

    What the format itself says counts before EXIF.
    """
    told = image.info.get("dpi") if _tells_itself(image) else None
    return _sensible(told) or _sensible(resolution_of(exif))


def _tells_itself(image: ImageFile.ImageFile) -> bool:
    """Elsewhere Pillow puts in EXIF's, or what it takes for usual."""
    if image.format in ("JPEG", "MPO"):
        return image.info.get("jfif_unit") in DENSITY_UNITS
    return image.format in ("PNG", "BMP")


def _sensible(dpi: object) -> tuple[float, float] | None:
    try:
        across, down = (float(side) for side in dpi)  # type: ignore[attr-defined]
    except Exception:  # whatever was in the file
        return None
    if all(math.isfinite(side) and LEAST_DPI < side < MOST_DPI for side in (across, down)):
        return across, down
    return None
