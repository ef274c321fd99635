"""Clips of video to frames and back; the only importer of FFmpeg's libraries.

What is read, is read in processes of their own. Frames come out upright, progressive, as
RGB of 8 bits, with the times that the file gives them; they go back with the shape of
their pixels and the meaning of their colours, and beside what else was in the file.
"""

from core.video.containers import CODECS, FORMATS, SUFFIXES, sniff
from core.video.encoding import Encoding
from core.video.joining import Output
from core.video.medium import Video, read_video_header

__all__ = [
    "CODECS",
    "FORMATS",
    "SUFFIXES",
    "Encoding",
    "Output",
    "Video",
    "read_video_header",
    "sniff",
]
