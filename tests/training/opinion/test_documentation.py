"""The worked example of docs/opinion.md, with files instead of networks and without waiting."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import training.__main__ as program
from config import ROOT
from tests.support.trials import CHOSEN
from training.opinion.options import add_opinion
from training.opinion.server import CODE_HEADER
from training.opinion.trial import HR, NEAREST, read_key, read_trial

DOCUMENT = (ROOT / "docs" / "opinion.md").read_text()
EXAMPLE = DOCUMENT.split("## A worked example")[1].split("\n## ")[0]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", EXAMPLE, re.DOTALL)


def upscale(source, target):
    """Enlarge a folder of pictures by nearest neighbour instead of a network."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        with Image.open(path) as image:
            width, height = image.size
            image.convert("RGB").resize((4 * width, 4 * height), 0).save(target / path.name)


class AnsweringServer:
    """Lets one rater, who knows the key, answer instead of waiting for requests."""

    SCORES = {NEAREST: 1, HR: 5, "srresnet": 3, "srgan": 4}

    def __init__(self, _host, _port, app, **_options):
        self.app = app

    def serve_forever(self):
        client = self.app.test_client()
        headers = {CODE_HEADER: client.post("/api/raters", json=CHOSEN).json["code"]}
        trial, key = read_trial(Path("runs/trial")), read_key(Path("runs/trial"))
        for question, (shown,) in enumerate(trial.orders[0]):
            value = self.SCORES[key.versions[shown].label]
            answer = {"value": value, "duration_ms": 900, "pixel_ratio": 2}
            client.put(f"/api/answers/{question}", json=answer, headers=headers)


def test_the_worked_example_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.opinion.server.make_server", AnsweringServer)
    for line in "".join(blocks("sh")).replace("\\\n", "").splitlines():
        words = shlex.split(line)
        if words[:2] == ["python", "upscale.py"]:
            upscale(*(tmp_path / word for word in words[-2:]))
        elif words[:3] == ["python", "-m", "training"]:
            monkeypatch.setattr(sys, "argv", words[2:])
            program.main()
        else:
            subprocess.run(words, check=True)
    printed = capsys.readouterr().out
    assert blocks("text")[0] in printed
    assert "http://127.0.0.1:5600/" in printed
    assert "| srgan | 4.00 | - | 4.00 |" in printed
    assert "1 rater answered, 1 all 28 questions" in printed
    assert {path.name for path in (tmp_path / "runs/trial/report").iterdir()} == {
        "opinion.json",
        "opinion.md",
        "opinion.png",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "a=x", "a=y"], "Labels must differ. Received: a, a."),
        (["--output", "a"], "invalid labelled_folder value: 'a'"),
        (["--output", "a=x", "b=y", "--screen", "1280"], "invalid screen_size value: '1280'"),
        (["--output", "a=x", "b=y", "--repeats", "-1"], "invalid count value: '-1'"),
    ],
)
def test_wrong_options_are_refused(monkeypatch, capsys, tmp_path, options, message):
    command = ["training", "opinion", "prepare", "t", "--test-sets", str(tmp_path), "--set", "s"]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    with pytest.raises(SystemExit) as refused:
        program.main()
    assert message in f"{refused.value}{capsys.readouterr().err}"


def test_options_and_their_defaults_are_documented(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["training", "opinion", "prepare", "--help"])
    with pytest.raises(SystemExit):
        program.main()
    options = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.M)) - {"--test-sets"}
    rows = re.findall(r"^\| `(--[a-z]+)` \|([^|]*)\|", DOCUMENT, re.M)
    table = {option: default.strip() for option, default in rows}
    assert set(table) == options
    defaults = read_defaults()
    assert {name: table[name] for name in defaults} == defaults


def read_defaults():
    """Return the defaults of numbers by option."""
    parser = argparse.ArgumentParser()
    add_opinion(parser.add_subparsers())
    words = ["opinion", "prepare", "t", "--test-sets", "s", "--set", "n", "--output", "a=x"]
    arguments = vars(parser.parse_args(words))
    names = ("raters", "examples", "anchors", "repeats")
    return {f"--{name}": str(arguments[name]) for name in names}
