"""Which files are taken and written, known by what is in them and never by their names."""

import re
from pathlib import Path
from typing import NamedTuple

H264, HEVC, VP9, AV1 = "h264", "hevc", "vp9", "av1"

MP4, MOV, WEBM, MKV = "mp4", "mov", "webm", "mkv"


class Container(NamedTuple):
    """A kind of file.

    Attributes:
        name: as people write it.
        suffix: of its files.
        mimetype: likewise.
        demuxer: what reads it, as FFmpeg calls it; nothing else is asked to.
        muxer: what writes it.
        codecs: of video that it holds, the usual one first.
    """

    name: str
    suffix: str
    mimetype: str
    demuxer: str
    muxer: str
    codecs: tuple[str, ...]


CONTAINERS = {
    MP4: Container("MP4", ".mp4", "video/mp4", "mov", "mp4", (H264, HEVC, VP9, AV1)),
    MOV: Container("MOV", ".mov", "video/quicktime", "mov", "mov", (H264, HEVC)),
    WEBM: Container("WebM", ".webm", "video/webm", "matroska", "webm", (VP9, AV1)),
    MKV: Container(
        "MKV", ".mkv", "video/x-matroska", "matroska", "matroska", (H264, HEVC, VP9, AV1)
    ),
}
FORMATS = tuple(CONTAINERS)
"""That a clip may be written in, as `ClipWish.format` has them."""

CODECS = (H264, HEVC, VP9, AV1)

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv")
"""Of files that are likely to be clips, in lower case."""

HEAD_BYTES = 64
BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}
"""With which files of QuickTime and MP4 begin."""

PICTURES = {
    b"avif",
    b"avis",
    b"mif1",
    b"msf1",
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
}
"""Brands of files that look like MP4 and hold pictures."""

QUICKTIME = b"qt  "
EBML = b"\x1a\x45\xdf\xa3"
DOCUMENT = re.compile(rb"\x42\x82[\x81-\xff](webm|matroska)", re.DOTALL)


def sniff(path: Path) -> str | None:
    """Which of `FORMATS` a file is by its first bytes; None if it is none of them."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(EBML):
        document = DOCUMENT.search(head)
        return MKV if document is None or document[1] == b"matroska" else WEBM
    if head[4:8] not in BOXES or head[8:12] in PICTURES:
        return None
    is_quicktime = head[4:8] != b"ftyp" or head[8:12] == QUICKTIME
    return MOV if is_quicktime else MP4
