from dataclasses import replace

import numpy as np
import pytest

from core.errors import GraphMismatch
from core.model.card import graph_path, read_card, write_card
from training.export import freeze, thaw
from training.loop.run import CHECKPOINT, load_checkpoint, read_ancestors, start_run
from training.loop.train import train


def test_what_was_frozen_comes_back(run_folder, card_path, tmp_path):
    thaw(card_path, tmp_path / "thawed")
    step, thawed = load_checkpoint(tmp_path / "thawed" / CHECKPOINT, ["ema"])
    frozen_step, frozen = load_checkpoint(run_folder / CHECKPOINT, ["ema"])
    assert step == frozen_step
    for received, expected in zip(thawed["ema"], frozen["ema"], strict=True):
        np.testing.assert_array_equal(received, expected)


def test_a_run_may_begin_with_published_weights(recipe, card_path, tmp_path):
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


def test_thawed_weights_are_no_run_to_go_on_with(recipe, card_path, tmp_path):
    thaw(card_path, tmp_path / "thawed")
    with pytest.raises(ValueError, match="averaged weights only"):
        start_run(recipe, tmp_path / "thawed")


def test_a_card_tells_what_its_run_began_with(recipe, run_folder, photos_folder, tmp_path):
    train(recipe, photos_folder, tmp_path / "second", 1, start_from=run_folder)
    train(recipe, photos_folder, tmp_path / "third", 1, start_from=tmp_path / "second")
    card = freeze(recipe, tmp_path / "third", photos_folder, tmp_path / "third.json", "0.3")
    first = {"steps": 20, "recipe": recipe.as_dict(), "began_with": None}
    assert card.training["ancestors"] == [first, first | {"began_with": 0}]
