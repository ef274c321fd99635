import hashlib
from dataclasses import replace

import numpy as np
import pytest

import training.export
from core.errors import GraphMismatch
from core.model.card import graph_path, read_card, write_card
from core.model.graph import load_graph
from core.model.upscaler import load_upscaler
from core.picture import Picture
from core.pixels import uint8_from_unit, unit_from_uint8
from tests.support.stand_ins import noise, repeat
from training.export import ParityError, freeze, thaw
from training.loop.run import CHECKPOINT, load_checkpoint, read_ancestors, start_run
from training.loop.train import train
from training.models.networks import build_generator


def test_the_graph_computes_what_the_averaged_weights_compute(recipe, run_folder, card_path):
    run = start_run(recipe, run_folder)
    generator = build_generator(recipe.generator)
    generator.set_weights(run.ema)
    lr = noise(13, 22, seed=3)
    expected = uint8_from_unit(np.asarray(generator(unit_from_uint8(lr)[None]))[0])
    sr = load_graph(card_path)(lr)
    assert np.abs(sr.astype(int) - expected).max() <= 1


def test_the_card_says_what_the_graph_is(recipe, card_path):
    card = read_card(card_path)
    graph = card_path.with_suffix(".pb").read_bytes()
    assert card.sha256 == hashlib.sha256(graph).hexdigest()
    assert (card.name, card.version, card.scale) == ("tiny", "0.1", 4)
    assert card.radius == recipe.generator.radius
    assert card.training["steps"] == 20
    assert card.training["photographs"] + card.training["validation_photographs"] == 40
    assert sum(card.training["licences"].values()) == card.training["photographs"]
    assert f"{card.training['photographs']} photographs" in card.description


def test_a_graph_can_name_a_faithful_graph(recipe, run_folder, photos_folder, card_path):
    path = card_path.with_name("rich.json")
    freeze(recipe, run_folder, photos_folder, path, version="0.2", faithful="tiny")
    assert read_card(path).faithful == "tiny"
    upscaler = load_upscaler(path, window=64, threads=1)
    assert upscaler.upscale(Picture(noise(5, 6)), detail=0.5).pixels.shape == (20, 24, 3)


def test_a_faithful_graph_of_another_architecture_is_refused(
    recipe, photos_folder, card_path, tmp_path
):
    smaller = replace(recipe, generator=replace(recipe.generator, filters=4))
    train(smaller, photos_folder, tmp_path / "smaller", max_minutes=0)
    path = card_path.with_name("rich.json")
    with pytest.raises(GraphMismatch, match="the architecture of `tiny`"):
        freeze(smaller, tmp_path / "smaller", photos_folder, path, "0.2", faithful="tiny")
    assert not path.exists()


def test_a_graph_that_differs_is_not_written(
    recipe, run_folder, photos_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(training.export, "FrozenGraph", lambda *_args: repeat)
    with pytest.raises(ParityError, match="levels"):
        freeze(recipe, run_folder, photos_folder, tmp_path / "tiny.json", version="0.1")
    assert list(tmp_path.iterdir()) == []


def test_thaw_restores_the_frozen_weights(run_folder, card_path, tmp_path):
    thaw(card_path, tmp_path / "thawed")
    step, thawed = load_checkpoint(tmp_path / "thawed" / CHECKPOINT, ["ema"])
    frozen_step, frozen = load_checkpoint(run_folder / CHECKPOINT, ["ema"])
    assert step == frozen_step
    for received, expected in zip(thawed["ema"], frozen["ema"], strict=True):
        np.testing.assert_array_equal(received, expected)


def test_a_run_can_start_from_published_weights(recipe, card_path, tmp_path):
    thaw(card_path, tmp_path / "thawed")
    run = start_run(recipe, tmp_path / "new", start_from=tmp_path / "thawed")
    assert read_ancestors(tmp_path / "new") == [
        {"steps": 20, "recipe": read_card(card_path).recipe, "began_with": None}
    ]
    _, thawed = load_checkpoint(tmp_path / "thawed" / CHECKPOINT, ["ema"])
    assert run.step == 0
    for received, expected in zip(run.generator.get_weights(), thawed["ema"], strict=True):
        np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("changes", [{"blocks": 2}, {"filters": 16}])
def test_a_card_of_another_architecture_is_refused(card_path, tmp_path, changes):
    card = read_card(card_path)
    generator = card.recipe["generator"] | changes
    other = replace(card, name="other", recipe=card.recipe | {"generator": generator})
    write_card(tmp_path / "other.json", other)
    graph_path(tmp_path / "other.json", other).write_bytes(graph_path(card_path, card).read_bytes())
    with pytest.raises(GraphMismatch, match="must have the weights of layer"):
        thaw(tmp_path / "other.json", tmp_path / "thawed")
    assert not (tmp_path / "thawed").exists()


def test_a_thawed_run_cannot_be_resumed(recipe, card_path, tmp_path):
    thaw(card_path, tmp_path / "thawed")
    with pytest.raises(ValueError, match="averaged weights only"):
        start_run(recipe, tmp_path / "thawed")


def test_a_card_lists_the_runs_that_its_run_started_from(
    recipe, run_folder, photos_folder, tmp_path
):
    train(recipe, photos_folder, tmp_path / "second", 1, start_from=run_folder)
    train(recipe, photos_folder, tmp_path / "third", 1, start_from=tmp_path / "second")
    card = freeze(recipe, tmp_path / "third", photos_folder, tmp_path / "third.json", "0.3")
    first = {"steps": 20, "recipe": recipe.as_dict(), "began_with": None}
    assert card.training["ancestors"] == [first, first | {"began_with": 0}]
