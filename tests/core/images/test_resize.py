import re

import numpy as np
import pytest

from core.images import (
    RESIZE_KERNELS,
    resize,
    resize_bicubic,
    resize_bicubic_rows,
    resize_with_kernel,
)
from tests.support.stand_ins import noise


def test_bicubic_resizing_keeps_a_flat_colour():
    flat = np.full((8, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(resize_bicubic(flat, 2, 3), flat[:2, :3])


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (37, 53), (300, 200)])
@pytest.mark.parametrize("rows", [1, 2, 7, 64, 130])
def test_strips_are_resized_like_the_whole_picture(height, width, channels, rows):
    pixels = noise(height, width, channels or 1)
    pixels = pixels if channels else pixels[..., 0]
    np.testing.assert_array_equal(in_strips(pixels, 4, rows), in_whole(pixels, 4))


@pytest.mark.parametrize("scale", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("height", "width"), [(3, 90), (90, 3)])
def test_strips_match_the_whole_picture_at_any_scale(height, width, scale):
    pixels = noise(height, width)
    np.testing.assert_array_equal(in_strips(pixels, scale, 11), in_whole(pixels, scale))


def in_strips(pixels, scale, rows):
    height = scale * len(pixels)
    strips = [
        resize_bicubic_rows(pixels, scale, top, min(top + rows, height))
        for top in range(0, height, rows)
    ]
    return np.concatenate(strips)


def in_whole(pixels, scale):
    height, width = pixels.shape[:2]
    return resize_bicubic(pixels, scale * height, scale * width)


def test_a_strip_is_resized_from_only_a_few_rows(monkeypatch):
    seen = []

    def recorded(pixels, height, width):
        seen.append((len(pixels), height, width))
        return resize_bicubic(pixels, height, width)

    monkeypatch.setattr(resize, "resize_bicubic", recorded)
    strip = resize_bicubic_rows(noise(300, 20), 4, 401, 403)
    assert (strip.shape, seen) == ((2, 80, 3), [(5, 20, 80)])


@pytest.mark.parametrize(("top", "bottom"), [(-1, 3), (3, 3), (5, 4), (19, 21)])
def test_rows_outside_the_resized_picture_are_refused(top, bottom):
    with pytest.raises(ValueError, match=re.escape(f"Received: [{top}, {bottom})")):
        resize_bicubic_rows(noise(5, 7), 4, top, bottom)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_pictures_are_resized_with_16_bit_precision(channels):
    coarse = noise(9, 11, channels) // 2 + 64
    fine = resize_bicubic(coarse.squeeze().astype(np.uint16) * 257, 36, 44)
    assert fine.dtype == np.uint16
    np.testing.assert_allclose(fine / 257, resize_bicubic(coarse.squeeze(), 36, 44), atol=2)
    assert (fine % 257).any()


def test_16_bit_overshoot_is_clipped_not_wrapped():
    edge = np.repeat(np.uint16([[0, 65535]]), 6, axis=1).repeat(8, axis=0)
    resized = resize_bicubic(edge, 32, 48).astype(int)
    assert (np.diff(resized[:, 20:28]) >= 0).all()  # the curve overshoots beside the edge
    assert (resized[0, 18], resized[0, 29]) == (0, 65535)


def test_16_bit_strips_are_resized_like_the_whole_picture():
    pixels = noise(37, 53).astype(np.uint16) * 201
    np.testing.assert_array_equal(in_strips(pixels, 4, 30), in_whole(pixels, 4))


@pytest.mark.parametrize("kernel", RESIZE_KERNELS)
def test_every_kernel_keeps_a_flat_colour_and_gives_the_size_asked_for(kernel):
    flat = np.full((8, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(
        resize_with_kernel(flat, 5, 9, kernel), np.full((5, 9, 3), 77, np.uint8)
    )


def test_the_box_kernel_is_the_mean_and_kernels_differ():
    pixels = noise(16, 24)
    boxes = pixels.reshape(4, 4, 6, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize_with_kernel(pixels, 4, 6, "box") - boxes).max() <= 1
    results = {resize_with_kernel(pixels, 4, 6, kernel).tobytes() for kernel in RESIZE_KERNELS}
    assert len(results) == 4
