import hashlib
import json

import pytest

from core.errors import GraphMismatch
from core.model.card import graph_path, read_card, read_verified_graph, write_card
from tests.support.stand_ins import make_card

GRAPH = b"not really a graph"


@pytest.fixture
def card_path(tmp_path):
    card = make_card(sha256=hashlib.sha256(GRAPH).hexdigest())
    path = tmp_path / "stand-in.json"
    write_card(path, card)
    graph_path(path, card).write_bytes(GRAPH)
    return path


def test_a_card_survives_the_round_trip(tmp_path):
    card = make_card(quality={"Set5": {"model": {"psnr_y_db": 30.0}}})
    write_card(tmp_path / "card.json", card)
    assert read_card(tmp_path / "card.json") == card


def test_the_graph_of_the_card_is_read(card_path):
    assert read_verified_graph(card_path, read_card(card_path)) == GRAPH


def test_another_graph_is_refused_with_both_checksums(card_path):
    card = read_card(card_path)
    graph_path(card_path, card).write_bytes(GRAPH + b"!")
    with pytest.raises(GraphMismatch, match=card.sha256) as caught:
        read_verified_graph(card_path, card)
    assert hashlib.sha256(GRAPH + b"!").hexdigest() in str(caught.value)


def test_a_missing_graph_is_refused_by_its_path(card_path):
    card = read_card(card_path)
    graph_path(card_path, card).unlink()
    with pytest.raises(GraphMismatch, match="stand-in.pb"):
        read_verified_graph(card_path, card)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"name": "x"}', json.dumps(make_card().as_dict() | {"colour": "red"})],
)
def test_a_file_that_is_not_a_card_is_refused(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(GraphMismatch, match="card.json"):
        read_card(path)


def test_a_missing_card_is_refused(tmp_path):
    with pytest.raises(GraphMismatch, match="nowhere"):
        read_card(tmp_path / "nowhere.json")
