from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from core.images import resize_bicubic
from tests.support.stand_ins import noise
from tests.support.states import state
from training.data.patches import orient, orient_back
from training.loop.run import CHECKPOINT, load_checkpoint, start_run
from training.loop.stages import Teacher
from training.loop.train import train
from training.models.networks import build_generator

SHARE = 0.6


@pytest.fixture
def taught(recipe):
    return replace(recipe, training=replace(recipe.training, teacher_share=SHARE, decay_steps=1))


@pytest.fixture
def batch():
    hr = np.stack([noise(32, 32, seed=seed) for seed in range(2)])
    lr = np.stack([resize_bicubic(picture, 8, 8) for picture in hr])
    return np.float32(lr / 255), np.float32(hr / 255)


@pytest.fixture
def generator(recipe):
    """One that treats no orientation like another, with weights as they are at first."""
    return build_generator(recipe.generator)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", range(2))
def test_what_is_turned_can_be_turned_back(turns, mirrored):
    pictures = np.random.default_rng(0).random((2, 6, 4, 3))
    turned = orient(pictures, turns, mirrored)
    assert turned.shape == ((2, 6, 4, 3) if turns % 2 == 0 else (2, 4, 6, 3))
    np.testing.assert_array_equal(orient_back(turned, turns, mirrored), pictures)


def test_the_eight_orientations_differ():
    pictures = np.random.default_rng(0).random((1, 4, 4, 1))
    seen = {orient(pictures, k, m).tobytes() for k in range(4) for m in range(2)}
    assert len(seen) == 8


def upscale_every_way(generator, lr):
    """What it makes of every orientation, each turned back."""
    ways = [(turns, mirrored) for turns in range(4) for mirrored in range(2)]
    return [orient_back(generator.predict_on_batch(orient(lr, *way)), *way) for way in ways]


def test_the_teacher_says_what_it_makes_of_some_orientation(generator, batch):
    lr, hr = batch
    ways = upscale_every_way(generator, lr)
    teacher = Teacher(generator, SHARE, seed=1)
    heard = set()
    for step in range(40):
        mixed = teacher.mix(lr, hr, step)
        assert (mixed.shape, mixed.dtype) == (hr.shape, np.float32)
        word = (mixed - (1 - SHARE) * hr) / SHARE
        distances = [np.abs(word - way).max() for way in ways]
        assert min(distances) < 1e-5
        assert sorted(distances)[1] > 1e-3
        heard.add(int(np.argmin(distances)))
    assert heard == set(range(8))


def test_the_same_step_hears_the_same(generator, batch):
    first, again = (Teacher(generator, SHARE, seed=1).mix(*batch, 5) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_without_a_share_there_is_no_teacher(recipe, run_folder, tmp_path):
    assert start_run(recipe, tmp_path, start_from=run_folder).teacher is None


def test_a_teacher_must_have_learned_something(taught, tmp_path):
    with pytest.raises(ValueError, match="`teacher_share` must start from another one"):
        start_run(taught, tmp_path)


def test_the_teacher_stays_what_the_run_began_with(taught, run_folder, photos_folder, tmp_path):
    began_with = load_checkpoint(run_folder / CHECKPOINT, ["ema"])[1]["ema"]
    run = train(taught, photos_folder, tmp_path, max_minutes=1, start_from=run_folder)
    assert any(not np.array_equal(a, w) for a, w in zip(run.ema, began_with, strict=True))
    for again in (run, start_run(taught, tmp_path)):
        weights = again.teacher.generator.get_weights()
        for expected, received in zip(began_with, weights, strict=True):
            np.testing.assert_array_equal(received, expected)


def test_a_taught_run_that_is_resumed_ends_as_an_undisturbed_one(
    taught, run_folder, photos_folder, tmp_path
):
    begin = partial(train, photos_folder=photos_folder, max_minutes=1, start_from=run_folder)
    begin(taught, run_folder=tmp_path / "undisturbed")
    begin(until(taught, 13), run_folder=tmp_path / "resumed")
    begin(taught, run_folder=tmp_path / "resumed")
    _, undisturbed = state(tmp_path / "undisturbed")
    _, resumed = state(tmp_path / "resumed")
    for expected, received in zip(undisturbed, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)


def until(recipe, steps):
    return replace(recipe, training=replace(recipe.training, steps=steps))


def test_taught_weights_are_others(taught, run_folder, photos_folder, tmp_path):
    alone = replace(taught, training=replace(taught.training, teacher_share=0.0))
    one, other = (
        train(recipe, photos_folder, tmp_path / name, 1, start_from=run_folder).ema
        for name, recipe in (("alone", alone), ("taught", taught))
    )
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_more_than_everything_or_less_than_nothing_is_refused(recipe, share):
    with pytest.raises(
        ValueError, match=rf"`teacher_share` must be in \[0, 1\]. Received: {share}"
    ):
        replace(recipe.training, teacher_share=share)
