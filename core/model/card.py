"""The model card: a JSON file beside a frozen graph that describes it."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import GraphMismatch, GraphUnreadable
from core.files import open_regular
from core.values import NAME

MIN_AGREEMENT_DB = 45.0
"""PSNR between bfloat16 and float32 below which the eye might see the difference."""

MOST_CARD_BYTES = 1_000_000
"""Size of a card at most; one with all settings of its training takes a tenth of it."""

MOST_LINKS = 3
"""Number of links at most from a card to one that it names through others. A circle has more."""

Length = Annotated[int, Field(ge=0, le=4096)]
"""A number of LR pixels; windows are a few times as large, and a network is hundreds wide."""


@dataclass(frozen=True)
class ModelCard:
    """Everything that callers need to know about a frozen graph.

    The graph maps LR (B, H, W, 3) to SR (B, scale*H, scale*W, 3), both uint8 in [0, 255], sRGB.
    A restorer has scale 1: it maps LR to LR.
    The conversion to the network's own range is part of the graph. The ranges are those of cards
    that are read.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    name: str
    """Short name; the files are `<name>.pb` and `<name>.json`."""
    version: str
    """Changes with every new set of weights."""
    description: str
    """One sentence: what the weights are and what they were trained on."""
    scale: Annotated[int, Field(ge=1, le=16)]
    """SR pixels per LR pixel, on each side."""
    input_tensor: str
    output_tensor: str
    input_range: tuple[int, int]
    """Lowest and highest level of the uint8 input."""
    output_range: tuple[int, int]
    """Lowest and highest level of the uint8 output."""
    radius: Length
    """Number of LR pixels on each side that an SR pixel depends on."""
    halo: Length
    """LR pixels of context on each side that keep every SR pixel within a level; measured."""
    parameters: Annotated[int, Field(ge=0, le=10**12)]
    """Number of weights."""
    mflop_per_lr_pixel: Annotated[float, Field(ge=0, le=1e6)]
    """Arithmetic operations of the network, in millions; a multiply-add counts as 2."""
    sha256: str
    """SHA-256 of the graph file, in hexadecimal."""
    license: str
    """License of the weights."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Imported networks: `name` of the architecture, and its sizes; empty if trained here."""
    source: str | None = None
    """Imported networks: URL of the weights, as stated by the importer; None if not stated."""
    source_sha256: str | None = None
    """Imported networks: SHA-256 of the file that was imported, in hexadecimal."""
    agreement_db: dict[str, float] = field(default_factory=dict)
    """Imported networks: PSNR between the graph and the reference network, dB, by precision."""
    faithful: str | None = None
    """Name of the card of the faithful network, which is used at `detail` 0; None if none."""
    restorer: str | None = None
    """Name of the card of the restorer, which cleans LR pictures before this network; None if
    none. A restorer has scale 1."""
    stride: Annotated[int, Field(ge=1, le=64)] = 1
    """Height and width of pictures inside the network are multiples of it, LR pixels."""
    restores: bool = False
    """Whether the network itself cleans pictures: then `restore` is 0 if a request states none."""
    restored: str | None = None
    """Name of the card of the same network, tuned to fully restored pictures; None if none."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """All settings of the training run."""
    training: dict[str, Any] = field(default_factory=dict)
    """Training data and length: number of photographs, licences, manifest, steps."""
    quality: dict[str, Any] = field(default_factory=dict)
    """Figures measured on the frozen graph, per test set."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        GraphUnreadable: if there is no card, or if it cannot be read.
        GraphMismatch: if fields are missing or unknown.
    """
    try:
        card = card_type().validate_json(read_text(path))
        check_names(card)
        check_is_finite(card.as_dict())
        return card
    except OSError as error:
        raise GraphUnreadable(f"{path} must be a model card. Received: {error}") from error
    except ValidationError as error:
        raise GraphMismatch(
            f"{path} must be a model card. Received: wrong or missing fields: {describe(error)}"
        ) from error
    except ValueError as error:
        raise GraphMismatch(f"{path} must be a model card. Received: {error}") from error


@cache
def card_type() -> TypeAdapter[ModelCard]:
    """Return what checks the fields of a card."""
    return TypeAdapter(ModelCard)


def describe(error: ValidationError) -> str:
    """Return what is wrong with the fields of a card."""
    return "; ".join(
        f"{'.'.join(map(str, line['loc'])) or 'the file'}: {line['msg']}"
        for line in error.errors(include_url=False, include_input=False)
    )


def check_is_finite(value: Any) -> None:
    """Raise ValueError if a number in nested fields of a card is one that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"numbers must be finite, not {value}")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            check_is_finite(item)


def read_text(path: Path) -> bytes:
    """Return the text of a card.

    Raises:
        ValueError: if it is too long for a card.
    """
    with open_regular(path) as file:
        text = file.read(MOST_CARD_BYTES + 1)
    if len(text) > MOST_CARD_BYTES:
        raise ValueError(f"the file has more than {MOST_CARD_BYTES} bytes")
    return text


def check_names(card: ModelCard) -> None:
    """Raise ValueError unless all names of a card are those of files beside it."""
    linked = (card.faithful, card.restorer, card.restored)
    for name in (card.name, *(name for name in linked if name is not None)):
        if NAME.fullmatch(name) is None:
            raise ValueError(
                f"names must be letters, digits, dots, hyphens and underscores, not {name!r:.40}"
            )


def write_card(path: Path, card: ModelCard) -> None:
    """Write a card as JSON."""
    text = json.dumps(card.as_dict(), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def graph_path(card_path: Path, card: ModelCard) -> Path:
    """Return the path of the graph, which is beside its card."""
    return card_path.with_name(f"{card.name}.pb")


def faithful_path(card_path: Path, card: ModelCard) -> Path | None:
    """Return the path of the card of the faithful network; None if the card names none."""
    return _path_beside(card_path, card.faithful)


def restorer_path(card_path: Path, card: ModelCard) -> Path | None:
    """Return the path of the card of the restorer; None if the card names none."""
    return _path_beside(card_path, card.restorer)


def restored_path(card_path: Path, card: ModelCard) -> Path | None:
    """Return the path of the card tuned to restored pictures; None if the card names none."""
    return _path_beside(card_path, card.restored)


def read_linked_cards(card_path: Path, links: int = MOST_LINKS) -> list[ModelCard]:
    """Return a card and all cards that it names, directly or through others.

    Args:
        card_path: JSON file.
        links: number of links that may follow each other.

    Raises:
        GraphMismatch: if one of them cannot be read, or if they name each other in a circle.
    """
    card = read_card(card_path)
    paths = (find(card_path, card) for find in (faithful_path, restored_path, restorer_path))
    named = [path for path in paths if path is not None]
    if named and not links:
        raise GraphMismatch(
            f"{card_path} must name no other card, as it is itself named through {MOST_LINKS}; "
            f"cards must not name each other in a circle. Received: {named[0].stem}"
        )
    linked = [read_linked_cards(path, links - 1) for path in named]
    return [card, *chain.from_iterable(linked)]


def _path_beside(card_path: Path, name: str | None) -> Path | None:
    return None if name is None else card_path.with_name(f"{name}.json")


def read_verified_graph(card_path: Path, card: ModelCard) -> bytes:
    """Return the bytes of the graph of a card, after a check of their SHA-256.

    Raises:
        GraphUnreadable: if the file is missing, or cannot be read.
        GraphMismatch: if its SHA-256 is not that of the card.
    """
    with _open_graph(card_path, card) as file:
        graph = file.read()
    _check_digest(hashlib.sha256(graph).hexdigest(), card_path, card)
    return graph


def verify_graph(card_path: Path, card: ModelCard) -> None:
    """Check the SHA-256 of the graph of a card; raise what `read_verified_graph` does."""
    with _open_graph(card_path, card) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _check_digest(digest, card_path, card)


@contextmanager
def _open_graph(card_path: Path, card: ModelCard) -> Iterator[BufferedReader]:
    path = graph_path(card_path, card)
    try:
        with open_regular(path) as file:
            yield file
    except OSError as error:
        raise GraphUnreadable(
            f"{path} must be the graph of {card_path}. Received: {error}"
        ) from error


def _check_digest(received: str, card_path: Path, card: ModelCard) -> None:
    if received != card.sha256:
        raise GraphMismatch(
            f"{graph_path(card_path, card)} must have the sha256 that its card states, "
            f"{card.sha256}. Received: {received}"
        )
