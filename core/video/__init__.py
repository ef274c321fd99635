"""Video clips: decode to frames, encode from frames. Only this package imports PyAV (FFmpeg).

Files are read in separate processes. Decoded frames are upright, progressive 8-bit RGB with
the timestamps of the file. The output keeps the pixel aspect ratio, the meaning of the colours
and the other streams of the file.
"""

from core.video.colour import SRGB, Colour
from core.video.container import CODECS, CONTAINERS, FORMATS, SUFFIXES, sniff
from core.video.encoder import (
    DEFAULT_QUALITY,
    MAX_SIDE,
    EncoderSettings,
    check_encodable,
    even_size,
)
from core.video.frames import RAW_MAGIC, RawClip, Readable, read_raw, write_raw
from core.video.parts import VideoOutput, write_silent_video
from core.video.video import Video, choose_codec, read_video_header

__all__ = [
    "CODECS",
    "CONTAINERS",
    "DEFAULT_QUALITY",
    "FORMATS",
    "MAX_SIDE",
    "RAW_MAGIC",
    "SRGB",
    "SUFFIXES",
    "Colour",
    "EncoderSettings",
    "RawClip",
    "Readable",
    "Video",
    "VideoOutput",
    "check_encodable",
    "choose_codec",
    "even_size",
    "read_raw",
    "read_video_header",
    "sniff",
    "write_raw",
    "write_silent_video",
]
