"""What the boxes of an AVIF file say about its colours, which Pillow does not tell.

Source: ISO/IEC 14496-12, sections 4.2 and 12.1.5; ISO/IEC 23008-12 (HEIF), sections 6.5 and 9.3;
AV1 Codec ISO Media File Format Binding, section 2.3; AVIF 1.1, section 2.
"""

import struct
from collections.abc import Iterator

MAX_BOXES = 10_000
"""Number of boxes in one box up to which they are read; a file may claim any number."""

HIGH_BIT_DEPTH, TWELVE_BITS = 0x40, 0x20
"""Flags in the third byte of `av1C`."""

WIDE_INDEX = 0x1
"""Flag of `ipma`: indices of properties have two bytes."""

Property = tuple[bytes, bytes]
"""Kind and content of a property of an item."""


def read_avif_info(data: bytes) -> dict[str, object]:
    """Return bit depth and colours of the main picture, with the keys that pillow-heif uses.

    Args:
        data: the whole file. Damage ends the search.

    Returns:
        `bit_depth`, and where the file has them `nclx_profile` and `content_light_level`.
    """
    try:
        properties = _main_properties(data)
    except (struct.error, IndexError):
        properties = []
    info: dict[str, object] = {"bit_depth": _bit_depth(properties)}
    for kind, content in properties:
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
            names = ("color_primaries", "transfer_characteristics", "matrix_coefficients")
            info["nclx_profile"] = dict(
                zip(names, struct.unpack_from(">3H", content, 4), strict=True)
            )
        if kind == b"clli" and len(content) >= 2:
            info["content_light_level"] = {
                "max_content_light_level": int.from_bytes(content[:2], "big")
            }
    return info


def _bit_depth(properties: list[Property]) -> int:
    for kind, content in properties:
        if kind == b"pixi" and len(content) > 5:
            return max(content[5 : 5 + content[4]], default=8)
    for kind, content in properties:
        if kind == b"av1C" and len(content) > 2 and content[2] & HIGH_BIT_DEPTH:
            return 12 if content[2] & TWELVE_BITS else 10
    return 8


def _main_properties(data: bytes) -> list[Property]:
    """Return the properties of the main item."""
    meta = _find(data, b"meta")[4:]
    properties = _find(meta, b"iprp")
    available = list(_boxes(_find(properties, b"ipco")))
    main = _find(meta, b"pitm")
    item = struct.unpack_from(">I" if main[0] else ">H", main, 4)[0]
    indices = _property_indices(_find(properties, b"ipma"), item)
    return [available[index - 1] for index in indices if 0 < index <= len(available)]


def _property_indices(associations: bytes, item: int) -> list[int]:
    """Return the indices of an item's properties, counted from 1; empty if it has none."""
    version, flags, entries = associations[0], associations[3], associations[4:8]
    head = struct.Struct(">IB" if version else ">HB")
    width, mask = (2, 0x7FFF) if flags & WIDE_INDEX else (1, 0x7F)
    position = 8
    for _ in range(int.from_bytes(entries, "big")):
        found, count = head.unpack_from(associations, position)
        position += head.size
        end = position + count * width
        if found == item:
            places = range(position, end, width)
            return [
                int.from_bytes(associations[place : place + width], "big") & mask
                for place in places
            ]
        position = end
    return []


def _find(data: bytes, kind: bytes) -> bytes:
    """Return the content of the first box of a kind; raise IndexError if there is none."""
    for found, content in _boxes(data):
        if found == kind:
            return content
    raise IndexError(f"no box {kind!r}")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes that follow each other."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, position + 8), 16
        end = position + size if size else len(data)
        if size and size < head:
            return
        if kind not in (b"mdat", b"free", b"skip"):
            yield kind, data[position + head : end]
        position = end
