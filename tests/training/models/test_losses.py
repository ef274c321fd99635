import numpy as np
import pytest

from training.models.losses import PixelLoss

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
    again = PixelLoss.from_config(PixelLoss(0.1, 0.2, 0.3).get_config())
    assert (again.epsilon, again.chroma_weight, again.log_floor) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_chroma_counts_at_its_weight(epsilon):
    grey = np.full_like(HR, 0.01)  # luma alone
    coloured = np.zeros_like(HR) + np.array([0.01, 0.0, -0.01 * 0.299 / 0.114], np.float32)
    plain, weighted = PixelLoss(epsilon), PixelLoss(epsilon, 0.1)
    alike = float(plain(HR, HR + grey))
    assert float(weighted(HR, HR + grey)) == pytest.approx(alike, rel=1e-3)
    of_colour = float(plain(HR, HR + coloured))
    assert float(weighted(HR, HR + coloured)) == pytest.approx(0.1 * of_colour, rel=1e-3)


def test_the_logarithm_is_that_of_each_patch():
    plain = [float(PixelLoss(0.1)(HR[n : n + 1], SR[n : n + 1])) for n in range(2)]
    expected = np.mean(np.log(np.array(plain) + 1e-3))
    assert float(PixelLoss(0.1, log_floor=1e-3)(HR, SR)) == pytest.approx(expected, rel=1e-3)


def test_a_smooth_patch_counts_as_a_busy_one_down_to_the_floor():
    far = np.array([0.1, 0.001], np.float32).reshape(2, 1, 1, 1) * np.ones_like(HR)

    def gain(floor, patch):
        """How much lower the loss is when one patch has half of its distance."""
        closer = far.copy()
        closer[patch] /= 2
        return float(PixelLoss(log_floor=floor)(HR, HR + far)) - float(
            PixelLoss(log_floor=floor)(HR, HR + closer)
        )

    assert gain(1e-6, 0) == pytest.approx(gain(1e-6, 1), rel=1e-2)
    assert gain(1e-2, 0) > 10 * gain(1e-2, 1)
