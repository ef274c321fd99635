import threading

import numpy as np
import pytest

from core.errors import InvalidDetail
from core.images import Picture
from core.upscaler import Upscaler
from tests.stand_ins import between, blur_then_repeat, make_card, noise, repeat


def test_the_result_does_not_depend_on_the_tile_size():
    lr = noise(37, 61)
    for tile in (16, 30, 100):
        sr = Upscaler(make_card(), blur_then_repeat, tile=tile).upscale(lr)
        np.testing.assert_array_equal(sr, blur_then_repeat(lr))


def test_a_picture_keeps_its_alpha_and_its_profile(upscaler):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 15:] = 255
    lr = Picture(noise(20, 30), alpha, icc_profile=b"profile")
    sr = upscaler.upscale_picture(lr).picture
    assert sr.alpha.shape == (80, 120)
    assert sr.alpha[:, :40].max() == 0
    assert sr.alpha[:, 80:].min() == 255
    assert sr.icc_profile == b"profile"


def test_the_tiles_it_took_are_told(upscaler):
    assert upscaler.upscale_picture(Picture(noise(17, 40))).tiles == 2 * 3


def test_threads_take_turns_on_the_network():
    busy, seen = threading.Lock(), []

    def network(lr):
        seen.append(busy.acquire(blocking=False))
        sr = repeat(lr)
        busy.release()
        return sr

    upscaler = Upscaler(make_card(radius=0), network, tile=16)
    pictures = [noise(64, 64, seed=seed) for seed in range(6)]
    results = [None] * len(pictures)

    def work(index):
        results[index] = upscaler.upscale(pictures[index])

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
    np.testing.assert_array_equal(upscaler.upscale(lr, detail=detail), between(lr, detail))


def test_without_a_word_all_detail_is_given(upscaler):
    lr = noise(20, 30)
    np.testing.assert_array_equal(upscaler.upscale(lr), blur_then_repeat(lr))


@pytest.mark.parametrize("detail", [-0.1, 1.1, float("nan"), float("inf")])
def test_detail_outside_its_range_is_refused(upscaler, detail):
    with pytest.raises(InvalidDetail, match=f"from 0 to 1. Received: {detail:g}"):
        upscaler.upscale(noise(2, 2), detail=detail)


def test_a_network_without_a_faithful_one_has_one_detail():
    upscaler = Upscaler(make_card(), repeat, tile=16)
    assert upscaler.least_detail == 1
    assert upscaler.upscale(noise(2, 2), detail=1.0).shape == (8, 8, 3)
    with pytest.raises(InvalidDetail, match="no faithful one beside it. Received: 0.5"):
        upscaler.upscale(noise(2, 2), detail=0.5)
