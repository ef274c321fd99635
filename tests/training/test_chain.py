"""The whole chain from photographs to measured graphs, with tiny networks."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import training.__main__ as program
from config import ROOT
from core.images import decode_image, encode_png, resize_bicubic
from core.model.card import read_card
from core.model.upscaler import load_upscaler
from core.picture import Picture
from tests.support.recipes import as_toml
from training.evaluation.evaluate import FIRST_MARK, LAST_MARK
from training.loop.recipe import AdversarialSettings

ORIGINALS = sorted((ROOT / "samples" / "test_examples" / "original").glob("*.png"))
GREY = ("coins.png", "photographer.png")  # rejected for training, so they are the test set
ADVERSARIAL = AdversarialSettings(
    pixel_weight=0.1, content_weight=0.1, adversarial_weight=0.01, discriminator_filters=4
)


def tiny(path):
    """Return a photograph shrunk to 96 x 128 px."""
    return resize_bicubic(decode_image(path.read_bytes()).pixels, 96, 128)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    for path in ORIGINALS:
        if path.name not in GREY:
            (folder / path.name).write_bytes(encode_png(Picture(tiny(path))))
    (folder / "broken.jpg").write_bytes(b"no photograph")
    return folder


@pytest.fixture
def tests(tmp_path):
    for path in [path for path in ORIGINALS if path.name in GREY]:
        hr = tiny(path)
        for kind, pixels in (("HR", hr), ("LRx4", resize_bicubic(hr, 24, 32))):
            picture = tmp_path / "tests" / "Two" / kind / path.name
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(encode_png(Picture(pixels)))
    return tmp_path / "tests"


@pytest.fixture
def run(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["training", *(str(a) for a in arguments)])
        program.main()

    return run


def test_photographs_become_two_measured_graphs(
    run, source, tests, recipe, perceptual_folder, tmp_path, capsys
):
    photos, assets, readme = tmp_path / "photos", tmp_path / "assets", tmp_path / "README.md"
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(as_toml(recipe))
    second.write_text(as_toml(replace(recipe, adversarial=ADVERSARIAL)))
    readme.write_text(f"{FIRST_MARK}\n{LAST_MARK}\n")

    run("prepare", source, photos, "--licence", "CC0", "--min-side", 96, "--test-sets", tests)
    assert "8 accepted" in capsys.readouterr().out
    common = ["--photos", photos, "--run"]
    run("train", first, *common, tmp_path / "pixel", "--max-minutes", 1)
    plain, rich = assets / "plain.json", assets / "rich.json"
    run("freeze", first, *common, tmp_path / "pixel", "--card", plain, "--version", "0.1")
    start = ["--start-from", tmp_path / "pixel", "--perceptual", perceptual_folder]
    run("train", second, *common, tmp_path / "adversarial", "--max-minutes", 1, *start)
    ends = ["--card", rich, "--version", "0.1", "--faithful", "plain"]
    run("freeze", second, *common, tmp_path / "adversarial", *ends)
    run("evaluate", rich, plain, "--test-sets", tests, "--perceptual", perceptual_folder,
        "--readme", readme)  # fmt: skip

    table = capsys.readouterr().out
    assert table in readme.read_text()
    for card in map(read_card, (plain, rich)):
        assert f"| Two | {card.name} |" in table
        assert card.quality["Two"][card.name].keys() >= {"psnr_y_db", "ssim_y", "lpips_sq"}
        assert card.training["photographs"] + card.training["validation_photographs"] == 8
    (origin,) = read_card(rich).training["ancestors"]
    assert origin["recipe"] == json.loads((tmp_path / "pixel" / "recipe.json").read_text())
    upscaler = load_upscaler(rich, window=64, threads=1)
    between = upscaler.upscale(Picture(np.zeros((5, 6, 3), np.uint8)), detail=0.5).pixels
    assert between.shape == (20, 24, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.toml", "--photos", ".", "--run", "r"], "nowhere.toml"),
        (["train", "wrong.toml", "--photos", ".", "--run", "r"], "wrong.toml is not a recipe"),
        (["freeze", "r.toml", "--photos", ".", "--run", "r", "--card", "c", "--version", "1"], "r"),
        (["thaw", "nowhere.json", "--run", "r"], "nowhere.json must be a model card"),
        (["evaluate", "nowhere.json", "--test-sets", "."], "nowhere.json must be a model card"),
    ],
)
def test_an_error_is_reported_in_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text("[generator]\nfilters = 8\n")
    with pytest.raises(SystemExit, match=f"python -m training: .*{message}"):
        run(*arguments)


def test_an_interruption_ends_the_program_with_the_status_of_a_shell(run, monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.commands.run_thaw", interrupted)
    with pytest.raises(SystemExit) as caught:
        run("thaw", "card.json", "--run", "r")
    assert caught.value.code == 130
