"""Truncated and corrupted files yield frames up to the damage, or one of our errors."""

import io

import numpy as np
import pytest
from PIL import Image

from core.animation import is_animation, read_animation
from core.errors import SuperResolutionError
from core.images import Limits
from core.media.medium import ClipLimits
from tests.support.picture_files import PNG_SIGNATURE, chunk
from tests.support.stand_ins import noise

LIMITS = ClipLimits(Limits(10_000, 1000, 50), 60)
FRAMES = 4


def encoded(file_format):
    file = io.BytesIO()
    frames = [Image.fromarray(noise(12, 17, 3, seed)) for seed in range(FRAMES)]
    frames[0].save(file, file_format, save_all=True, append_images=frames[1:], duration=50, loop=2)
    return file.getvalue()


def png_without_pixels():
    return PNG_SIGNATURE + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b"")


def frames_or_error(data):
    """Return the number of frames, or None for one of our errors."""
    file = io.BytesIO(data)
    is_animation(file)
    try:
        animation = read_animation(file, LIMITS)
        return len(list(animation.frames()))
    except SuperResolutionError:
        return None


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_truncated_files_yield_frames_or_our_error(file_format):
    data = encoded(file_format)
    counts = [frames_or_error(data[:end]) for end in range(0, len(data), 10)]
    known = [count for count in counts if count is not None]
    assert counts[0] is None and known == sorted(known)
    assert set(known) >= {1, 2, 3}
    for end in (len(data) // 3, len(data) - 10):
        assert read_animation(io.BytesIO(data[:end]), LIMITS).damage


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_corrupted_files_yield_frames_or_our_error(file_format):
    rng, data = np.random.default_rng(0), encoded(file_format)
    for _ in range(150):
        changed = bytearray(data)
        for position in rng.integers(0, min(len(data), rng.choice([40, 900, 10**6])), 3):
            changed[position] = rng.integers(0, 256)
        count = frames_or_error(bytes(changed))
        assert count is None or 1 <= count <= 50


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\x16\0\0\0WEBPVP8X\0\0\0\0",
        b"\x89PNG\r\n",
        png_without_pixels(),
    ],
)
def test_file_heads_without_frames_are_refused(data):
    assert frames_or_error(data) is None
