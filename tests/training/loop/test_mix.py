import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import training.__main__ as program
from training.export import freeze
from training.loop.mix import mix, validate_run
from training.loop.run import CHECKPOINT, RECIPE, load_checkpoint, read_ancestors, start_run


def averages(folder):
    return load_checkpoint(folder / CHECKPOINT, ["ema"])[1]["ema"]


@pytest.mark.parametrize("share", [0.25, 1.5])
def test_weights_are_mixed_by_their_shares(run_folder, other_folder, tmp_path, share):
    mix({run_folder: 1 - share, other_folder: share}, tmp_path / "mixed")
    weights = [averages(folder) for folder in (run_folder, other_folder, tmp_path / "mixed")]
    for first, second, mixed in zip(*weights, strict=True):
        np.testing.assert_allclose(mixed, first + share * (second - first), atol=1e-6)
        assert mixed.dtype == np.float32


def test_a_card_tells_what_was_mixed(recipe, run_folder, other_folder, photos_folder, tmp_path):
    mix({other_folder: 1.25, run_folder: -0.25}, tmp_path / "mixed")
    card = freeze(recipe, tmp_path / "mixed", photos_folder, tmp_path / "mixed.json", "0.1")
    first = {"steps": 20, "recipe": recipe.as_dict(), "began_with": None}
    mixed = [{"ancestor": 1, "share": 1.25}, {"ancestor": 0, "share": -0.25}]
    assert card.training["ancestors"] == [first, first | {"began_with": 0}, {"mixed": mixed}]
    assert card.training["steps"] == 0


def test_a_run_may_begin_with_a_mix(recipe, run_folder, other_folder, tmp_path):
    mix({run_folder: 0.5, other_folder: 0.5}, tmp_path / "mixed")
    run = start_run(recipe, tmp_path / "new", start_from=tmp_path / "mixed")
    for received, expected in zip(
        run.generator.get_weights(), averages(tmp_path / "mixed"), strict=True
    ):
        np.testing.assert_array_equal(received, expected)
    assert read_ancestors(tmp_path / "new") == read_ancestors(tmp_path / "mixed")
    assert len(read_ancestors(tmp_path / "new")[-1]["mixed"]) == 2


def test_a_mix_is_judged_as_training_judges(run_folder, photos_folder, perceptual_folder, tmp_path):
    mix({run_folder: 1.0}, tmp_path / "mixed")
    figures = validate_run(tmp_path / "mixed", photos_folder, perceptual_folder)
    last = (run_folder / "log.csv").read_text().splitlines()[-1].split(",")
    assert figures["validation_psnr_y_db"] == pytest.approx(float(last[-1]), abs=1e-6)
    assert figures["validation_lpips_sq"] > 0


def test_shares_must_sum_to_one(run_folder, other_folder, tmp_path):
    with pytest.raises(ValueError, match="must sum to 1. Received: 0.9"):
        mix({run_folder: 0.5, other_folder: 0.4}, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_networks_of_other_sizes_do_not_mix(recipe, run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "larger")
    larger = replace(recipe, generator=replace(recipe.generator, blocks=2)).as_dict()
    (tmp_path / "larger" / RECIPE).write_text(json.dumps(larger))
    with pytest.raises(ValueError, match="must be of one architecture"):
        mix({run_folder: 0.5, tmp_path / "larger": 0.5}, tmp_path / "mixed")


def test_the_command_line_mixes_and_judges(
    monkeypatch, capsys, run_folder, other_folder, photos_folder, tmp_path
):
    shares = [f"{run_folder}=0.5", f"{other_folder}=0.5"]
    options = ["--run", str(tmp_path / "mixed"), "--photos", str(photos_folder)]
    monkeypatch.setattr("sys.argv", ["training", "mix", *shares, *options])
    program.main()
    assert capsys.readouterr().out.startswith("validation_psnr_y_db ")


@pytest.mark.parametrize("part", ["runs/a", "=0.5", "runs/a=much", "runs/a=inf"])
def test_a_part_is_a_run_and_a_number(monkeypatch, capsys, part):
    monkeypatch.setattr("sys.argv", ["training", "mix", part, "--run", "mixed"])
    with pytest.raises(SystemExit):
        program.main()
    assert f"invalid share value: '{part}'" in capsys.readouterr().err
