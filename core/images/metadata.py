"""EXIF, XMP and print resolution: what is read from a file, and what its output may keep.

The output keeps what describes the picture: author, date, place and camera. It drops what
would be wrong there (size, orientation, resolution, thumbnail, gain map) and what cannot be moved
to another file (maker notes, which hold offsets into the original file).

Source: EXIF 2.32, sections 4.6 and 4.7; Portable Network Graphics, third edition; XMP
Specification Part 1 (ISO 16684-1), sections 7.2 to 7.9; IPTC Photo Metadata Standard,
Digital Source Type, https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

import math
import struct
from collections.abc import Iterator
from typing import IO, Any
from xml.dom.minidom import Document, Element, Node

from defusedxml.minidom import parseString
from PIL import ExifTags, Image, ImageFile

EXIF_PREFIX = b"Exif\0\0"
"""Bytes before the TIFF structure of EXIF in a JPEG."""

MAX_EXIF_BYTES = 65_533 - len(EXIF_PREFIX)
"""Number of bytes of EXIF that fit into a segment of a JPEG."""

KEPT_MAIN_TAGS = (
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
"""Tags kept of the main directory, which in a TIFF describes the file as well."""

DROPPED_TAGS = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.MakerNote,
)
"""Tags dropped of the EXIF and GPS directories."""

X_RESOLUTION, Y_RESOLUTION = ExifTags.Base.XResolution, ExifTags.Base.YResolution
RESOLUTION_UNIT = ExifTags.Base.ResolutionUnit
INCH, CENTIMETRE = 2, 3  # values of RESOLUTION_UNIT
CM_PER_INCH = 2.54

PNG_SIGNATURE_BYTES = 8

MIN_DPI, MAX_DPI = 1, 100_000
"""Range of a plausible resolution; other values are aspect ratios or mistakes."""

JFIF_DENSITY_UNITS = (1, 2)
"""Units of JFIF: per inch and per centimetre; 0 is an aspect ratio. Source: JFIF 1.02, page 5."""

# XML namespaces.
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"

XMLNS = "http://www.w3.org/2000/xmlns/"

APPENDED = (
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.apple.com/pixeldatainfo/1.0/",
    "http://ns.google.com/photos/1.0/camera/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/container/item/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.adobe.com/xmp/note/",
)
"""Namespaces about what is appended to a picture: gain maps, depth maps, videos, more XMP. The
output has none of it. A viewer would look for a gain map in vain, or show wrong light."""

DROPPED_PROPERTIES = (
    (TIFF, "Orientation"),
    (TIFF, "ImageWidth"),
    (TIFF, "ImageLength"),
    (XMP, "Thumbnails"),
)
"""XMP properties that would be wrong for the output."""

SOURCE_TYPE = (IPTC_EXTENSION, "DigitalSourceType")
ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

MAX_XMP_BYTES = 256_000
"""Limit on an XMP packet; parsed, it takes up to two hundred times as much memory."""

XMP_HEADER = '<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?>'
XMP_TRAILER = '<?xpacket end="w"?>'
EMPTY_XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta>'.encode()


def read_exif(image: ImageFile.ImageFile, file: IO[bytes]) -> Image.Exif:
    """Return the EXIF of a file, empty if it is missing or damaged.

    Args:
        image: opened from `file`, not decoded yet.
        file: positioned anywhere.
    """
    try:
        if image.format in ("AVIF", "HEIF"):
            # `getexif` would look for an orientation in XMP; the container's own counts.
            return _parse_exif(image.info.get("exif"))
        if image.format == "PNG" and "exif" not in image.info:
            late = _parse_exif(_find_exif_chunk(file))
            return late or Image.Image.getexif(image)
        return Image.Image.getexif(image)  # the method of PNG images decodes the picture
    except Exception:  # decoders raise many types on damaged EXIF
        return Image.Exif()


def _parse_exif(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data or b"")
    return exif


def _find_exif_chunk(file: IO[bytes]) -> bytes | None:
    """Return the EXIF of a PNG wherever it is: Pillow misses it after the pixels."""
    offset = PNG_SIGNATURE_BYTES
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return None
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        offset += 12 + length


def clean_exif(exif: Image.Exif) -> bytes | None:
    """Return the EXIF that the output may keep, as a TIFF structure; None if nothing is left."""
    try:
        kept = Image.Exif()
        for tag in KEPT_MAIN_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if tags := _clean_directory(exif, directory):
                kept[directory] = tags
        data = kept.tobytes().removeprefix(EXIF_PREFIX) if kept else b""
    except Exception:  # decoders raise many types on damaged EXIF
        return None
    return data if 0 < len(data) <= MAX_EXIF_BYTES else None


def _clean_directory(exif: Image.Exif, directory: int) -> dict[int, Any]:
    if directory not in exif:
        return {}
    tags = exif.get_ifd(directory)
    return {tag: value for tag, value in tags.items() if tag not in DROPPED_TAGS}


def read_dpi(image: ImageFile.ImageFile, exif: Image.Exif) -> tuple[float, float] | None:
    """Return pixels per inch, horizontal and vertical, of the picture as stored.

    The format's own field takes precedence over EXIF.

    Returns:
        None if the file has no resolution, or an implausible one.
    """
    own = image.info.get("dpi") if _has_own_dpi(image) else None
    return _plausible_dpi(own) or _plausible_dpi(_dpi_of_exif(exif))


def _has_own_dpi(image: ImageFile.ImageFile) -> bool:
    """Return whether `dpi` comes from the format: elsewhere Pillow fills in EXIF or a default."""
    if image.format in ("JPEG", "MPO"):
        return image.info.get("jfif_unit") in JFIF_DENSITY_UNITS
    return image.format in ("PNG", "BMP")


def _plausible_dpi(dpi: object) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except Exception:  # the file may hold anything
        return None
    if all(math.isfinite(v) and MIN_DPI < v < MAX_DPI for v in (horizontal, vertical)):
        return horizontal, vertical
    return None


def _dpi_of_exif(exif: Image.Exif) -> tuple[float, float] | None:
    """Return pixels per inch, horizontal and vertical; None without a known unit."""
    try:
        horizontal, vertical = float(exif[X_RESOLUTION]), float(exif[Y_RESOLUTION])
        unit = exif.get(RESOLUTION_UNIT, INCH)
    except Exception:  # missing, or not numbers
        return None
    if unit not in (INCH, CENTIMETRE):
        return None
    factor = CM_PER_INCH if unit == CENTIMETRE else 1.0
    return horizontal * factor, vertical * factor


def add_dpi_to_exif(data: bytes | None, dpi: tuple[float, float] | None) -> bytes | None:
    """Add the resolution to EXIF, for formats that have no field of their own for it.

    Args:
        data: EXIF as returned by `clean_exif`; None if there is none.
        dpi: pixels per inch, horizontal and vertical; None to return `data` as it is.
    """
    if dpi is None:
        return data
    exif = _parse_exif(data)
    exif[X_RESOLUTION], exif[Y_RESOLUTION] = dpi
    exif[RESOLUTION_UNIT] = INCH
    return exif.tobytes().removeprefix(EXIF_PREFIX)


def clean_xmp(packet: object) -> bytes | None:
    """Return the XMP packet that the output may keep.

    Args:
        packet: whatever the file holds in place of XMP.

    Returns:
        None if the packet is missing, damaged, dangerous or longer than `MAX_XMP_BYTES`.
    """
    if not isinstance(packet, bytes):
        return None
    try:
        document = _parse_xmp(packet)
        _remove_properties(document, *DROPPED_PROPERTIES)
        _remove_namespaces(document, *APPENDED)
        return _serialise(document)
    except Exception:  # parsers raise many types, and RecursionError on deep nesting
        return None


def mark_synthetic_detail(packet: bytes | None) -> bytes:
    """Add the statement that the picture was algorithmically enhanced to an XMP packet.

    Args:
        packet: packet whose other statements are kept; None, or an unreadable one, counts
            as empty. An earlier statement about the source type is replaced.
    """
    document = _parse_xmp(clean_xmp(packet) or EMPTY_XMP)
    _remove_properties(document, SOURCE_TYPE)
    root = document.getElementsByTagNameNS(RDF, "RDF")[0]
    root.appendChild(_enhanced_statement(document, root))
    return _serialise(document)


def _enhanced_statement(document: Document, root: Element) -> Element:
    """Create the statement, about the same resource as all others: a packet has only one."""
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
    """Parse a packet.

    Raises:
        ValueError: if it is too long, or not XMP. Besides, whatever the parser raises.
    """
    if len(packet) > MAX_XMP_BYTES:
        raise ValueError(f"XMP must have at most {MAX_XMP_BYTES} bytes. Received: {len(packet)}")
    document: Document = parseString(packet.rstrip(b"\0 \n\r\t"), forbid_dtd=True)
    if not document.getElementsByTagNameNS(RDF, "RDF"):
        raise ValueError("XMP must have an element RDF. Received: none")
    return document


def _remove_properties(document: Document, *names: tuple[str, str]) -> None:
    """Remove properties by namespace and name, whether they are elements or attributes."""
    for element in list(_elements(document)):
        for name in names:
            if element.hasAttributeNS(*name):
                element.removeAttributeNS(*name)
        if (element.namespaceURI, element.localName) in names and element.parentNode:
            element.parentNode.removeChild(element)


def _remove_namespaces(document: Document, *namespaces: str) -> None:
    """Remove all properties of namespaces, and their declarations."""
    for element in list(_elements(document)):
        if element.namespaceURI in namespaces and element.parentNode:
            element.parentNode.removeChild(element)
            continue
        for attribute in list(element.attributes.values()):
            is_declaration = attribute.namespaceURI == XMLNS and attribute.value in namespaces
            if is_declaration or attribute.namespaceURI in namespaces:
                element.removeAttributeNode(attribute)


def _elements(document: Document) -> Iterator[Element]:
    """Yield all elements, without recursion: packets may be nested deeply."""
    pending: list[Node] = [document]
    while pending:
        node = pending.pop()
        if isinstance(node, Element):
            yield node
        pending.extend(node.childNodes)


def _serialise(document: Document) -> bytes:
    root = document.documentElement
    return f"{XMP_HEADER}{root.toxml() if root else ''}{XMP_TRAILER}".encode()
