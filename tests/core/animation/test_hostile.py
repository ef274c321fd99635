"""Files cut off and changed anywhere: an error of ours, or frames up to there."""

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
    """Frames that there are; None if there is an error of ours."""
    file = io.BytesIO(data)
    is_animation(file)
    try:
        reel = read_animation(file, LIMITS)
        return len(list(reel.frames()))
    except SuperResolutionError:
        return None


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_cut_off(file_format):
    data = encoded(file_format)
    counts = [frames_or_error(data[:end]) for end in range(0, len(data), 10)]
    known = [count for count in counts if count is not None]
    assert counts[0] is None and known == sorted(known)
    assert set(known) >= {1, 2, 3}
    for end in (len(data) // 3, len(data) - 10):
        assert read_animation(io.BytesIO(data[:end]), LIMITS).damage


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_changed(file_format):
    rng, data = np.random.default_rng(0), encoded(file_format)
    for _ in range(150):
        changed = bytearray(data)
        for place in rng.integers(0, min(len(data), rng.choice([40, 900, 10**6])), 3):
            changed[place] = rng.integers(0, 256)
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
def test_beginnings(data):
    assert frames_or_error(data) is None
