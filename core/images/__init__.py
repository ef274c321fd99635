"""Encoded pictures to arrays and back; the only importer of the libraries that do it.

A picture is judged by its header before a pixel of it is decoded. What comes out is
sRGB and upright, of 8 or 16 bits; alpha and all that the network does not see are set
aside, to be put back on afterwards.
"""

from core.images.decode import (
    FORMAT_NAMES,
    FORMATS,
    SUFFIXES,
    TAKEN,
    Limits,
    decode_image,
    decode_rgb,
    read_header,
)
from core.images.encode import (
    OUTPUT_FORMATS,
    ImageOutput,
    check_output_size,
    encode_jpeg,
    encode_picture,
    encode_png,
)
from core.images.metadata import note_synthetic_detail
from core.images.profiles import from_srgb
from core.images.resize import resize_bicubic, resize_bicubic_rows

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "OUTPUT_FORMATS",
    "SUFFIXES",
    "TAKEN",
    "Limits",
    "ImageOutput",
    "check_output_size",
    "decode_image",
    "decode_rgb",
    "encode_jpeg",
    "encode_picture",
    "encode_png",
    "from_srgb",
    "note_synthetic_detail",
    "read_header",
    "resize_bicubic",
    "resize_bicubic_rows",
]
