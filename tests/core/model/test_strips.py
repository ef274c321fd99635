"""Results of every size: exact tiles, whatever is restored and however many passes there are."""

from itertools import product

import numpy as np
import pytest

from core.model.band import RowBand
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.picture import Picture
from core.pixels import to_uint8, to_uint16
from tests.support.stand_ins import blur_then_repeat, make_card, make_restorer, noise, repeat

LARGE = 4000
SIDES = [(1, 1), (1, 40), (2, 3), (13, 5), (40, 1), (31, 40)]
FACTORS = [1, 1.37, 2, 3, 4, 4.3, 7.5, 16]


def make_upscaler(window, network=blur_then_repeat):
    restorer = make_restorer(window=max(window, 24))
    return Upscaler(make_card(), network, window=window, restorer=restorer)


def compute(upscaler, lr, strength=0.0, progress=None, **size):
    grid = upscaler.grid(OutputOptions(**size), lr.height, lr.width)
    lr = grid.crop(lr)
    restoration = upscaler.restoration(lr, strength)
    return upscaler.upscale(lr, progress, grid=grid, restoration=restoration)


def wide_noise(height, width):
    return np.random.default_rng(0).integers(0, 65536, (height, width, 3), np.uint16)


@pytest.mark.parametrize("strength", [0, 0.6])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("sides", SIDES)
def test_tiles_change_nothing(sides, factor, strength):
    lr = Picture(noise(*sides), noise(*sides, 1)[..., 0])
    whole, tiled = (
        compute(make_upscaler(window), lr, strength, scale=factor) for window in (LARGE, 12)
    )
    assert (tiled.height, tiled.width) == tuple(max(1, int(side * factor + 0.5)) for side in sides)
    assert np.abs(tiled.pixels.astype(int) - whole.pixels).max() <= 1
    assert np.abs(tiled.alpha.astype(int) - whole.alpha).max() <= 1


def test_a_halo_that_is_too_short_is_noticed_in_both_passes():
    lr = Picture(noise(30, 40))
    short = Upscaler(make_card(halo=1), blur_then_repeat, window=12)
    for factor in (3, 7.5):
        whole = compute(make_upscaler(LARGE), lr, scale=factor)
        assert np.abs(compute(short, lr, scale=factor).pixels.astype(int) - whole.pixels).max() > 1


@pytest.mark.thorough
@pytest.mark.parametrize("factor", [1.37, 2, 3, 4, 7.5])
def test_tiles_change_nothing_in_any_small_picture(factor):
    whole_upscaler, tiled_upscaler = make_upscaler(LARGE), make_upscaler(16)
    for sides in product(range(1, 41), repeat=2):
        lr = Picture(noise(*sides))
        whole, tiled = (compute(u, lr, scale=factor) for u in (whole_upscaler, tiled_upscaler))
        expected = tuple(max(1, int(side * factor + 0.5)) for side in sides)
        assert (tiled.height, tiled.width) == (whole.height, whole.width) == expected
        assert np.abs(tiled.pixels.astype(int) - whole.pixels).max() <= 1


@pytest.mark.parametrize(
    ("sides", "factor"),
    [
        *(((150, 200), factor) for factor in (1.37, 7.5)),
        *(
            pytest.param((300, 400), factor, marks=pytest.mark.thorough)
            for factor in (1.37, 2, 3, 4, 7.5, 16)
        ),
    ],
)
@pytest.mark.parametrize("drawn", ["checkerboard", "gradient"])
def test_there_are_no_seams(drawn, sides, factor):
    y, x = np.indices(sides)
    levels = (y + x) % 2 * 255 if drawn == "checkerboard" else x + 0.2 * y
    lr = Picture(np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2))
    one, other = (compute(make_upscaler(window), lr, scale=factor) for window in (64, 192))
    assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1


@pytest.mark.parametrize("factor", FACTORS)
def test_an_even_picture_stays_even(factor):
    pixels = np.full((9, 14, 3), [10, 200, 77], np.uint8)
    sr = compute(make_upscaler(16, repeat), Picture(pixels, pixels[..., 1]), scale=factor)
    assert (sr.pixels == [10, 200, 77]).all()
    assert (sr.alpha == 200).all()


@pytest.mark.parametrize("factor", FACTORS)
def test_sixteen_bits_and_grey_are_kept_at_every_size(factor):
    pixels = np.repeat(wide_noise(20, 30)[..., :1], 3, axis=2)
    upscaler = make_upscaler(16, repeat)
    sr = compute(upscaler, Picture(pixels, is_grey=True), scale=factor)
    assert (sr.pixels.dtype, sr.channels) == (np.uint16, 1)
    assert len(np.unique(sr.pixels)) > 256
    grid = upscaler.grid(OutputOptions(scale=factor), 20, 30)
    assert next(upscaler.strips(Picture(pixels, is_grey=True), grid=grid)).shape[2] == 1


def test_the_same_size_gives_back_the_same_pixels():
    lr = Picture(noise(300, 20), noise(300, 20, 1)[..., 0])
    upscaler = make_upscaler(16, network=None)
    same = compute(upscaler, lr, scale=1)
    np.testing.assert_array_equal(same.pixels, lr.pixels)
    np.testing.assert_array_equal(same.alpha, lr.alpha)


def test_the_same_size_can_be_restored_without_the_upscaling_network():
    lr = Picture(noise(50, 30), noise(50, 30, 1)[..., 0])
    cleaned = compute(make_upscaler(16, network=None), lr, 1.0, scale=1)
    expected = compute(make_upscaler(LARGE, repeat), lr, 1.0).pixels[::4, ::4]
    np.testing.assert_array_equal(cleaned.pixels, expected)
    np.testing.assert_array_equal(cleaned.alpha, lr.alpha)


def test_sixteen_times_the_size_is_two_plain_passes():
    lr = Picture(noise(9, 14))
    upscaler = make_upscaler(12)
    twice = upscaler.upscale(upscaler.upscale(Picture(to_uint16(lr.pixels))))
    np.testing.assert_array_equal(compute(upscaler, lr, scale=16).pixels, to_uint8(twice.pixels))


def test_four_times_the_size_by_any_name_is_the_plain_result():
    lr = Picture(noise(9, 14))
    upscaler = make_upscaler(12)
    plain = upscaler.upscale(lr).pixels
    for size in ({"scale": 4.0}, {"width": 56}, {"height": 36, "width": 56}):
        np.testing.assert_array_equal(compute(upscaler, lr, **size).pixels, plain)


def test_a_cropped_picture_is_the_middle_of_the_whole_one():
    lr = Picture(noise(20, 41))
    upscaler = make_upscaler(LARGE, repeat)
    whole = compute(upscaler, lr, scale=3).pixels
    covering = compute(upscaler, lr, width=60, height=60, fit="cover").pixels
    difference = covering.astype(int) - whole[:, 31:91]
    assert np.abs(difference[:, 8:-8]).max() <= 1


@pytest.mark.parametrize(("factor", "strength"), [(1, 0.5), (2, 0), (2, 0.5), (7, 0), (7, 0.5)])
def test_progress_counts_the_tiles_of_all_passes(factor, strength):
    told = []
    upscaler = make_upscaler(12)
    lr = Picture(noise(30, 40))
    compute(upscaler, lr, strength, lambda done, total: told.append((done, total)), scale=factor)
    grid = upscaler.grid(OutputOptions(scale=factor), 30, 40)
    count = upscaler.plan_result(grid, is_restored=strength > 0).tiles
    assert told == [(done, count) for done in range(1, count + 1)]


def test_a_second_pass_keeps_a_band_of_rows(monkeypatch):
    bands = []

    class KnownBand(RowBand):
        def __init__(self):
            super().__init__()
            bands.append(self)

    monkeypatch.setattr("core.model.strips.RowBand", KnownBand)
    upscaler = make_upscaler(16)
    grid = upscaler.grid(OutputOptions(scale=8), 400, 12)
    most = 0
    for strip in upscaler.strips(Picture(noise(400, 12)), grid=grid):
        assert strip.shape[1] == 96
        most = max(most, *(band.rows_held for band in bands))
    assert 0 < most < 100


def test_strips_that_nobody_fetches_are_not_computed():
    runs = []

    def network(lr):
        runs.append(lr.shape)
        return repeat(lr)

    upscaler = Upscaler(make_card(), network, window=16)
    grid = upscaler.grid(OutputOptions(scale=8), 400, 16)
    strips = upscaler.strips(Picture(noise(400, 16)), grid=grid)
    next(strips)
    strips.close()
    assert len(runs) < upscaler.plan_result(grid, is_restored=False).tiles / 4
    assert upscaler.scheduler.backlog_s == 0


def test_transparent_colour_does_not_bleed_at_any_size():
    pixels = np.zeros((12, 20, 3), np.uint8)
    pixels[:, 10:] = [200, 100, 50]
    alpha = np.where(np.arange(20) < 10, 0, 255).astype(np.uint8)[None].repeat(12, axis=0)
    for factor in (1.5, 3, 6):
        sr = compute(make_upscaler(16, repeat), Picture(pixels, alpha), scale=factor)
        visible = sr.alpha > 0
        assert 0.4 < visible.mean() < 0.6
        assert np.abs(sr.pixels[visible].astype(int) - [200, 100, 50]).max() <= 1
