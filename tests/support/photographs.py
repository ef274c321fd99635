"""Stand-ins for photographs: smooth and coloured, each seed another one."""

import csv
import io

import numpy as np
from PIL import Image

from core.images import resize_bicubic


def photograph(seed, height=192, width=256):
    """Return a smooth picture, (height, width, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return resize_bicubic(coarse, height, width)


def encoded(pixels, file_format="PNG", **options):
    """Return the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format, **options)
    return file.getvalue()


def rows_of(path):
    """Return the rows of a CSV table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
