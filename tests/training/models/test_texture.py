import numpy as np
import pytest

from training.models.losses import TextureDistance


def distance(sr, hr):
    return np.asarray(TextureDistance()(sr, hr))


def grain(deviation, seed=0):
    """Grey pictures of noise around mid-grey, (2, 64, 48, 3)."""
    noise = np.random.default_rng(seed).normal(0.5, deviation, (2, 64, 48, 1))
    return np.repeat(noise, 3, axis=-1).astype(np.float32)


def test_where_texture_lies_is_not_compared_and_how_strong_it_is_counts_alike():
    hr = grain(0.2)
    same, half = distance(grain(0.2, seed=1), hr), distance(grain(0.1), hr)
    assert distance(hr, hr) == pytest.approx(np.zeros((2, 1)))
    assert same.max() < 0.15
    assert half == pytest.approx(np.full((2, 1), np.log(2)), rel=0.15)
    assert distance(grain(0.05), grain(0.1)) == pytest.approx(half, rel=0.15)


def test_grain_on_an_even_surface_counts_and_too_faint_to_see_does_not():
    even = np.full((2, 64, 48, 3), 0.5, np.float32)
    assert distance(grain(0.03), even).min() > 0.8
    assert distance(grain(0.0005), even).max() < 0.03
    assert distance(even + 0.2, even) == pytest.approx(np.zeros((2, 1)), abs=1e-4)


def test_a_texture_of_one_colour_counts_by_its_luma():
    hr = np.full((1, 32, 32, 3), 0.5, np.float32)
    changes = {channel: hr.copy() for channel in range(3)}
    for channel, sr in changes.items():
        sr[..., channel] = grain(0.1)[0, :32, :32, 0]
    red, green, blue = (distance(sr, hr).item() for sr in changes.values())
    assert green > red > blue > 0
