"""Mix the weights of several runs by shares, and search for the best shares.

Runs that started from the same weights can be averaged: the mean of their weights is often
better than each of them. A negative share of what they started from extrapolates further in
the direction of their training.

Which shares are best can only be tried. `search_shares` judges mixes on validation
photographs, in seconds each. It chooses few numbers, so it does not overfit these
photographs as training would.

Source: Wortsman et al. 2022, arXiv:2203.05482 (means); Ilharco et al. 2023,
arXiv:2212.04089, sec. 2 (sums and negative shares).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy.linalg import helmert
from scipy.optimize import minimize
from tqdm import tqdm

from training import CommandFailed
from training.data.degradation import degrade_pairs
from training.data.drawings import draw_pictures
from training.data.photos import (
    Pair,
    Photo,
    load_pairs,
    make_pair,
    read_manifest,
    shrink,
    split_photos,
)
from training.evaluation.metrics import LearnedDistance, psnr_y
from training.loop.recipe import Recipe, read_recipe
from training.loop.run import (
    CHECKPOINT,
    ORIGIN,
    RECIPE,
    TUNED_EMA,
    add_mix,
    ancestry_of,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from training.loop.stages import DISCRIMINATOR
from training.loop.validation import (
    centre_crop,
    choose_validation_metrics,
    load_distance,
    load_validation,
    mean_over_pairs,
    upscale,
)
from training.models.networks import build_generator

TOLERANCE = 1e-6  # difference from 1 that the sum of shares may have
FIRST_STEP = 0.15  # change of shares with which the search starts
LAST_STEP = 0.01  # change of shares at which it ends: less does not show in the figures
DRAWINGS = 12  # drawings that judge a mix, if the first run was trained on drawings

Weights = list[np.ndarray]
"""Arrays of a generator."""

Objective = Callable[[list[np.ndarray]], float]
"""SR of the search's pairs -> a figure; the lower, the better."""


def mix(shares: Mapping[Path, float], run_folder: Path) -> None:
    """Write mixed averaged weights as the checkpoint of a run of 0 steps.

    The runs are of generators or of restorers. SR networks that all of them tuned along are
    mixed too. The mix can be frozen, and other runs can start from it. The recipe, and the
    discriminator if there is one, are those of the first run. `origin.json` states what was
    mixed, and so does the card once the mix is frozen.

    Args:
        shares: share of the run in each folder; may be negative.
        run_folder: folder to write.

    Raises:
        CommandFailed: unless the shares sum to 1 and all runs have the same architecture.
    """
    check_shares(shares)
    recipe = json.loads((next(iter(shares)) / RECIPE).read_text())
    groups = ["ema", TUNED_EMA, DISCRIMINATOR]
    runs = [load_checkpoint(folder / CHECKPOINT, groups)[1] for folder in shares]
    mixed = {
        name: blend([run[name] for run in runs], list(shares.values()))
        for name in ("ema", TUNED_EMA)
        if all(run[name] for run in runs)
    }
    run_folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(run_folder / CHECKPOINT, 0, runs[0] | {TUNED_EMA: []} | mixed)
    write_json(run_folder / RECIPE, recipe)
    families = [ancestry_of(folder) for folder in shares]
    write_json(run_folder / ORIGIN, add_mix(families, list(shares.values())))


def check_shares(shares: Mapping[Path, float]) -> None:
    """Raise CommandFailed unless shares sum to 1 and all runs have the same architecture."""
    total = sum(shares.values())
    if abs(total - 1) > TOLERANCE:
        raise CommandFailed(f"The shares must sum to 1. Received: {total:g}.")
    recipes = [read_recipe(folder / RECIPE) for folder in shares]
    first, *others = ((recipe.generator, recipe.restorer) for recipe in recipes)
    if any(other != first for other in others):
        raise CommandFailed("All runs must be of one architecture. Received: runs of several.")


def blend(runs: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """Return the sum of the runs' arrays, each run multiplied by its share, float32."""
    return [
        np.float32(sum(share * array for share, array in zip(shares, arrays, strict=True)))
        for arrays in zip(*runs, strict=True)
    ]


def check_generator(recipe: Recipe) -> None:
    """Raise CommandFailed if a recipe trains a restorer, which SR networks must follow."""
    if recipe.restorer is not None:
        raise CommandFailed(
            "--photos and --search judge generators only. Received: runs of a restorer, which "
            "`train` validates."
        )


def validate_run(
    run_folder: Path, photos_folder: Path, perceptual: Path | None
) -> dict[str, float]:
    """Return the figures of a run's averaged weights, as training writes them to `log.csv`.

    Args:
        run_folder: folder of the run.
        photos_folder: collection with `manifest.csv`.
        perceptual: folder with weights for LPIPS-sq; None for PSNR-Y only.
    """
    recipe = read_recipe(run_folder / RECIPE)
    check_generator(recipe)
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_validation(photos, recipe.degrader, recipe.data.seed)
    generator = build_generator(recipe.generator)
    generator.set_weights(load_checkpoint(run_folder / CHECKPOINT, ["ema"])[1]["ema"])
    upscaled = [upscale(generator, pair.lr) for pair in pairs]
    return mean_over_pairs(upscaled, pairs, choose_validation_metrics(perceptual))


def search_shares(
    start: Mapping[Path, float], photos_folder: Path, perceptual: Path | None, max_mixes: int
) -> dict[Path, float]:
    """Return the best shares found, by LPIPS-sq if its weights are given, else by PSNR-Y.

    Mixes are judged on centre crops of validation photographs at all sizes that the first
    run was trained on, and on new drawings if it was trained on drawings.

    Args:
        start: share of the run in each folder at which the search starts.
        photos_folder: collection with `manifest.csv`.
        perceptual: folder with weights for LPIPS-sq; None for PSNR-Y.
        max_mixes: greatest number of mixes to judge.

    Raises:
        CommandFailed: if there is only one run, or the runs cannot be mixed.
    """
    if len(start) < 2:
        raise CommandFailed("A search must be among two runs or more. Received: one.")
    check_shares(start)
    recipe = read_recipe(next(iter(start)) / RECIPE)
    check_generator(recipe)
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_search_pairs(photos, recipe)
    objective = choose_objective(pairs, perceptual)
    generator = build_generator(recipe.generator)
    runs = [load_checkpoint(folder / CHECKPOINT, ["ema"])[1]["ema"] for folder in start]

    with tqdm(total=max_mixes, unit="mix") as bar:

        def judge(weights: Weights) -> float:
            generator.set_weights(weights)
            figure = objective([upscale(generator, pair.lr) for pair in pairs])
            bar.set_postfix_str(f"{figure:.5f}", refresh=False)
            bar.update()
            return figure

        found = find_shares(runs, list(start.values()), judge, max_mixes)
    return dict(zip(start, found, strict=True))


def load_search_pairs(photos: Sequence[Photo], recipe: Recipe) -> list[Pair]:
    """Return the centre crops that judge mixes: photographs at every size, drawings at one."""
    data = recipe.data
    sizes = list(dict.fromkeys(data.sizes))
    drawings = draw_pictures(DRAWINGS if data.drawings else 0, data.seed + 1)
    pairs = load_pairs(photos, sizes)
    pairs += [make_pair(shrink(*both)) for both in zip(drawings, cycle(sizes), strict=False)]
    return degrade_pairs([centre_crop(pair) for pair in pairs], recipe.degrader, data.seed)


def choose_objective(pairs: list[Pair], perceptual: Path | None) -> Objective:
    """Return mean LPIPS-sq if the folder holds its weights, else mean PSNR-Y, negated."""
    distance = load_distance(perceptual)
    return psnr_objective(pairs) if distance is None else lpips_objective(pairs, distance)


def psnr_objective(pairs: list[Pair]) -> Objective:
    """Return a function from SR of the pairs to mean PSNR-Y, negated."""

    def objective(upscaled: list[np.ndarray]) -> float:
        return -mean_over_pairs(upscaled, pairs, {"psnr": psnr_y})["psnr"]

    return objective


def lpips_objective(pairs: list[Pair], distance: LearnedDistance) -> Objective:
    """Return a function from SR of the pairs to mean LPIPS-sq.

    It keeps the features of HR, about 9 MB a pair.
    """
    hr_features = [distance.extract(pair.hr) for pair in pairs]

    def objective(upscaled: list[np.ndarray]) -> float:
        both = zip(upscaled, hr_features, strict=True)
        return float(np.mean([distance.between(distance.extract(sr), hr) for sr, hr in both]))

    return objective


def find_shares(
    runs: Sequence[Weights],
    start: Sequence[float],
    judge: Callable[[Weights], float],
    max_mixes: int,
) -> list[float]:
    """Return the shares, with the same sum as at the start, whose mix is judged lowest.

    The method models the judgement as a quadratic function of the shares and needs no
    derivatives.

    Args:
        runs: weights of each run.
        start: shares at which the search starts.
        judge: figure of a mix; the lower, the better.
        max_mixes: greatest number of mixes to judge.

    Source: Ragonneau 2022, arXiv:2210.12018 (COBYQA, as in SciPy).
    """
    axes = helmert(len(runs))  # (n - 1, n): orthogonal to each other and to the sum

    def shares_at(point: np.ndarray) -> list[float]:
        return [float(share) for share in np.asarray(start) + point @ axes]

    found = minimize(
        lambda point: judge(blend(runs, shares_at(point))),
        np.zeros(len(axes)),
        method="COBYQA",
        options={
            "maxfev": max_mixes,
            "initial_tr_radius": FIRST_STEP,
            "final_tr_radius": LAST_STEP,
        },
    )
    return shares_at(found.x)
