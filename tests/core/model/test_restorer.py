import numpy as np
import pytest

from core.errors import GraphMismatch, InvalidRestore, RequestAbandoned
from core.model.passes import take_rows
from core.model.restorer import Restoration, Restorer
from core.model.tiles import WindowSizes
from core.model.upscaler import Upscaler
from core.picture import Picture
from core.runtime.tile_tasks import RequestDeadline
from tests.support.stand_ins import (
    blur_then_repeat,
    coarsen,
    make_card,
    make_restorer,
    noise,
    plain_grid,
    repeat,
    restored_whole,
)

SIZES = [(1, 1), (1, 90), (2, 3), (5, 4), (37, 61), (64, 64), (130, 57)]


def wide_noise(height, width):
    return np.random.default_rng(0).integers(0, 65536, (height, width, 3), np.uint16)


@pytest.fixture
def upscaler():
    return Upscaler(make_card(), blur_then_repeat, window=16, restorer=make_restorer())


def upscale(upscaler, lr, strength, **options):
    return upscaler.upscale(lr, restoration=upscaler.restoration(lr, strength), **options)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("window", [24, 40, 400])
def test_the_result_does_not_depend_on_the_tiles(height, width, window):
    lr = noise(height, width)
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=make_restorer(window=window))
    sr = upscale(upscaler, Picture(lr), 1.0).pixels
    assert sr.dtype == np.uint8
    whole = np.clip(np.rint(repeat(restored_whole(lr, 1.0))), 0, 255)
    assert np.abs(sr.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_the_upscaler_sees_a_blend_that_is_not_rounded(strength):
    seen = []

    def network(lr):
        seen.append(lr)
        return repeat(lr)

    lr = noise(10, 12)
    upscaler = Upscaler(make_card(), network, window=64, restorer=make_restorer())
    upscale(upscaler, Picture(lr), strength)
    assert seen[0].dtype == np.float32
    np.testing.assert_allclose(seen[0], restored_whole(lr, strength), atol=1e-4)


def test_strength_0_is_the_picture_itself(upscaler):
    lr = Picture(noise(20, 30))
    assert upscaler.restoration(lr, 0.0) is None
    np.testing.assert_array_equal(
        upscale(upscaler, lr, 0.0).pixels,
        Upscaler(make_card(), blur_then_repeat, window=16).upscale(lr).pixels,
    )


def test_a_picture_of_16_bits_keeps_its_depth():
    lr = wide_noise(20, 30)
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=make_restorer())
    sr = upscale(upscaler, Picture(lr), 1.0).pixels
    assert sr.dtype == np.uint16
    assert np.abs(sr - 257.0 * repeat(restored_whole(lr, 1.0))).max() <= 0.6


def test_grey_stays_grey_whatever_the_restorer_does():
    def colourful(levels):
        return levels + np.array([30, 0, 0], np.float32)

    grey = np.repeat(noise(20, 30, 1) // 2, 3, axis=2)
    restorer = make_restorer(colourful)
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=restorer)
    sr = upscale(upscaler, Picture(grey, is_grey=True), 1.0)
    assert sr.is_grey
    np.testing.assert_array_equal(sr.pixels, repeat(grey) + 10)


def test_alpha_is_not_restored():
    pixels = noise(20, 30)
    lr = Picture(pixels, pixels[..., 1])
    upscaler = Upscaler(make_card(), repeat, window=16, restorer=make_restorer())
    np.testing.assert_array_equal(upscale(upscaler, lr, 1.0).alpha, repeat(lr.alpha))


def test_windows_begin_and_end_on_multiples_of_the_stride():
    seen = []

    def network(levels):
        seen.append(levels.shape)
        return coarsen(levels)

    restorer = make_restorer(network)
    tiles = [tile for row in restorer.plan(61, 79) for tile in row]
    assert {edge % 4 for tile in tiles for edge in tile.window} == {0}
    assert restorer.halo == 8
    upscale(
        Upscaler(make_card(), repeat, window=16, restorer=restorer), Picture(noise(61, 79)), 1.0
    )
    assert len(seen) == len(tiles)


def test_rows_are_restored_when_they_are_needed_and_released_afterwards(upscaler):
    lr = Picture(noise(400, 16))
    restoration = upscaler.restoration(lr, 1.0)
    most = 0
    for strip in upscaler.strips(lr, restoration=restoration):
        most = max(most, restoration.rows_held)
        assert strip.shape[1] == 64
    plan = upscaler.plan_result(plain_grid(lr), is_restored=True)
    assert 0 < most * 12 * 16 <= upscaler.restoring_bytes(plan)
    assert most < 150


def test_tiles_that_nobody_fetches_are_not_restored():
    runs = []

    def network(levels):
        runs.append(levels.shape)
        return coarsen(levels)

    upscaler = Upscaler(make_card(), repeat, window=16, restorer=make_restorer(network))
    lr = Picture(noise(2000, 16))
    strips = upscaler.strips(lr, restoration=upscaler.restoration(lr, 1.0))
    next(strips)
    strips.close()
    assert len(runs) <= 8
    assert upscaler.scheduler.backlog_s == 0


def test_progress_counts_the_tiles_of_both_networks(upscaler):
    reported = []
    lr = Picture(noise(50, 40))
    upscale(upscaler, lr, 1.0, progress=lambda done, total: reported.append((done, total)))
    plain, restored = (
        upscaler.plan_result(plain_grid(lr), is_restored=is_restored).tiles
        for is_restored in (False, True)
    )
    assert restored > plain
    assert reported == [(done, restored) for done in range(1, restored + 1)]


def test_restoring_ends_when_the_caller_has_left(upscaler):
    lr = Picture(noise(50, 40))
    with pytest.raises(RequestAbandoned):
        upscale(upscaler, lr, 1.0, deadline=RequestDeadline(is_gone=lambda: True))


def test_detail_chooses_the_weights_of_the_restorer():
    def between(levels, detail):
        return np.full_like(levels, 100 * detail)

    card = make_card(scale=1)
    lr = Picture(noise(8, 8))
    for interpolated, level in ((between, 50), (None, 7)):
        restorer = Restorer(card, lambda levels: np.full_like(levels, 7), interpolated=interpolated)
        upscaler = Upscaler(
            make_card(), repeat, window=16, restorer=restorer, interpolated=lambda lr, _: repeat(lr)
        )
        assert (upscale(upscaler, lr, 1.0, detail=0.5).pixels == level).all()
        assert (upscale(upscaler, lr, 1.0).pixels == 7).all()


def test_weights_for_restored_pictures_depend_on_detail_and_strength():
    def tuned(levels, detail, strength):
        return repeat(np.full_like(levels, 100 * detail + strength * 10))

    upscaler = Upscaler(
        make_card(),
        repeat,
        window=16,
        interpolated=lambda lr, _: repeat(lr),
        restorer=make_restorer(),
        restored=tuned,
    )
    lr = Picture(noise(8, 8))
    assert (upscale(upscaler, lr, 0.5, detail=0.25).pixels == 30).all()
    np.testing.assert_array_equal(upscaler.upscale(lr).pixels, repeat(lr.pixels))


def test_warming_up_runs_both_networks_on_a_whole_window():
    seen = []

    def network(window):
        seen.append((window.shape, str(window.dtype)))
        return window

    restorer = Restorer(make_card(scale=1), network, windows=WindowSizes(24, 48))
    Upscaler(make_card(), network, window=16, restorer=restorer).warm_up()
    assert seen == [
        ((16, 16, 3), "uint8"),
        ((48, 48, 3), "float32"),
        ((16, 16, 3), "float32"),
    ]


def test_warming_up_runs_the_tuned_networks_of_full_and_of_lower_strength():
    seen = []

    def tuned(window, detail, strength):
        seen.append((window.shape, detail, strength))
        return repeat(window)

    restorer = make_restorer()
    Upscaler(make_card(), repeat, window=16, restorer=restorer, restored=tuned).warm_up()
    assert seen == [((16, 16, 3), 1.0, 1.0), ((16, 16, 3), 1.0, 0.5)]


@pytest.mark.parametrize("restore", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_its_range_is_refused(upscaler, restore):
    with pytest.raises(InvalidRestore, match=f"from 0 to 1, or auto. Received: {restore:g}"):
        upscaler.choose_strength(Picture(noise(2, 2)), restore)


def test_without_a_restorer_there_is_only_strength_0():
    upscaler = Upscaler(make_card(), repeat, window=16)
    lr = Picture(noise(2, 2))
    assert upscaler.choose_strength(lr, "auto") == upscaler.choose_strength(lr, 0.0) == 0
    assert upscaler.restoring_bytes(upscaler.plan_result(plain_grid(lr), is_restored=True)) == 0
    with pytest.raises(InvalidRestore, match="no restorer beside it. Received: 0.5"):
        upscaler.choose_strength(lr, 0.5)


def test_auto_follows_the_condition_of_the_picture(upscaler, monkeypatch):
    monkeypatch.setattr("core.model.upscaler.recommend_strength", lambda lr: lr.height / 10)
    assert upscaler.choose_strength(Picture(noise(4, 2)), "auto") == 0.4
    assert upscaler.choose_strength(Picture(noise(4, 2)), 0.9) == 0.9


@pytest.mark.parametrize("changes", [{"scale": 4}, {"stride": 3}])
def test_a_card_that_is_not_of_a_restorer_is_refused(changes):
    with pytest.raises(GraphMismatch, match="scale 1 and a stride that divides 8"):
        make_restorer(**changes)


def test_every_window_finds_its_rows():
    upscaled = Upscaler(make_card(), repeat, window=16).plan(100, 30)
    restored = make_restorer().plan(100, 30)
    bottom = 0
    bottoms = [row[0].window.bottom for row in upscaled]
    for needed, rows in zip(bottoms, take_rows(restored, bottoms), strict=True):
        bottom = max([bottom, *(row[0].core.bottom for row in rows)])
        assert bottom >= needed


def test_released_rows_are_gone():
    lr = Picture(noise(60, 20))
    restorer = make_restorer()
    restoration = Restoration(lr, 1.0, restorer)
    for row in restorer.plan(60, 20):
        for tile in row:
            restoration.restore_tile(tile, 1.0)
    assert restoration.rows_held == 60
    restoration.release(30)
    assert 30 <= restoration.rows_held < 60
