import threading

import numpy as np

from core.images import Picture
from core.upscaler import Upscaler
from tests.stand_ins import blur_then_repeat, make_card, noise, repeat


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
