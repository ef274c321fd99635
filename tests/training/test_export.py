import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import training.export
from core.errors import GraphMismatch
from core.model.card import graph_path, read_card, write_card
from core.model.graph import load_graph
from core.model.interpolation import load_restored_graph
from core.model.tiles import Box
from core.model.upscaler import load_upscaler
from core.picture import Picture
from core.pixels import uint8_from_unit, unit_from_uint8
from tests.support.stand_ins import noise, repeat
from training.export import ParityError, freeze, thaw
from training.loop.recipe import TeacherSettings, read_recipe
from training.loop.run import (
    CHECKPOINT,
    ORIGIN,
    RECIPE,
    build_network,
    load_checkpoint,
    read_ancestors,
    start_run,
)
from training.loop.train import train
from training.models.networks import build_generator
from training.models.restorer import restore


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


def test_a_graph_can_name_a_graph_for_restored_pictures(
    recipe, run_folder, photos_folder, card_path
):
    path = card_path.with_name("soiled.json")
    freeze(recipe, run_folder, photos_folder, path, version="0.2", restored="tiny")
    assert read_card(path).restored == "tiny"
    assert load_restored_graph(path)(noise(5, 6), 1.0, 0.5).shape == (20, 24, 3)


@pytest.mark.parametrize("link", ["faithful", "restored"])
def test_tiles_get_the_larger_halo_of_two_interpolated_graphs(
    recipe, run_folder, photos_folder, card_path, tmp_path, link
):
    copy_card(card_path, tmp_path, halo=99)
    card = freeze(recipe, run_folder, photos_folder, tmp_path / "a.json", "1", **{link: "tiny"})
    assert card.halo == 99


def copy_card(card_path, folder, **changes):
    """Copy a graph and its card, some fields of which have other values."""
    card = read_card(card_path)
    graph_path(folder / card_path.name, card).write_bytes(graph_path(card_path, card).read_bytes())
    write_card(folder / card_path.name, replace(card, **changes))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("faithful", "`odd` must have the architecture of `tiny`"),
        ("restored", "`tiny` must have the architecture of `odd`"),
    ],
)
def test_an_interpolated_graph_of_another_architecture_is_refused(
    recipe, photos_folder, card_path, tmp_path, link, expected
):
    smaller = replace(recipe, generator=replace(recipe.generator, filters=4))
    train(smaller, photos_folder, tmp_path / "smaller", max_minutes=0)
    path = card_path.with_name("odd.json")
    with pytest.raises(GraphMismatch, match=expected):
        freeze(smaller, tmp_path / "smaller", photos_folder, path, "0.2", **{link: "tiny"})
    assert not path.exists()


def test_only_one_faithful_graph_for_pictures_with_and_without_restoring_is_refused(
    recipe, run_folder, photos_folder, card_path
):
    path = card_path.with_name("odd.json")
    links = {"faithful": "tiny", "restored": "tiny"}
    with pytest.raises(GraphMismatch, match="if and only if .* Received: None and tiny"):
        freeze(recipe, run_folder, photos_folder, path, "0.2", **links)
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


def test_imported_networks_cannot_be_thawed(card_path, tmp_path):
    copy_card(card_path, tmp_path, architecture={"name": "RRDBNet"}, recipe={})
    with pytest.raises(GraphMismatch, match="trained here. Received: an imported RRDBNet"):
        thaw(tmp_path / card_path.name, tmp_path / "thawed")


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


@pytest.fixture(scope="module")
def restorer_card(restorer_recipe, restorer_folder, larger_photos, tmp_path_factory):
    """The card of a frozen tiny restorer."""
    path = tmp_path_factory.mktemp("restorer-assets") / "restorer.json"
    freeze(restorer_recipe, restorer_folder, larger_photos, path, version="0.1")
    return path


def restored_by_run(recipe, folder, lr):
    _, groups = load_checkpoint(folder / CHECKPOINT, ["ema"])
    network = build_network(recipe.as_dict())
    network.set_weights(groups["ema"])
    return uint8_from_unit(restore(network, lr, recipe.restorer.stride)).astype(int)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 22), (16, 16)])
def test_the_graph_of_a_restorer_computes_what_the_averaged_weights_compute(
    restorer_recipe, restorer_folder, restorer_card, size
):
    lr = noise(*size, seed=3)
    expected = restored_by_run(restorer_recipe, restorer_folder, lr)
    assert np.abs(load_graph(restorer_card)(lr).astype(int) - expected).max() <= 1


def test_a_restorer_keeps_the_levels_of_16_bits(restorer_card):
    lr = noise(13, 22, seed=3)
    graph = load_graph(restorer_card, precision="float32")
    deep = graph(lr.astype(np.uint16) * 257)
    assert (deep.dtype, deep.shape) == (np.uint16, (13, 22, 3))
    assert np.abs(deep / 257 - graph(lr)).max() <= 0.51


def test_the_card_of_a_restorer_says_what_it_is(restorer_recipe, restorer_card, run_folder):
    card, architecture = read_card(restorer_card), restorer_recipe.restorer
    assert (card.scale, card.stride, card.radius) == (1, 2, architecture.radius)
    assert card.halo % card.stride == 0
    assert 0 < card.halo <= card.radius + card.stride
    assert card.mflop_per_lr_pixel == pytest.approx(architecture.mflop_per_lr_pixel, abs=1e-3)
    assert card.recipe["restorer"] == {"filters": [4, 8], "blocks": [1, 1]}
    assert card.training["teacher"] is None
    (name,) = card.training["networks"]
    assert name == run_folder.resolve().name


def test_tiles_with_the_measured_halo_change_no_level_by_more_than_one(restorer_card):
    card, graph = read_card(restorer_card), load_graph(restorer_card)
    lr = noise(96, 96, seed=5)
    core = Box(32, 32, 64, 64)
    window = core.grown(card.halo, 96, 96)
    tile = core.relative_to(window).crop(graph(window.crop(lr)))
    assert np.abs(tile.astype(int) - core.crop(graph(lr))).max() <= 1


def test_the_card_of_a_distilled_network_names_its_teacher(
    restorer_recipe, restorer_folder, larger_photos, tmp_path
):
    teacher = TeacherSettings("Other", "BSD-3-Clause", share=0.5, patches=9, source="a paper")
    taught = replace(restorer_recipe, teacher=teacher)
    card = freeze(taught, restorer_folder, larger_photos, tmp_path / "taught.json", "0.2")
    assert card.training["teacher"] == {
        "name": "Other",
        "licence": "BSD-3-Clause",
        "source": "a paper",
    }
    assert card.description.endswith("distilled from Other.")


def test_the_card_names_the_teacher_of_an_earlier_run(
    restorer_recipe, restorer_folder, larger_photos, tmp_path
):
    run_folder = shutil.copytree(restorer_folder, tmp_path / "run")
    teacher = {"name": "Other", "licence": "BSD-3-Clause", "source": "a paper"}
    first = {"name": "First", "licence": "MIT", "source": "another"}
    runs = [
        {"steps": 9, "recipe": {"teacher": first}, "began_with": None},
        {"steps": 9, "recipe": {"teacher": teacher | {"share": 0.5}}, "began_with": 0},
        {"steps": 9, "recipe": {"teacher": None}, "began_with": 1},
        {"mixed": [{"ancestor": 1, "share": 0.4}, {"ancestor": 2, "share": 0.6}]},
    ]
    (run_folder / ORIGIN).write_text(json.dumps(runs))
    card = freeze(restorer_recipe, run_folder, larger_photos, tmp_path / "later.json", "0.2")
    assert card.training["teacher"] == teacher
    assert card.description.endswith("distilled from Other.")
    assert card.recipe["teacher"] is None


def test_kernels_of_a_restorer_are_stored_in_half_precision(restorer_card):
    nodes = tf.compat.v1.GraphDef.FromString(restorer_card.with_suffix(".pb").read_bytes()).node
    halves = [n for n in nodes if n.op == "Const" and n.attr["dtype"].type == tf.float16]
    kernels = 1 + 2 + 1 + 2 + 1 + 2 + 1
    assert len(halves) == kernels
    casts = [n.name for n in nodes if n.op == "Cast" and n.input[0].startswith("half/")]
    assert [f"half/{name}" for name in casts] == [n.name for n in halves]


def test_thaw_restores_the_kernels_of_a_restorer_in_half_precision(
    restorer_recipe, restorer_folder, restorer_card, run_folder, tmp_path
):
    thaw(restorer_card, tmp_path / "thawed")
    _, thawed = load_checkpoint(tmp_path / "thawed" / CHECKPOINT, ["ema"])
    _, trained = load_checkpoint(restorer_folder / CHECKPOINT, ["ema"])
    for received, expected in zip(thawed["ema"], trained["ema"], strict=True):
        half = expected.astype(np.float16) if expected.ndim == 4 else expected
        np.testing.assert_array_equal(received, half.astype(np.float32))
    sr_network = build_network(read_recipe(run_folder / RECIPE).as_dict())
    options = {"start_from": tmp_path / "thawed", "sr_network": sr_network}
    run = start_run(restorer_recipe, tmp_path / "new", **options)
    np.testing.assert_array_equal(run.ema[0], thawed["ema"][0])


def test_a_tuned_sr_network_is_exported_beside_its_restorer(
    restorer_recipe, run_folder, larger_photos, tmp_path
):
    stage = replace(restorer_recipe.restoring, grid="sr", generator_rate=1.0)
    recipe = replace(restorer_recipe, restoring=stage)
    run = train(recipe, larger_photos, tmp_path / "run", 5, through=[run_folder])
    path = tmp_path / "tuned.json"
    freeze(recipe, tmp_path / "run", larger_photos, path, "0.1", restorer="r", is_tuned=True)
    card = read_card(path)
    assert (card.scale, card.stride, card.restorer) == (4, 1, "r")
    assert "tuned here to pictures that were restored" in card.description
    assert card.training["tuned_with"] == recipe.as_dict()
    generator = build_network({"generator": card.recipe["generator"]})
    generator.set_weights(run.tuned_ema)
    lr = noise(13, 22, seed=3)
    expected = uint8_from_unit(np.asarray(generator(unit_from_uint8(lr)[None]))[0])
    assert np.abs(load_graph(path)(lr).astype(int) - expected).max() <= 1
    before = load_checkpoint(run_folder / CHECKPOINT, ["ema"])[1]["ema"]
    assert any(not np.array_equal(b, a) for b, a in zip(before, run.tuned_ema, strict=True))


def test_a_run_without_a_tuned_network_has_none_to_export(
    restorer_recipe, restorer_folder, larger_photos, tmp_path
):
    with pytest.raises(ValueError, match="Received: a run that tunes no SR network"):
        freeze(
            restorer_recipe, restorer_folder, larger_photos, tmp_path / "t.json", "1", is_tuned=True
        )
