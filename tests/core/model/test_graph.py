import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import core.model.graph
from config import Settings
from core.errors import GraphMismatch
from core.model.card import graph_path, read_card, read_verified_graph, write_card
from core.model.graph import FrozenGraph, agreement_db, load_graph
from core.model.restorer import Restoration, Restorer
from core.model.tiles import Box, WindowSizes
from core.model.upscaler import Upscaler
from core.picture import Picture
from tests.support.stand_ins import make_card, noise

CARD_PATH = Settings().card
SIZES = [(1, 1), (1, 90), (2, 3), (57, 31), (80, 128), (129, 130)]
WINDOWS = (64, 128)
LARGE = (300, 220)  # with tiles of the larger window that touch no edge


@pytest.fixture(scope="module")
def graph():
    return load_graph(CARD_PATH)


def photograph(height, width):
    """Smooth shapes and noise: both flat and busy places."""
    y, x = np.mgrid[:height, :width]
    waves = 127 + 90 * np.sin(x / 9 + y / 23)[..., None] * np.array([1, 0.7, -0.5])
    return np.clip(waves + noise(height, width) / 8 - 16, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "windows"), [*((size, WINDOWS) for size in SIZES), (LARGE, WINDOWS[1:])]
)
def test_tiled_equals_untiled_within_a_level(graph, size, windows):
    lr = photograph(*size)
    untiled = graph(lr).astype(int)
    for window in windows:
        tiled = Upscaler(graph.card, graph, window=window).upscale(Picture(lr)).pixels
        assert np.abs(tiled - untiled).max() <= 1


def centre_after_a_change_outside(graph, distance):
    """SR of the centre pixel before and after all beyond `distance` is changed."""
    size, centre = 2 * graph.card.radius + 9, graph.card.radius + 4
    before, after = noise(size, size), noise(size, size, seed=1)
    inside = slice(centre - distance, centre + distance + 1)
    after[inside, inside] = before[inside, inside]
    sr_centre = slice(4 * centre, 4 * centre + 4)
    return graph(before)[sr_centre, sr_centre], graph(after)[sr_centre, sr_centre]


def test_pixels_beyond_the_radius_of_the_card_have_no_effect(graph):
    np.testing.assert_array_equal(*centre_after_a_change_outside(graph, graph.card.radius))


def test_nearer_pixels_have_an_effect(graph):
    assert not np.array_equal(*centre_after_a_change_outside(graph, 3))


def test_a_flat_picture_keeps_its_colour(graph):
    flat = np.full((30, 40, 3), (200, 40, 90), np.uint8)
    middle = graph(flat)[40:-40, 40:-40].astype(int)
    assert np.abs(middle - (200, 40, 90)).max() <= 2


def test_a_changed_graph_is_refused(tmp_path):
    card = read_card(CARD_PATH)
    write_card(tmp_path / "srresnet.json", card)
    changed = bytearray(graph_path(CARD_PATH, card).read_bytes())
    changed[-1] ^= 1
    graph_path(tmp_path / "srresnet.json", card).write_bytes(changed)
    with pytest.raises(GraphMismatch, match="sha256"):
        load_graph(tmp_path / "srresnet.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 2}, r"must answer .* with \(1, 6, 10, 3\)"),
        ({"output_tensor": "nowhere:0"}, "nowhere"),
        ({"input_tensor": "nowhere:0"}, "nowhere"),
    ],
)
def test_a_graph_that_does_not_match_its_card_is_refused(changes, message):
    card = read_card(CARD_PATH)
    graph_def = read_verified_graph(CARD_PATH, card)
    with pytest.raises(GraphMismatch, match=message):
        FrozenGraph(replace(card, **changes), graph_def)


def test_bytes_that_are_not_a_graph_are_refused():
    with pytest.raises(GraphMismatch, match="cannot be loaded"):
        FrozenGraph(make_card(), b"\xff" * 100)


def test_a_graph_of_floats_is_refused():
    with tf.Graph().as_default() as graph:
        lr = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3), "lr")
        tf.identity(lr, "sr")
    with pytest.raises(GraphMismatch, match="lr:0` must be uint8. Received: float32"):
        FrozenGraph(make_card(), graph.as_graph_def().SerializeToString())


@pytest.mark.parametrize(
    ("has_it", "agreement", "precision"),
    [(True, 45.0, "bfloat16"), (True, 44.9, "float32"), (False, 99.0, "float32")],
)
def test_bfloat16_is_used_if_it_is_available_and_accurate(
    monkeypatch, has_it, agreement, precision
):
    monkeypatch.setattr(core.model.graph, "has_bfloat16", lambda: has_it)
    monkeypatch.setattr(core.model.graph, "agreement_db", lambda *_graphs: agreement)
    assert load_graph(CARD_PATH).precision == precision


def test_an_explicit_precision_is_used(monkeypatch):
    monkeypatch.setattr(core.model.graph, "has_bfloat16", lambda: True)
    assert load_graph(CARD_PATH, precision="float32").precision == "float32"


def test_agreement_is_measured_in_decibels(graph):
    assert agreement_db(graph, graph) > 100
    assert agreement_db(graph, lambda lr: np.clip(graph(lr), 1, None) - 1) == pytest.approx(
        48, abs=1
    )


def test_the_checksums_of_the_assets_are_right():
    for line in (CARD_PATH.parent / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        assert hashlib.sha256((CARD_PATH.parent / name).read_bytes()).hexdigest() == expected


@pytest.fixture(scope="module")
def restorer():
    return load_graph(CARD_PATH.with_name("restorer.json"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 70), (131, 178)])
def test_a_picture_restored_in_tiles_is_as_one_restored_whole(restorer, height, width):
    lr = photograph(height, width)
    missing = [(0, -side % restorer.card.stride) for side in (height, width)]
    levels = np.pad(lr.astype(np.float32), [*missing, (0, 0)], mode="symmetric")
    whole = restorer(levels)[:height, :width]
    rows = []
    tiled = Restorer(restorer.card, restorer, windows=WindowSizes(128, 128))
    restoration = Restoration(Picture(lr), 1.0, tiled)
    for row in tiled.plan(height, width):
        for tile in row:
            restoration.restore_tile(tile, 1.0)
        core = row[0].core
        rows.append(restoration.crop(Box(core.top, 0, min(core.bottom, height), width)))
        restoration.release(core.bottom)
    assert np.abs(np.concatenate(rows) - whole).max() <= 1


def test_a_restored_picture_of_8_bits_is_rounded_once(graph, restorer):
    lr = photograph(30, 40)
    upscaler = Upscaler(graph.card, graph, window=128, restorer=Restorer(restorer.card, restorer))
    restoration = upscaler.restoration(Picture(lr), 1.0)
    sr = upscaler.upscale(Picture(lr), restoration=restoration).pixels
    levels = graph(
        restorer(np.pad(lr, ((0, 2), (0, 0), (0, 0)), "symmetric").astype(np.float32))[:30]
    )
    assert sr.dtype == np.uint8
    assert np.abs(sr - levels).max() <= 0.5 + 1e-2
