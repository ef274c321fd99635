import numpy as np
import pytest

from training.models.losses import LatticeDistance


def lattice(sr, hr):
    return np.asarray(LatticeDistance(4)(sr, hr))


def test_a_lattice_is_seen_and_texture_is_not():
    random = np.random.default_rng(0)
    hr, texture = (random.random((2, 64, 96, 3), np.float32) for _ in range(2))
    uneven = np.tile([[1, 1, 0, 0]], (64, 24)).astype(np.float32)[None, ..., None]
    assert lattice(hr, hr) == pytest.approx(np.zeros((2, 1)))
    assert lattice(texture, hr).max() < 3e-3
    assert lattice(texture / 4, hr).max() < 3e-3  # faint texture is no lattice either
    columns = texture * (0.5 + uneven)
    assert lattice(columns, hr).min() > 3e-2
    assert lattice(np.swapaxes(columns, 1, 2), np.swapaxes(hr, 1, 2)).min() > 3e-2


def test_a_lattice_is_measured_in_mean_steps():
    """Steps of 1 and 3 along rows, of 2 along columns: half of the places half below the mean."""
    columns = np.cumsum(np.tile([1, 3], 16))[None, :] / 64
    rows = 2 * np.arange(24)[:, None] / 64
    sr = np.float32(rows + columns)[None, ..., None]
    even = np.float32(rows + 2 * np.arange(32)[None] / 64)[None, ..., None]
    assert lattice(sr, even).item() == pytest.approx(0.25 / 2, rel=0.1)


def test_flat_pictures_have_no_lattice():
    flat = np.full((1, 32, 32, 3), 0.5, np.float32)
    assert lattice(flat, flat).item() == 0
