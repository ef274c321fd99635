"""Clips of video to frames and back; the only importer of FFmpeg's libraries.

What is read, is read in processes of their own. Frames come out upright, progressive, as
RGB of 8 bits, with the times that the file gives them; they go back with the shape of
their pixels and the meaning of their colours, and beside what else was in the file.
"""

from core.video.alone import encode_alone, join_alone
from core.video.colour import SRGB, Colour
from core.video.containers import CODECS, CONTAINERS, FORMATS, SUFFIXES, sniff
from core.video.encoding import LARGEST_SIDE, USUAL_QUALITY, Encoding
from core.video.joining import Output
from core.video.medium import Video, read_video_header
from core.video.parts import write_part
from core.video.raw import RawClip, read_raw, write_raw
from core.video.wishes import choose_codec

__all__ = [
    "CODECS",
    "CONTAINERS",
    "FORMATS",
    "LARGEST_SIDE",
    "SRGB",
    "SUFFIXES",
    "USUAL_QUALITY",
    "Colour",
    "Encoding",
    "Output",
    "RawClip",
    "Video",
    "choose_codec",
    "encode_alone",
    "join_alone",
    "read_raw",
    "read_video_header",
    "sniff",
    "write_part",
    "write_raw",
]
