import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import training.__main__ as program
from training.data.photos import read_manifest, split_photos
from training.evaluation.metrics import LearnedDistance, psnr_y
from training.export import freeze
from training.loop.mix import (
    DRAWINGS,
    blend,
    choose_objective,
    find_shares,
    load_search_pairs,
    mix,
    search_shares,
    validate_run,
)
from training.loop.run import (
    CHECKPOINT,
    RECIPE,
    load_checkpoint,
    read_ancestors,
    save_checkpoint,
    start_run,
)


def averages(folder):
    return load_checkpoint(folder / CHECKPOINT, ["ema"])[1]["ema"]


@pytest.mark.parametrize("share", [0.25, 1.5])
def test_weights_are_mixed_by_their_shares(run_folder, other_folder, tmp_path, share):
    mix({run_folder: 1 - share, other_folder: share}, tmp_path / "mixed")
    weights = [averages(folder) for folder in (run_folder, other_folder, tmp_path / "mixed")]
    for first, second, mixed in zip(*weights, strict=True):
        np.testing.assert_allclose(mixed, first + share * (second - first), atol=1e-6)
        assert mixed.dtype == np.float32


def test_a_card_states_what_was_mixed(recipe, run_folder, other_folder, photos_folder, tmp_path):
    mix({other_folder: 1.25, run_folder: -0.25}, tmp_path / "mixed")
    card = freeze(recipe, tmp_path / "mixed", photos_folder, tmp_path / "mixed.json", "0.1")
    first = {"steps": 20, "recipe": recipe.as_dict(), "began_with": None}
    mixed = [{"ancestor": 1, "share": 1.25}, {"ancestor": 0, "share": -0.25}]
    assert card.training["ancestors"] == [first, first | {"began_with": 0}, {"mixed": mixed}]
    assert card.training["steps"] == 0


def test_a_run_can_start_from_a_mix(recipe, run_folder, other_folder, tmp_path):
    mix({run_folder: 0.5, other_folder: 0.5}, tmp_path / "mixed")
    run = start_run(recipe, tmp_path / "new", start_from=tmp_path / "mixed")
    for received, expected in zip(
        run.generator.get_weights(), averages(tmp_path / "mixed"), strict=True
    ):
        np.testing.assert_array_equal(received, expected)
    assert read_ancestors(tmp_path / "new") == read_ancestors(tmp_path / "mixed")
    assert len(read_ancestors(tmp_path / "new")[-1]["mixed"]) == 2


def test_a_mix_is_validated_as_in_training(run_folder, photos_folder, perceptual_folder, tmp_path):
    mix({run_folder: 1.0}, tmp_path / "mixed")
    figures = validate_run(tmp_path / "mixed", photos_folder, perceptual_folder)
    last = (run_folder / "log.csv").read_text().splitlines()[-1].split(",")
    assert figures["validation_psnr_y_db"] == pytest.approx(float(last[-1]), abs=1e-6)
    assert figures["validation_lpips_sq"] > 0


def test_shares_must_sum_to_one(run_folder, other_folder, tmp_path):
    with pytest.raises(ValueError, match="must sum to 1. Received: 0.9"):
        mix({run_folder: 0.5, other_folder: 0.4}, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_networks_of_different_sizes_cannot_be_mixed(recipe, run_folder, tmp_path):
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
def test_a_share_must_name_a_run_and_a_finite_number(monkeypatch, capsys, part):
    monkeypatch.setattr("sys.argv", ["training", "mix", part, "--run", "mixed"])
    with pytest.raises(SystemExit):
        program.main()
    assert f"invalid share value: '{part}'" in capsys.readouterr().err


@pytest.fixture
def runs():
    """Weights of four runs, two arrays each."""
    random = np.random.default_rng(0)
    return [[random.normal(size=(3, 5)), random.normal(size=7)] for _ in range(4)]


@pytest.mark.parametrize("best", [(0.4, 0.3, 0.2, 0.1), (1.1, -0.3, 0.1, 0.1)])
def test_the_shares_of_the_best_mix_are_found(runs, best):
    goal = blend(runs, best)
    judged = []

    def judge(weights):
        distance = sum(np.mean((a - b) ** 2) for a, b in zip(weights, goal, strict=True))
        judged.append(distance)
        return 0.13 + 1e-3 * distance

    found = find_shares(runs, [1.0, 0.0, 0.0, 0.0], judge, 60)
    assert found == pytest.approx(best, abs=0.03)
    assert sum(found) == pytest.approx(1)
    assert len(judged) <= 60


def test_mixes_are_judged_on_the_sizes_and_drawings_of_the_recipe(recipe, photos_folder):
    _, photos = split_photos(read_manifest(photos_folder))
    plain = load_search_pairs(photos, recipe)
    data = replace(recipe.data, sizes=(1.0, 0.5, 0.5), drawings=3)
    pairs = load_search_pairs(photos, replace(recipe, data=data))
    assert len(plain) == len(photos)
    assert len(pairs) == 2 * len(photos) + DRAWINGS
    assert {pair.lr.shape[0] for pair in pairs[-DRAWINGS:]} == {64}  # 128 and 64 px, cut to 64
    assert all(pair.hr.shape[0] == 4 * pair.lr.shape[0] <= 256 for pair in pairs)


@pytest.fixture
def two_runs(run_folder, other_folder):
    return run_folder, other_folder


def psnr_of(capsys):
    """Return the PSNR-Y that the command line printed."""
    lines = capsys.readouterr().out.splitlines()
    return float(next(line for line in lines if line.startswith("validation_psnr")).split()[1])


def test_a_searched_mix_is_no_worse_than_the_first_mix(
    monkeypatch, capsys, two_runs, photos_folder, tmp_path
):
    shares = [f"{two_runs[0]}=0.9", f"{two_runs[1]}=0.1"]
    options = ["--run", str(tmp_path / "mixed"), "--photos", str(photos_folder)]
    figures = []
    for more in ([], ["--search", "8"]):
        monkeypatch.setattr("sys.argv", ["training", "mix", *shares, *options, *more])
        program.main()
        figures.append(psnr_of(capsys))
    assert figures[1] >= figures[0]
    parts = read_ancestors(tmp_path / "mixed")[-1]["mixed"]
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert parts[0]["share"] != 0.9


def test_lpips_decides_if_its_weights_are_given(two_runs, photos_folder, perceptual_folder):
    start = dict(zip(two_runs, (0.5, 0.5), strict=True))
    by_psnr, by_lpips = (
        search_shares(start, photos_folder, folder, 8) for folder in (None, perceptual_folder)
    )
    assert by_psnr != by_lpips
    assert sum(by_lpips.values()) == pytest.approx(1)


def test_one_run_has_nothing_to_search(run_folder, photos_folder):
    with pytest.raises(ValueError, match="two runs or more. Received: one"):
        search_shares({run_folder: 1.0}, photos_folder, None, 5)


def test_shares_that_do_not_sum_to_one_are_not_searched(two_runs, photos_folder):
    start = dict(zip(two_runs, (0.5, 0.4), strict=True))
    with pytest.raises(ValueError, match="must sum to 1. Received: 0.9"):
        search_shares(start, photos_folder, None, 5)


def test_a_search_needs_photographs(monkeypatch, tmp_path):
    arguments = ["mix", "a=0.5", "b=0.5", "--run", str(tmp_path / "mixed"), "--search", "5"]
    monkeypatch.setattr("sys.argv", ["training", *arguments])
    with pytest.raises(SystemExit, match="--search needs --photos"):
        program.main()


def test_the_objective_is_the_mean_metric_of_the_pictures(recipe, photos_folder, perceptual_folder):
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_search_pairs(photos, recipe)
    distance = LearnedDistance(perceptual_folder)
    upscaled = [255 - pair.hr for pair in pairs]
    by_lpips, by_psnr = (choose_objective(pairs, folder) for folder in (perceptual_folder, None))
    expected = [distance(sr, pair.hr) for sr, pair in zip(upscaled, pairs, strict=True)]
    assert by_lpips(upscaled) == pytest.approx(np.mean(expected), rel=1e-5)
    psnrs = [psnr_y(sr, pair.hr) for sr, pair in zip(upscaled, pairs, strict=True)]
    assert by_psnr(upscaled) == pytest.approx(-np.mean(psnrs))


def test_runs_of_restorers_are_mixed_but_not_judged(
    restorer_folder, run_folder, photos_folder, tmp_path
):
    other = shutil.copytree(restorer_folder, tmp_path / "other")
    step, groups = load_checkpoint(other / CHECKPOINT, ["ema"])
    save_checkpoint(other / CHECKPOINT, step, {"ema": [2 * array for array in groups["ema"]]})
    mix({restorer_folder: 0.5, other: 0.5}, tmp_path / "mixed")
    for mixed, one in zip(averages(tmp_path / "mixed"), averages(restorer_folder), strict=True):
        np.testing.assert_allclose(mixed, 1.5 * one, rtol=1e-5)
    with pytest.raises(ValueError, match="judge generators only"):
        validate_run(tmp_path / "mixed", photos_folder, None)
    with pytest.raises(ValueError, match="of one architecture"):
        mix({restorer_folder: 0.5, run_folder: 0.5}, tmp_path / "both")
