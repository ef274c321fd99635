"""XMP packets: what of them may be written, and what is added to them.

Source: XMP Specification Part 1 (ISO 16684-1), sections 7.2 to 7.9; IPTC Photo Metadata
Standard, Digital Source Type, https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

from collections.abc import Iterator
from xml.dom.minidom import Document, Element, Node

from defusedxml.minidom import parseString

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
        document = _parse(packet)
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
    document = _parse(clean_xmp(packet) or EMPTY)
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


def _parse(packet: bytes) -> Document:
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
