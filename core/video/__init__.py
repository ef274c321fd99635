"""Clips of video to frames and back; the only importer of FFmpeg's libraries.

What is read, is read in processes of their own. Frames come out upright, progressive, as
RGB of 8 bits, with the times that the file gives them; they go back with the shape of
their pixels and the meaning of their colours, and beside what else was in the file.
"""

from core.video.colour import SRGB, Colour
from core.video.container import CODECS, CONTAINERS, FORMATS, SUFFIXES, sniff
from core.video.encoder import LARGEST_SIDE, USUAL_QUALITY, EncoderSettings, write_part
from core.video.join import VideoOutput, encode_alone, join_alone
from core.video.raw import RawClip, read_raw, write_raw
from core.video.video import Video, choose_codec, read_video_header

__all__ = [
    "CODECS",
    "CONTAINERS",
    "FORMATS",
    "LARGEST_SIDE",
    "SRGB",
    "SUFFIXES",
    "USUAL_QUALITY",
    "Colour",
    "EncoderSettings",
    "VideoOutput",
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
