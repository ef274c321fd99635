import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import ANY, Mock

import numpy as np
import pytest
import tensorflow as tf

from core.errors import GraphMismatch, InvalidModel, InvalidOptions, ModelUnavailable
from core.files import MEGABYTE
from core.model.card import graph_path, read_card, write_card
from core.model.catalog import (
    Catalog,
    Serving,
    chosen_precision,
    model_paths,
    part_share,
    read_catalog,
    window_sizes,
)
from core.model.grid import output_grid
from core.model.tiles import WindowSizes
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.picture import Picture
from core.runtime.admission import Admission
from tests.support.stand_ins import (
    make_card,
    make_restorer,
    noise,
    repeat,
    save_graph,
    save_linked_cards,
)

AS_IT_IS = OutputOptions()
SERVING = Serving(window=32, large_window=48, threads=1, precision="float32")


def random_graph(scale, seed=0, broken=False):
    """Return a serialised graph of one random convolution and a pixel shuffle."""
    kernel = np.random.default_rng(seed).normal(0, 0.1, (3, 3, 3, 3 * scale**2)).astype(np.float32)
    kernel[1, 1] += np.tile(np.eye(3), scale**2)
    if broken:
        kernel[0, 0, 0, 0] = np.nan
    graph = tf.Graph()
    with graph.as_default():
        lr = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), "lr")
        sr = tf.nn.conv2d(tf.cast(lr, tf.float32), kernel, 1, "SAME")
        sr = tf.clip_by_value(tf.nn.depth_to_space(sr, scale), 0.0, 255.0)
        tf.cast(tf.round(sr), tf.uint8, name="sr")
    return graph.as_graph_def().SerializeToString()


def save_model(folder, name, scale=4, **changes):
    broken = changes.pop("broken", False)
    card = make_card(name=name, scale=scale, halo=1, radius=1, **changes)
    return save_graph(folder, card, random_graph(scale, broken=broken))


@pytest.fixture
def default():
    return Upscaler(make_card(), repeat, window=32, restorer=make_restorer())


@pytest.fixture
def registry(default, tmp_path):
    def read(verify=False):
        catalog = Catalog(default, SERVING)
        catalog.add(tmp_path)
        if verify:
            catalog.verify()
        return catalog.registry()

    return read


def upscale(model, lr, options=AS_IT_IS, budget=1000 * MEGABYTE):
    admission = Admission(budget=budget, queue=1, backlog_s=lambda: 0.0)
    grid = model.upscaler.grid(options, *lr.shape[:2])
    with model.admit(admission, 0):
        return model.upscaler.upscale(Picture(lr), grid=grid).pixels


@pytest.mark.parametrize("scale", [2, 4])
def test_a_model_of_the_folder_computes_what_its_graph_does(registry, tmp_path, scale):
    path = save_model(tmp_path, "mine", scale)
    lr = noise(40, 57)
    model = registry().find("mine")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        graph_def = graph_path(path, read_card(path)).read_bytes()
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(graph_def), name="")
        expected = session.run("sr:0", {"lr:0": lr[None]})[0].astype(int)
    assert np.abs(upscale(model, lr) - expected).max() <= 1


def test_the_size_of_a_model_of_scale_2_is_twice_that_of_the_picture_and_at_most_four_times(
    registry, tmp_path
):
    save_model(tmp_path, "double", 2)
    model, lr = registry().find("double"), noise(20, 33)
    assert upscale(model, lr).shape == (40, 66, 3)
    assert upscale(model, lr, OutputOptions(scale=4)).shape == (80, 132, 3)
    with pytest.raises(InvalidOptions, match="from 1 to 4 times"):
        output_grid(OutputOptions(scale=4.1), 20, 33, model.upscaler.scale)


def test_cards_that_cannot_be_served_are_listed_with_the_reason(registry, tmp_path):
    for name in ("good", "stand-in", "changed", "gone"):
        save_model(tmp_path, name)
    save_model(tmp_path, "triple", 3)
    save_model(tmp_path, "nan", broken=True)
    card = make_card(name="cleaner", scale=1)
    save_graph(tmp_path, card, b"")
    (tmp_path / "changed.pb").write_bytes(b"other")
    (tmp_path / "gone.pb").unlink()
    (tmp_path / "text.json").write_text("[" * 100_000)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "long.json").write_bytes(b" " * 1_000_001)
    write_card(tmp_path / "climbing.json", replace(card, name="../climbing"))
    write_card(tmp_path / "other.json", replace(card, name="good"))
    write_card(tmp_path / "s p.json", card)
    linked = replace(read_card(tmp_path / "good.json"), name="linked", faithful="../good")
    write_card(tmp_path / "linked.json", linked)
    models = registry(verify=True)
    assert models.names == ["stand-in", "good", "nan"]
    with pytest.raises(InvalidModel, match="finite"):
        upscale(models.find("nan"), noise(9, 9))
    reasons = models.refused
    expected = {
        "stand-in": "name that no other model has",
        "changed": "sha256",
        "gone": "beside it",
        "triple": "scale of 2 or 4. Received: 3",
        "nan": "finite",
        "text": "wrong or missing fields",
        "folder": "Is a directory",
        "loop": "symbolic links",
        "long": "more than 1000000 bytes",
        "climbing": "letters, digits",
        "other": "named like its model. Received: a card of 'good'",
        "s p": "name that requests can state",
        "linked": "letters, digits",
    }
    assert set(reasons) == set(expected)
    assert [name for name, words in expected.items() if words not in reasons[name]] == []
    assert str(tmp_path) not in json.dumps(reasons)
    for name in ("cleaner", "../climbing", "unknown", None):
        if name is not None:
            with pytest.raises(InvalidModel, match="one of stand-in, good"):
                models.find(name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scale": 4.0}, "scale: Input should be a valid integer"),
        ({"halo": -1}, "halo: Input should be greater"),
        ({"halo": 10**9}, "halo: Input should be less"),
        ({"stride": 0}, "stride: Input should be greater"),
        ({"mflop_per_lr_pixel": float("nan")}, "mflop_per_lr_pixel: Input should be"),
        ({"mflop_per_lr_pixel": -1}, "mflop_per_lr_pixel: Input should be"),
        ({"mflop_per_lr_pixel": 10**400}, "mflop_per_lr_pixel: Input should be"),
        ({"quality": {"Set5": float("inf")}}, "numbers must be finite, not inf"),
        ({"license": 5}, "license: Input should be a valid string"),
        ({"faithful": "odd"}, "name each other in a circle. Received: odd"),
        ({"restored": "odd"}, "name each other in a circle. Received: odd"),
        ({"restorer": "odd", "restored": "odd", "faithful": "odd"}, "in a circle. Received: odd"),
    ],
)
def test_a_card_of_odd_values_is_listed_and_the_others_serve_on(
    registry, tmp_path, changes, expected
):
    save_model(tmp_path, "good")
    path = save_model(tmp_path, "odd")
    path.write_text(json.dumps(read_card(path).as_dict() | changes))
    models = registry(verify=True)
    assert models.names == ["stand-in", "good"]
    assert expected in models.refused["odd"]


@pytest.mark.parametrize(
    ("faithful", "others"),
    [("tuned-soft", set()), ("soft", {"tuned-soft"}), (None, {"tuned-soft"})],
)
def test_networks_that_were_tuned_to_restored_pictures_are_no_models(tmp_path, faithful, others):
    save_linked_cards(tmp_path)
    write_card(tmp_path / "tuned.json", make_card(name="tuned", faithful=faithful))
    paths = model_paths(tmp_path.glob("*.json"))
    assert {path.stem for path in paths} == {"sharp", "soft", "clean", "clean-soft"} | others


@pytest.mark.parametrize("suffix", ["json", "pb"])
def test_a_pipe_in_place_of_a_file_is_never_waited_for(registry, tmp_path, suffix):
    save_model(tmp_path, "good")
    save_model(tmp_path, "odd")
    (tmp_path / f"odd.{suffix}").unlink()
    os.mkfifo(tmp_path / f"odd.{suffix}")
    models = registry(verify=True)
    assert upscale(models.find("good"), noise(9, 9)).shape == (36, 36, 3)
    if suffix == "json":
        assert "Not a regular file" in models.refused["odd"]
        return
    with pytest.raises(ModelUnavailable, match="Not a regular file"):
        upscale(models.find("odd"), noise(9, 9))


def test_a_folder_that_cannot_be_read_is_refused(default, tmp_path):
    with pytest.raises(GraphMismatch, match="Folder of models must be one that can be read"):
        read_catalog(default, SERVING, tmp_path, tmp_path / "missing")


def test_five_hundred_cards_links_and_copies_of_own_cards_are_listed(registry, tmp_path):
    first = save_model(tmp_path, "m0")
    card = read_card(first)
    for number in range(1, 500):
        name = f"m{number}"
        os.link(graph_path(first, card), tmp_path / f"{name}.pb")
        write_card(tmp_path / f"{name}.json", replace(card, name=name))
    write_card(tmp_path / "stand-in.json", make_card())  # that of the default model
    data = tmp_path / "..data"
    data.mkdir()
    for suffix in (".json", ".pb"):
        (tmp_path / f"m7{suffix}").rename(data / f"m7{suffix}")
        (tmp_path / f"m7{suffix}").symlink_to(data / f"m7{suffix}")
    models = registry(verify=True)
    assert (len(models.names), models.refused) == (501, {})


def test_a_model_whose_card_was_replaced_asks_for_a_restart(registry, tmp_path):
    save_model(tmp_path, "mine", 4)
    models = registry()
    save_model(tmp_path, "mine", 2)
    with pytest.raises(InvalidModel, match="Restart the service") as refused:
        upscale(models.find("mine"), noise(9, 9))
    assert str(tmp_path) not in f"{refused.value} {models.refused}"


def test_a_model_whose_files_are_gone_for_a_while_is_served_when_they_are_back(registry, tmp_path):
    save_model(tmp_path, "mine")
    models = registry()
    graph, kept = tmp_path / "mine.pb", tmp_path / "kept"
    graph.rename(kept)
    assert registry(verify=True).refused == {"mine": ANY}  # not there at the start
    with pytest.raises(ModelUnavailable, match="No such file") as refused:
        upscale(models.find("mine"), noise(9, 9))
    assert str(tmp_path) not in str(refused.value)
    kept.rename(graph)
    assert upscale(models.find("mine"), noise(9, 9)).shape == (36, 36, 3)


def test_verifying_a_graph_that_cannot_be_read_refuses_no_model(default, tmp_path):
    path = save_model(tmp_path, "mine")
    catalog = read_catalog(default, SERVING, tmp_path, None)
    graph_path(path, read_card(path)).unlink()
    catalog.verify()
    assert catalog.registry().refused == {}


def test_a_model_that_finds_no_memory_is_tried_again_and_one_that_cannot_run_is_not(
    registry, tmp_path, monkeypatch
):
    save_model(tmp_path, "mine")
    model = registry().find("mine")
    errors = [tf.errors.ResourceExhaustedError(None, None, "OOM")]
    errors.append(tf.errors.UnimplementedError(None, None, "No such kernel."))
    monkeypatch.setattr("core.model.lean_graph.open_session", Mock(side_effect=errors))
    with pytest.raises(ModelUnavailable, match="not enough memory"):
        upscale(model, noise(9, 9))
    for _ in range(2):
        with pytest.raises(InvalidModel, match="cannot be run: No such kernel"):
            upscale(model, noise(9, 9))


@pytest.mark.parametrize(
    ("mflop", "halo", "expected"),
    [(1.3, 14, (128, 192)), (36, 16, (72, 72)), (36, 40, (160, 160)), (0, 3, (128, 192))],
)
def test_windows_are_smaller_for_networks_of_much_arithmetic(mflop, halo, expected):
    card = make_card(mflop_per_lr_pixel=mflop, halo=halo)
    assert window_sizes(card, WindowSizes(128, 192)) == expected


@pytest.mark.parametrize(
    ("mflop", "window", "expected"), [(1.3, 384, 1), (36, 160, 0.1), (0, 9, 1)]
)
def test_windows_of_much_arithmetic_are_computed_in_parts(mflop, window, expected):
    card = make_card(mflop_per_lr_pixel=mflop)
    assert part_share(card, window) == pytest.approx(expected, rel=0.1)


def test_a_window_in_parts_gives_way_in_the_scheduler_of_all_models(default, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(default.scheduler, "give_way", lambda: given.append(1))
    monkeypatch.setattr("core.model.catalog.MOST_WINDOW_MFLOP", 0.001)
    monkeypatch.setattr("core.model.catalog.PART_MFLOP", 0.001)
    save_model(tmp_path, "mine", mflop_per_lr_pixel=0.001)
    model = read_catalog(default, SERVING, tmp_path, None).registry().find("mine")
    upscale(model, noise(9, 9))
    assert given


@pytest.mark.parametrize(
    ("budget_mb", "expected"), [(1000, (32, 48)), (57, (24, 24)), (40, (8, 8))]
)
def test_windows_are_smaller_where_there_is_little_memory(registry, tmp_path, budget_mb, expected):
    save_model(tmp_path, "mine")
    model, lr = registry().find("mine"), noise(60, 57)
    whole = upscale(registry().find("mine"), lr)
    np.testing.assert_array_equal(upscale(model, lr, budget=budget_mb * MEGABYTE), whole)
    assert model.upscaler.windows == expected


@pytest.mark.parametrize(
    ("precision", "has_it", "stated", "expected"),
    [
        ("auto", True, {"float32": 90.0, "bfloat16": 45.0}, "bfloat16"),
        ("auto", True, {"bfloat16": 44.9}, "float32"),
        ("auto", True, {"float32": 90.0}, "float32"),
        ("auto", False, {"bfloat16": 60.0}, "float32"),
        ("bfloat16", True, {}, "bfloat16"),
    ],
)
def test_bfloat16_is_only_chosen_if_the_card_states_that_it_is_accurate(
    monkeypatch, precision, has_it, stated, expected
):
    monkeypatch.setattr("core.model.catalog.has_bfloat16", lambda: has_it)
    assert chosen_precision(make_card(agreement_db=stated), precision) == expected


def test_several_models_are_loaded_at_once(registry, tmp_path):
    names = [f"m{number}" for number in range(6)]
    for name in names:
        save_model(tmp_path, name)
    models, lr = registry(), noise(9, 9)
    with ThreadPoolExecutor(len(names)) as threads:
        results = list(threads.map(lambda name: upscale(models.find(name), lr), names))
    assert all(np.array_equal(result, results[0]) for result in results)
