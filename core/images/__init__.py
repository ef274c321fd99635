"""Decoding and encoding of still pictures.

Only this package imports imagecodecs and pillow-heif; Pillow is used here and in
`core.animation`.

A file's header is checked before any pixel is decoded. A decoded picture is upright sRGB
of 8 or 16 bits; its alpha and metadata are kept apart, to be put back into the output.

- `decode`: limits, supported input formats, and the way from a file to a picture
- `header`: sample type, orientation and number of frames
- `samples`: decoding of the samples themselves
- `profiles`: ICC colour profiles
- `alpha`: colour under transparent pixels
- `metadata`: EXIF, XMP and print resolution
- `encode`: output formats, and the way from a picture to a file
- `png`: streaming PNG encoder
- `resize`: resizing with several kernels
- `resample`: resampling of pictures that arrive in strips
- `condition`: traces of compression, noise and blur, and how much to restore a picture
- `scaling_attack`: signs of another picture that is hidden in a picture
"""

from core.images.decode import (
    FORMAT_NAMES,
    INPUT_FORMATS,
    PILLOW_FORMATS,
    SUFFIXES,
    Limits,
    decode_image,
    decode_rgb,
    decode_rows,
    read_header,
)
from core.images.encode import (
    DEFAULT_QUALITY,
    OUTPUT_FORMATS,
    ImageOutput,
    check_output_size,
    encode_jpeg,
    encode_picture,
    encode_png,
    encode_webp,
)
from core.images.metadata import mark_synthetic_detail
from core.images.profiles import from_srgb
from core.images.resize import (
    RESIZE_KERNELS,
    resize_bicubic,
    resize_bicubic_rows,
    resize_with_kernel,
)

__all__ = [
    "DEFAULT_QUALITY",
    "FORMAT_NAMES",
    "INPUT_FORMATS",
    "OUTPUT_FORMATS",
    "PILLOW_FORMATS",
    "RESIZE_KERNELS",
    "SUFFIXES",
    "ImageOutput",
    "Limits",
    "check_output_size",
    "decode_image",
    "decode_rgb",
    "decode_rows",
    "encode_jpeg",
    "encode_picture",
    "encode_png",
    "encode_webp",
    "from_srgb",
    "mark_synthetic_detail",
    "read_header",
    "resize_bicubic",
    "resize_bicubic_rows",
    "resize_with_kernel",
]
