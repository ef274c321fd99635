"""What the README states is what was measured, and what is there."""

import re

import numpy as np

from config import ROOT, Settings
from core.images import decode_image
from core.model.card import faithful_path, read_card
from training.evaluation.evaluate import FIRST_MARK, LAST_MARK, as_table, write_into
from training.evaluation.outputs import TestPicture, compare

README = ROOT / "README.md"


def test_the_quality_table_is_that_of_the_cards():
    path = Settings().card
    card = read_card(path)
    faithful = read_card(faithful_path(path, card))
    quality = {name: faithful.quality[name] | card.quality[name] for name in card.quality}
    table = as_table(quality)
    assert f"{FIRST_MARK}\n{table}{LAST_MARK}" in README.read_text()


def test_a_table_is_replaced_between_the_marks(tmp_path):
    document = tmp_path / "README.md"
    document.write_text(f"before\n{FIRST_MARK}\nold\n{LAST_MARK}\nafter\n")
    for table in ("new\n", "newer\n"):
        write_into(document, table)
        assert document.read_text() == f"before\n{FIRST_MARK}\n{table}{LAST_MARK}\nafter\n"


def test_the_picture_is_what_the_weights_give():
    samples = ROOT / "samples" / "test_examples"
    lr, hr = (samples / kind / "food.png" for kind in ("low_resolution", "original"))
    encoded = compare(Settings().card, TestPicture("samples", lr, hr))
    expected = decode_image(encoded).pixels.astype(int)
    shown = decode_image((ROOT / "docs" / "food.png").read_bytes()).pixels
    assert np.abs(shown - expected).max() <= 1


def test_every_link_to_a_file_leads_somewhere():
    documents = [path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md"))]
    for document in ("README.md", "CONTRIBUTING.md", "assets/README.md", *documents):
        path = ROOT / document
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{document} links to {target}"


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md", "docs/operations.md"):
        for target in set(re.findall(r"`make ([a-z-]+)`", (ROOT / document).read_text())):
            assert f"\n{target}:" in makefile
