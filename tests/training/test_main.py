import sys

import pytest

import training.__main__ as program
from config import ROOT


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["training", *(str(a) for a in arguments)])
    program.main()


@pytest.fixture
def tiny_toml(tmp_path):
    path = tmp_path / "tiny.toml"
    text = (ROOT / "training" / "recipes" / "srresnet.toml").read_text()
    changes = {
        "filters = 48": "filters = 8",
        "blocks = 12": "blocks = 1",
        "patch = 24": "patch = 8",
        "batch = 16": "batch = 2",
        "45_000": "12",
        "15_000": "4",
        "= 500": "= 2",
        "1_000": "6",
        "auto": "float32",
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def test_photographs_become_a_measured_graph(
    monkeypatch, capsys, tiny_toml, photos_folder, test_sets, tmp_path
):
    run_folder, card = tmp_path / "run", tmp_path / "assets" / "tiny.json"
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    common = [tiny_toml, "--photos", photos_folder, "--run", run_folder]
    run(monkeypatch, "train", *common, "--max-minutes", "1")
    run(monkeypatch, "freeze", *common, "--card", card, "--version", "0.1")
    run(monkeypatch, "evaluate", card, "--test-sets", test_sets, "--readme", readme)
    table = capsys.readouterr().out
    assert "| Set2 | tiny |" in table
    assert table in readme.read_text()


def test_without_a_command_the_usage_is_shown(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch)
    assert caught.value.code == 2
    assert "train" in capsys.readouterr().err
