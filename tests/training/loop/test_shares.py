from dataclasses import replace

import numpy as np
import pytest

import training.__main__ as program
from training.data.photos import read_manifest, split_photos
from training.evaluation.metrics import LearnedDistance, psnr_y
from training.loop.mix import (
    DRAWINGS,
    blend,
    choose_objective,
    find_shares,
    load_search_pairs,
    search_shares,
)
from training.loop.run import read_ancestors


@pytest.fixture
def runs():
    """Weights of four runs: two arrays each."""
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


def test_mixes_are_judged_at_the_sizes_and_on_drawings_that_were_trained_on(recipe, photos_folder):
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
    """What the command line prints of a mix."""
    lines = capsys.readouterr().out.splitlines()
    return float(next(line for line in lines if line.startswith("validation_psnr")).split()[1])


def test_a_searched_mix_is_no_worse_than_where_the_search_began(
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


def test_lpips_decides_where_there_are_weights_for_it(two_runs, photos_folder, perceptual_folder):
    start = dict(zip(two_runs, (0.5, 0.5), strict=True))
    by_psnr, by_lpips = (
        search_shares(start, photos_folder, folder, 8) for folder in (None, perceptual_folder)
    )
    assert by_psnr != by_lpips
    assert sum(by_lpips.values()) == pytest.approx(1)


def test_one_run_has_nothing_to_search(run_folder, photos_folder):
    with pytest.raises(ValueError, match="two runs or more. Received: one"):
        search_shares({run_folder: 1.0}, photos_folder, None, 5)


def test_what_cannot_be_mixed_is_not_searched(two_runs, photos_folder):
    start = dict(zip(two_runs, (0.5, 0.4), strict=True))
    with pytest.raises(ValueError, match="must sum to 1. Received: 0.9"):
        search_shares(start, photos_folder, None, 5)


def test_a_search_needs_photographs(monkeypatch, tmp_path):
    arguments = ["mix", "a=0.5", "b=0.5", "--run", str(tmp_path / "mixed"), "--search", "5"]
    monkeypatch.setattr("sys.argv", ["training", *arguments])
    with pytest.raises(SystemExit, match="--search needs --photos"):
        program.main()


def test_the_distance_of_mixes_is_that_of_their_pictures(recipe, photos_folder, perceptual_folder):
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_search_pairs(photos, recipe)
    distance = LearnedDistance(perceptual_folder)
    upscaled = [255 - pair.hr for pair in pairs]
    by_lpips, by_psnr = (choose_objective(pairs, folder) for folder in (perceptual_folder, None))
    expected = [distance(sr, pair.hr) for sr, pair in zip(upscaled, pairs, strict=True)]
    assert by_lpips(upscaled) == pytest.approx(np.mean(expected), rel=1e-5)
    psnrs = [psnr_y(sr, pair.hr) for sr, pair in zip(upscaled, pairs, strict=True)]
    assert by_psnr(upscaled) == pytest.approx(-np.mean(psnrs))
