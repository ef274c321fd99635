import threading

import numpy as np
import pytest

from core.errors import InvalidDetail
from core.model.upscaler import Upscaler
from core.picture import Extras, Picture
from tests.support.stand_ins import between, blur_then_repeat, make_card, noise, repeat


def wide_noise(height, width):
    return np.random.default_rng(0).integers(0, 65536, (height, width, 3), np.uint16)


@pytest.mark.parametrize("window", [16, 30, 100])
def test_the_result_does_not_depend_on_the_window(window):
    lr = noise(37, 61)
    sr = Upscaler(make_card(), blur_then_repeat, window=window).upscale(Picture(lr))
    np.testing.assert_array_equal(sr.pixels, blur_then_repeat(lr))


@pytest.mark.parametrize("drawn", [noise, wide_noise])
def test_a_picture_keeps_its_depth_its_alpha_and_its_extras(drawn):
    pixels = drawn(20, 30)
    lr = Picture(pixels, pixels[..., 1], extras=Extras(b"profile"))
    sr = Upscaler(make_card(), repeat, window=16).upscale(lr)
    assert sr.pixels.dtype == lr.pixels.dtype
    np.testing.assert_array_equal(sr.pixels, repeat(lr.pixels))
    np.testing.assert_array_equal(sr.alpha, repeat(lr.alpha))
    assert sr.extras == lr.extras


def test_grey_stays_grey_whatever_the_network_does():
    def colourful(lr):
        return repeat(lr) + np.array([3, 0, 0], np.uint8)

    grey = np.repeat(noise(20, 30, 1) // 2, 3, axis=2)
    upscaler = Upscaler(make_card(), colourful, window=16)
    sr = upscaler.upscale(Picture(grey, is_grey=True))
    assert (sr.is_grey, sr.channels) == (True, 1)
    np.testing.assert_array_equal(sr.pixels, repeat(grey) + 1)
    assert next(upscaler.strips(Picture(grey, grey[..., 0], is_grey=True))).shape[2] == 2


def test_progress_counts_tiles(upscaler):
    reported = []
    upscaler.upscale(Picture(noise(17, 40)), lambda done, total: reported.append((done, total)))
    count = sum(len(row) for row in upscaler.plan(17, 40))
    assert reported == [(done, count) for done in range(1, count + 1)]


def test_strips_that_nobody_fetches_are_not_computed(upscaler):
    runs = []

    def network(lr):
        runs.append(lr.shape)
        return repeat(lr)

    upscaler = Upscaler(make_card(), network, window=16)
    strips = upscaler.strips(Picture(noise(400, 16)))
    next(strips)
    strips.close()
    assert len(runs) <= 5
    assert upscaler.scheduler.backlog_s == 0


def test_warming_up_runs_the_network_on_a_whole_window():
    seen = []

    def network(lr):
        seen.append(lr.shape)
        return repeat(lr)

    Upscaler(make_card(), network, window=48).warm_up()
    Upscaler(make_card(), network, window=48, large_window=64).warm_up()
    assert seen == [(48, 48, 3), (64, 64, 3)]


def test_small_pictures_get_large_windows_and_background_frames_usual_ones():
    seen = []

    def network(lr):
        seen.append(lr.shape[:2])
        return repeat(lr)

    upscaler = Upscaler(make_card(halo=2), network, window=16, large_window=32)
    lr = Picture(noise(40, 30))
    for is_background in (False, True):
        sr = upscaler.upscale(lr, is_background=is_background)
        np.testing.assert_array_equal(sr.pixels, repeat(lr.pixels))
    assert seen == [(24, 30)] * 2 + [(16, 16)] * 9


def test_threads_take_turns_on_the_network():
    busy, seen = threading.Lock(), []

    def network(lr):
        seen.append(busy.acquire(blocking=False))
        sr = repeat(lr)
        busy.release()
        return sr

    upscaler = Upscaler(make_card(halo=0), network, window=16)
    pictures = [noise(64, 64, seed=seed) for seed in range(6)]
    results = [None] * len(pictures)

    def work(index):
        results[index] = upscaler.upscale(Picture(pictures[index])).pixels

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(seen)
    for lr, sr in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(sr, repeat(lr))


@pytest.mark.parametrize("detail", [0.0, 0.25, 0.5, 1.0])
def test_detail_chooses_the_network(upscaler, detail):
    lr = noise(20, 30)
    np.testing.assert_array_equal(
        upscaler.upscale(Picture(lr), detail=detail).pixels, between(lr, detail)
    )


def test_the_default_is_full_detail(upscaler):
    lr = noise(20, 30)
    np.testing.assert_array_equal(upscaler.upscale(Picture(lr)).pixels, blur_then_repeat(lr))


@pytest.mark.parametrize("detail", [-0.1, 1.1, float("nan"), float("inf")])
def test_detail_outside_its_range_is_refused(upscaler, detail):
    with pytest.raises(InvalidDetail, match=f"from 0 to 1. Received: {detail:g}"):
        upscaler.upscale(Picture(noise(2, 2)), detail=detail)


def test_a_network_without_a_faithful_one_has_one_detail():
    upscaler = Upscaler(make_card(), repeat, window=16)
    assert upscaler.least_detail == 1
    assert upscaler.upscale(Picture(noise(2, 2)), detail=1.0).pixels.shape == (8, 8, 3)
    with pytest.raises(InvalidDetail, match="no faithful one beside it. Received: 0.5"):
        upscaler.upscale(Picture(noise(2, 2)), detail=0.5)
