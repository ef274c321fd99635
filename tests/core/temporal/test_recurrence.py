from dataclasses import replace

import numpy as np
import pytest

from core.picture import Extras, Picture
from core.temporal.coherence import upscale_once
from tests.support.stand_ins import noise, repeat


@pytest.fixture
def seen():
    return []


@pytest.fixture
def upscale(seen):
    def upscale(picture):
        seen.append(picture)
        return replace(picture, pixels=repeat(picture.pixels))

    return upscale


def pictures(count):
    return [Picture(noise(4, 5, seed=seed)) for seed in range(count)]


def test_a_picture_that_comes_again_is_upscaled_once(upscale, seen):
    once = upscale_once(upscale)
    one, other = pictures(2)
    results = [once(picture) for picture in (one, other, Picture(one.pixels.copy()))]
    assert len(seen) == 2
    assert np.array_equal(results[2].pixels, repeat(one.pixels))


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": noise(4, 5, seed=1)},
        {"pixels": noise(4, 5).reshape(5, 4, 3)},
        {"pixels": noise(4, 5).astype(np.uint16)},
        {"alpha": np.full((4, 5), 200, np.uint8)},
        {"is_grey": True},
    ],
)
def test_whatever_the_network_sees_counts(upscale, seen, change):
    once = upscale_once(upscale)
    picture = Picture(noise(4, 5))
    once(picture)
    once(replace(picture, **change))
    assert len(seen) == 2


def test_what_the_network_does_not_see_goes_with_its_own_picture(upscale, seen):
    once = upscale_once(upscale)
    once(Picture(noise(4, 5)))
    assert once(Picture(noise(4, 5), extras=Extras(dpi=(72, 72)))).extras.dpi == (72, 72)
    assert len(seen) == 1


def test_those_not_asked_for_the_longest_are_forgotten(upscale, seen):
    first, second, third = pictures(3)
    once = upscale_once(upscale, most_bytes=2 * 16 * first.pixels.nbytes)
    for picture in (first, second, first, third):
        once(picture)
    assert len(seen) == 3
    once(first)
    assert len(seen) == 3
    once(second)
    assert len(seen) == 4


def test_the_last_is_always_kept(upscale, seen):
    once = upscale_once(upscale, most_bytes=0)
    (picture,) = pictures(1)
    once(picture)
    once(picture)
    assert len(seen) == 1
