import hashlib
import json

import pytest

from core.errors import GraphMismatch
from core.model.card import (
    graph_path,
    read_card,
    read_linked_cards,
    read_verified_graph,
    write_card,
)
from tests.support.stand_ins import LINKED_CARDS, make_card, save_linked_cards

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


def test_all_cards_that_a_card_names_are_read(tmp_path):
    cards = read_linked_cards(save_linked_cards(tmp_path))
    assert cards[0].name == "sharp"
    assert sorted(card.name for card in cards) == sorted(LINKED_CARDS)


def test_a_missing_linked_card_is_refused(tmp_path):
    path = save_linked_cards(tmp_path)
    (tmp_path / "tuned-soft.json").unlink()
    with pytest.raises(GraphMismatch, match="tuned-soft.json"):
        read_linked_cards(path)
