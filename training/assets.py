"""The folder of frozen graphs: cards, graphs and the sums of both."""

import hashlib
from pathlib import Path

from core.card import ModelCard, write_card

SUMS = "SHA256SUMS"


def save_card(path: Path, card: ModelCard) -> None:
    """Write a card and bring the folder's `SHA256SUMS` up to date with it."""
    write_card(path, card)
    files = sorted(p for p in path.parent.iterdir() if p.suffix in (".json", ".pb"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (path.parent / SUMS).write_text("".join(lines))
