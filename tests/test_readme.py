"""The documentation states what was measured, and names what exists."""

import ast
import re
import tomllib

import numpy as np
import pytest

import api
from config import PARSING_ERRORS, ROOT, Settings, describe_settings
from core.images import decode_image
from core.model.card import faithful_path, read_card
from core.model.tiles import Box
from training.evaluation.evaluate import (
    FIRST_MARK,
    FORMATS,
    LAST_MARK,
    WILD_FIRST_MARK,
    WILD_LAST_MARK,
    as_table,
    part_wild,
    write_into,
)
from training.evaluation.outputs import TestPicture, compare, compare_restored

README = ROOT / "README.md"
DOCS = ROOT / "docs"
SERVICE = ("api", "core", "jobs", "service")
FOLDERS = ("benchmarks", "training", "assets", "samples")
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    *(ROOT / folder / "README.md" for folder in FOLDERS),
    *sorted(DOCS.rglob("*.md")),
]
CHURCH = Box(top=88, left=112, bottom=216, right=240)  # part of the sample that is shown
LONGEST_README = 150  # lines
SHORTEST_MESSAGE = 20  # characters of a literal
PATH = re.compile(r"`((?:api|core|jobs|training|deploy|tests)/[\w./-]*)`")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def name_of(path):
    return str(path.relative_to(ROOT))


def measured_quality():
    """Figures by test set and output, of both networks that are served."""
    path = Settings().card
    card = read_card(path)
    faithful = read_card(faithful_path(path, card))
    return {name: faithful.quality[name] | card.quality[name] for name in card.quality}


def test_the_quality_tables_are_those_of_the_cards():
    clean, wild = part_wild(measured_quality())
    text = (DOCS / "quality.md").read_text()
    assert f"{FIRST_MARK}\n{as_table(clean)}{LAST_MARK}" in text
    table = as_table(wild) if wild else ""
    assert f"{WILD_FIRST_MARK}\n{table}{WILD_LAST_MARK}" in text


def test_the_short_quality_table_holds_the_figures_of_the_full_one():
    clean, _ = part_wild(measured_quality())
    for name, outputs in clean.items():
        figures = [
            FORMATS[key].format(measured[key])
            for key in ("psnr_y_db", "lpips_sq")
            for measured in outputs.values()
        ]
        assert f"| {name} | {' | '.join(figures)} |\n" in README.read_text()


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
    assert_is_shown(DOCS / "food.png", encoded)


def test_the_first_picture_is_what_the_weights_give():
    church = ROOT / "samples" / "test_examples" / "degraded" / "church.jpg"
    assert_is_shown(DOCS / "church.png", compare_restored(Settings().card, church, CHURCH))


def assert_is_shown(path, expected):
    """A file shows the picture of a PNG. A level of rounding depends on the processor."""
    shown, pixels = (
        decode_image(data).pixels.astype(int) for data in (path.read_bytes(), expected)
    )
    assert np.abs(shown - pixels).max() <= 1


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_to_a_file_leads_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[)#]", CODE.sub("", document.read_text())):
        assert (document.parent / target).exists(), f"{document} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_that_is_named_exists(document):
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", document.read_text())):
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_that_is_named_exists(document):
    """Paths such as `core/files.py`, in code, from the top folder."""
    named = set(PATH.findall(document.read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_setting_stands_once_in_the_configuration_page():
    lines = (DOCS / "configuration.md").read_text().splitlines()
    names = [setting[0] for setting in describe_settings()]
    assert [name for name in names if lines.count(name) != 1] == []


def literals():
    """Every string in the source of the service; a NUL stands for what is filled in."""
    for path in [*ROOT.glob("*.py"), *(f for name in SERVICE for f in (ROOT / name).rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [getattr(part, "value", None) for part in parts]
            yield "".join(text if isinstance(text, str) else "\0" for text in texts)


def without_value(message):
    """The part of a message that says what was expected."""
    return message.split(" Received:")[0].strip()


@pytest.fixture(scope="module")
def messages():
    """Matches what any message of the service says was expected."""
    expected = {without_value(text) for text in literals()}
    expected |= {f"\0 must be {words}." for words in PARSING_ERRORS.values()}
    long_enough = [text for text in expected if len(text.replace("\0", "")) >= SHORTEST_MESSAGE]
    return re.compile("|".join(re.escape(text).replace("\0", ".*") for text in long_enough))


def documented_messages():
    """The headings of the troubleshooting page and the examples of the table of errors."""
    headings = re.findall(r"^### (`+)(.*?)\1", (DOCS / "troubleshooting.md").read_text(), re.M)
    rows = re.findall(r"^\| \d{3}.*\| (`+)(.*?)\1", (DOCS / "http-api.md").read_text(), re.M)
    return [text for _, text in headings + rows if text != "Internal Server Error"]


@pytest.mark.parametrize("message", documented_messages())
def test_a_documented_message_is_one_of_the_service(message, messages):
    assert messages.fullmatch(without_value(message))


@pytest.mark.parametrize(
    "document", ["README.md", "docs/quality.md", "web/index.html", "api/__init__.py"]
)
def test_wherever_pictures_are_shown_the_words_say_what_detail_is(document):
    assert "Details are synthesised, not recovered." in (ROOT / document).read_text()


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == api.VERSION
    assert f"ARG VERSION={project['version']}\n" in (ROOT / "Dockerfile").read_text()
    assert f"\n## {project['version']} - " in (ROOT / "CHANGELOG.md").read_text()
    for overlay in ("production", "cluster", "complete"):
        text = (ROOT / "deploy" / "kustomize" / overlay / "kustomization.yaml").read_text()
        assert f"newTag: {project['version']}\n" in text
