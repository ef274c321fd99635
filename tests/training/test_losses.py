import numpy as np
import pytest

from training.losses import PixelLoss

HR = np.random.default_rng(0).random((2, 5, 6, 3), np.float32)
SR = np.random.default_rng(1).random((2, 5, 6, 3), np.float32)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1, 10.0])
def test_the_distance_is_charbonnier(epsilon):
    expected = np.mean(np.sqrt((SR - HR).astype(np.float64) ** 2 + epsilon**2) - epsilon)
    assert float(PixelLoss(epsilon)(HR, SR)) == pytest.approx(expected, rel=1e-3)


def test_equal_pictures_have_no_distance():
    assert float(PixelLoss(0.0)(HR, HR)) == 0
    assert float(PixelLoss(0.1)(HR, HR)) == pytest.approx(0, abs=1e-6)


def test_a_large_epsilon_ranks_as_the_squared_error_does():
    far_once, near_often = HR.copy(), HR.copy()
    far_once[0, 0, 0, 0] += 10.0
    near_often += 10.0 / HR.size
    absolute, squared = PixelLoss(0.0), PixelLoss(100.0)
    assert float(absolute(HR, far_once)) == pytest.approx(float(absolute(HR, near_often)), rel=1e-3)
    assert float(squared(HR, far_once)) > 50 * float(squared(HR, near_often))


def test_a_loss_survives_the_round_trip():
    again = PixelLoss.from_config(PixelLoss(0.1, 0.2).get_config())
    assert (again.epsilon, again.chroma_weight) == (0.1, 0.2)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_chroma_counts_at_its_weight(epsilon):
    grey = np.full_like(HR, 0.01)  # luma alone
    coloured = np.zeros_like(HR) + np.array([0.01, 0.0, -0.01 * 0.299 / 0.114], np.float32)
    plain, weighted = PixelLoss(epsilon), PixelLoss(epsilon, 0.1)
    alike = float(plain(HR, HR + grey))
    assert float(weighted(HR, HR + grey)) == pytest.approx(alike, rel=1e-3)
    of_colour = float(plain(HR, HR + coloured))
    assert float(weighted(HR, HR + coloured)) == pytest.approx(0.1 * of_colour, rel=1e-3)
