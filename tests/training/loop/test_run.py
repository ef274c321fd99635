import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.support.states import state
from training.loop.run import (
    CHECKPOINT,
    RECIPE,
    add_mix,
    add_run,
    build_network,
    load_checkpoint,
    save_checkpoint,
    start_run,
)
from training.loop.train import (
    train,
)

FIRST = add_run([], 10, {"name": "first"})


SECOND = add_run(FIRST, 20, {"name": "second"})


OTHER = add_run(FIRST, 30, {"name": "other"})


def names(ancestors):
    return [entry["recipe"]["name"] if "recipe" in entry else "mix" for entry in ancestors]


def test_an_ancestor_states_the_run_that_it_started_from():
    assert FIRST == [{"steps": 10, "recipe": {"name": "first"}, "began_with": None}]
    assert SECOND[1] == {"steps": 20, "recipe": {"name": "second"}, "began_with": 0}


def test_a_common_ancestor_is_listed_once():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    assert names(mixed) == ["first", "second", "other", "mix"]
    assert [entry.get("began_with") for entry in mixed] == [None, 0, 0, None]
    assert mixed[-1]["mixed"] == [{"ancestor": 1, "share": 0.6}, {"ancestor": 2, "share": 0.4}]


def test_mixes_of_mixes_list_all_their_parts():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    further = add_run(mixed, 40, {"name": "further"})
    again = add_mix([OTHER, further, mixed], [0.2, 0.5, 0.3])
    assert names(again) == ["first", "other", "second", "mix", "further", "mix"]
    assert again[3]["mixed"] == [{"ancestor": 2, "share": 0.6}, {"ancestor": 1, "share": 0.4}]
    assert again[4]["began_with"] == 3
    assert [part["ancestor"] for part in again[5]["mixed"]] == [1, 4, 3]


def test_a_run_of_zero_steps_adds_no_ancestor():
    mixed = add_mix([SECOND, OTHER], [0.6, 0.4])
    assert add_run(mixed, 0, {"name": "mixed"}) == mixed
    assert names(add_run([], 0, {"name": "random"})) == ["random"]


def test_losses_that_were_not_computed_are_left_out_of_means(recipe, tmp_path):
    run = start_run(recipe, tmp_path)
    run.losses = [{"pixel": 1.0, "content": n} for n in (math.nan, 2.0, 4.0)]
    assert run.pop_mean_losses() == {"pixel": 1.0, "content": 3.0}
    run.losses = [{"content": math.nan}]
    assert math.isnan(run.pop_mean_losses()["content"])


def test_a_run_with_another_generator_is_not_resumed(recipe, photos_folder, tmp_path):
    train(recipe, photos_folder, tmp_path, max_minutes=0)
    other = replace(recipe, generator=replace(recipe.generator, filters=16))
    with pytest.raises(ValueError, match=r"another \[generator\]"):
        start_run(other, tmp_path)


def test_a_run_of_an_earlier_version_with_fewer_settings_is_resumed(
    recipe, photos_folder, tmp_path
):
    train(recipe, photos_folder, tmp_path, max_minutes=0)
    older = json.loads((tmp_path / RECIPE).read_text())
    del older["data"]["sizes"], older["data"]["drawings"], older["degradation"]
    (tmp_path / RECIPE).write_text(json.dumps(older))
    assert start_run(recipe, tmp_path).step == 0


def test_an_interrupted_save_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, 1, {"ema": [np.ones(3)]})

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, 2, {"ema": [np.zeros(3)]})
    step, groups = load_checkpoint(path, ["ema"])
    assert step == 1
    np.testing.assert_array_equal(groups["ema"][0], np.ones(3))


def test_a_checkpoint_keeps_the_order_of_arrays(tmp_path):
    arrays = [np.full(2, index) for index in range(12)]
    save_checkpoint(tmp_path / CHECKPOINT, 3, {"ema": arrays, "optimizer": arrays[::-1]})
    _, groups = load_checkpoint(tmp_path / CHECKPOINT, ["ema", "optimizer"])
    assert [int(array[0]) for array in groups["ema"]] == list(range(12))
    assert [int(array[0]) for array in groups["optimizer"]] == list(range(12))[::-1]


SHARE = 0.6


@pytest.fixture
def taught(recipe):
    return replace(recipe, training=replace(recipe.training, teacher_share=SHARE, decay_steps=1))


def test_a_teacher_share_of_zero_means_no_teacher(recipe, run_folder, tmp_path):
    assert start_run(recipe, tmp_path, start_from=run_folder).teacher is None


def test_a_run_with_a_teacher_must_start_from_another_run(taught, tmp_path):
    with pytest.raises(ValueError, match="`teacher_share` must start from another one"):
        start_run(taught, tmp_path)


def test_the_teacher_keeps_the_weights_that_the_run_started_from(
    taught, run_folder, photos_folder, tmp_path
):
    began_with = load_checkpoint(run_folder / CHECKPOINT, ["ema"])[1]["ema"]
    run = train(taught, photos_folder, tmp_path, max_minutes=1, start_from=run_folder)
    assert any(not np.array_equal(a, w) for a, w in zip(run.ema, began_with, strict=True))
    for again in (run, start_run(taught, tmp_path)):
        weights = again.teacher.generator.get_weights()
        for expected, received in zip(began_with, weights, strict=True):
            np.testing.assert_array_equal(received, expected)


@pytest.mark.thorough
def test_a_resumed_run_with_a_teacher_ends_with_the_weights_of_an_uninterrupted_one(
    taught, run_folder, photos_folder, tmp_path
):
    begin = partial(train, photos_folder=photos_folder, max_minutes=1, start_from=run_folder)
    begin(taught, run_folder=tmp_path / "uninterrupted")
    begin(until(taught, 13), run_folder=tmp_path / "resumed")
    begin(taught, run_folder=tmp_path / "resumed")
    _, uninterrupted = state(tmp_path / "uninterrupted")
    _, resumed = state(tmp_path / "resumed")
    for expected, received in zip(uninterrupted, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)


def until(recipe, steps):
    return replace(recipe, training=replace(recipe.training, steps=steps))


def test_a_teacher_changes_the_weights(taught, run_folder, photos_folder, tmp_path):
    alone = replace(taught, training=replace(taught.training, teacher_share=0.0))
    one, other = (
        train(recipe, photos_folder, tmp_path / name, 1, start_from=run_folder).ema
        for name, recipe in (("alone", alone), ("taught", taught))
    )
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_recipe_without_a_network_is_refused():
    with pytest.raises(ValueError, match="Received: network, data"):
        build_network({"network": {}, "data": {}})


def test_a_recipe_of_a_restorer_builds_its_restorer(restorer_recipe):
    assert build_network(restorer_recipe.as_dict()).name == "restorer"
