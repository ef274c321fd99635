"""The model card: what a frozen graph is, beside the graph, in JSON."""

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import GraphMismatch


@dataclass(frozen=True)
class ModelCard:
    """A frozen graph described: all that its callers need to know of it.

    The graph takes LR (B, H, W, 3) and gives SR (B, scale*H, scale*W, 3), both uint8
    in [0, 255], sRGB; the conversion to the network's own range is part of it.
    """

    name: str
    """Short name, also of the files: `<name>.pb` and `<name>.json`."""
    version: str
    """Changes with every new set of weights."""
    description: str
    """One truthful sentence: what the weights are and what they were trained on."""
    scale: int
    """SR pixels per LR pixel, on each side."""
    input_tensor: str
    output_tensor: str
    input_range: tuple[int, int]
    """Lowest and highest level of the uint8 input."""
    output_range: tuple[int, int]
    """Lowest and highest level of the uint8 output."""
    radius: int
    """LR pixels on each side that an SR pixel depends on."""
    halo: int
    """LR pixels on each side without which no SR pixel is more than a level off; measured."""
    parameters: int
    mflop_per_lr_pixel: float
    """Arithmetic of the network, 1e6 operations, 2 per multiply-add."""
    sha256: str
    """Of the graph file, in hexadecimal."""
    license: str
    """Of the weights."""
    faithful: str | None = None
    """Name of the card beside this one whose weights are the other end of the knob."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Every number of the training run."""
    training: dict[str, Any] = field(default_factory=dict)
    """The photographs trained on: number, licences, manifest; the steps done."""
    quality: dict[str, Any] = field(default_factory=dict)
    """Measured on the frozen graph: figures per test set."""

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        GraphMismatch: if there is no card, or fields are missing or unknown.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        for name in ("input_range", "output_range"):
            values[name] = tuple(values[name])
        return ModelCard(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GraphMismatch(f"{path} must be a model card. Received: {error!r}") from error


def write_card(path: Path, card: ModelCard) -> None:
    text = json.dumps(card.as_dict(), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def graph_path(card_path: Path, card: ModelCard) -> Path:
    """The graph lies beside its card."""
    return card_path.with_name(f"{card.name}.pb")


def faithful_path(card_path: Path, card: ModelCard) -> Path | None:
    """Card of the faithful network that a detailed one began with, if it has one."""
    return None if card.faithful is None else card_path.with_name(f"{card.faithful}.json")


def read_verified_graph(card_path: Path, card: ModelCard) -> bytes:
    """The bytes of the graph that the card describes, and of no other.

    Raises:
        GraphMismatch: if the file is missing or its sha256 is not the card's.
    """
    path = graph_path(card_path, card)
    try:
        graph = path.read_bytes()
    except OSError as error:
        raise GraphMismatch(
            f"{path} must be the graph of {card_path}. Received: {error}"
        ) from error
    received = hashlib.sha256(graph).hexdigest()
    if received != card.sha256:
        raise GraphMismatch(
            f"{path} must have the sha256 that its card states, {card.sha256}. Received: {received}"
        )
    return graph
