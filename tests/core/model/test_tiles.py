import numpy as np
import pytest

from core.model.tiles import MAX_LARGE_WINDOWS, Box, WindowSizes, plan_side, plan_tiles
from tests.support.stand_ins import RADIUS, SCALE, blur_then_repeat, noise

SIDES = [(length, window, halo) for length in range(1, 90) for window, halo in ((10, 2), (16, 7))]


def upscale_tiled(lr, *, window, halo):
    height, width, channels = lr.shape
    sr = np.zeros((SCALE * height, SCALE * width, channels), np.uint8)
    for row in plan_tiles(height, width, window=window, halo=halo):
        for tile in row:
            tile.core.scaled(SCALE).crop(sr)[:] = tile.upscale(lr, blur_then_repeat, SCALE)
    return sr


@pytest.mark.parametrize(("length", "window", "halo"), SIDES)
def test_cores_cover_a_side_once_each_in_a_window_of_one_length(length, window, halo):
    spans = list(plan_side(length, window, halo))
    starts, ends = [span.core[0] for span in spans], [span.core[1] for span in spans]
    assert starts == [0, *ends[:-1]]
    assert ends[-1] == length
    (side,) = {end - start for _, (start, end) in spans}
    assert side <= min(window, length)
    assert length <= side * len(spans) - 2 * halo * (len(spans) - 1) < length + 9 * len(spans)


@pytest.mark.parametrize(("length", "window", "halo"), SIDES)
def test_there_are_no_more_windows_than_needed(length, window, halo):
    fewest = next(n for n in range(1, 100) if n * window - 2 * halo * (n - 1) >= length)
    assert len(list(plan_side(length, window, halo))) == fewest


@pytest.mark.parametrize(
    ("size", "count", "window"),
    [
        ((40, 30), 1, (40, 30)),
        ((192, 192), 1, (192, 192)),
        ((256, 256), 4, (144, 144)),
        ((512, 500), 9, (192, 192)),
        ((300, 100), 2, (168, 100)),
        ((100, 1000), 7, (100, 176)),
        ((100, 2000), 21, (100, 128)),
        ((513, 500), 30, (120, 128)),
    ],
)
def test_large_windows_are_for_pictures_that_need_few(size, count, window):
    tiles = [tile for row in WindowSizes(128, 192).plan(*size, halo=16) for tile in row]
    assert len(tiles) == count
    assert {(tile.window.height, tile.window.width) for tile in tiles} == {window}
    assert count <= MAX_LARGE_WINDOWS or max(window) <= 128


@pytest.mark.parametrize(("length", "window", "halo"), SIDES)
def test_a_core_has_its_halo_on_every_side_inside_the_picture(length, window, halo):
    for core, (start, end) in plan_side(length, window, halo):
        assert start == 0 or core[0] - start >= halo
        assert end == length or end - core[1] >= halo


@pytest.mark.parametrize(("window", "halo"), [(10, 2), (16, 6), (17, 5)])
def test_windows_begin_on_multiples_of_the_stride(window, halo):
    for length in range(1, 90):
        (row,) = plan_tiles(1, length, window=window, halo=halo, stride=2)
        cores = [(tile.core.left, tile.core.right) for tile in row]
        assert [left for left, _ in cores] == [0, *(right for _, right in cores[:-1])]
        assert cores[-1][1] == length
        for tile in row:
            left, right = tile.window.left, tile.window.right
            assert left % 2 == 0
            assert right == length or right % 2 == 0
            assert right - left <= window
            assert left == 0 or tile.core.left - left >= halo
            assert right == length or right - tile.core.right >= halo


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (15, 16), (17, 16), (37, 61)])
def test_tiled_equals_untiled_where_the_halo_is_the_radius(size):
    lr = noise(*size)
    np.testing.assert_array_equal(upscale_tiled(lr, window=16, halo=RADIUS), blur_then_repeat(lr))


def test_a_halo_that_is_too_small_changes_the_result():
    lr = noise(37, 61)
    tiled = upscale_tiled(lr, window=16, halo=RADIUS - 1)
    assert not np.array_equal(tiled, blur_then_repeat(lr))


def test_a_box_counts_its_pixels_and_converts_to_another_box():
    box = Box(2, 3, 5, 9)
    assert box.pixels == 18
    assert box.grown(2, 6, 20) == Box(0, 1, 6, 11)
    assert box.relative_to(Box(1, 1, 9, 9)) == Box(1, 2, 4, 8)
    assert box.scaled(4) == Box(8, 12, 20, 36)
