"""Which shares of some runs make the best mix, a search by validation pictures.

Means of runs are better than each run, and how much of which is best can only be tried. A
mix is judged in seconds, and few numbers are chosen, so photographs that decide it are not
learned by heart as they would be by training.

A run whose weights are those of other runs, mixed by shares.

Runs that began with the same weights and took different ways from there can be averaged:
the mean of their weights is often better than each of them. A negative share of what they
began with goes further along the way that they took.

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
from training.errors import CommandFailed
from training.evaluation.metrics import LearnedDistance, psnr_y
from training.loop.recipe import Recipe, read_recipe
from training.loop.run import (
    CHECKPOINT,
    ORIGIN,
    RECIPE,
    add_mix,
    as_ancestors,
    load_checkpoint,
    save_checkpoint,
    write_json,
)
from training.loop.stages import DISCRIMINATOR
from training.loop.train import (
    centre_crop,
    choose_figures,
    find_distance,
    load_validation,
    mean_figures,
    upscale,
)
from training.models.networks import build_generator

TOLERANCE = 1e-6  # of the sum of shares

Weights = list[np.ndarray]  # of a generator


def mix(shares: Mapping[Path, float], run_folder: Path) -> None:
    """Write mixed averaged weights as the checkpoint of a run of 0 steps.

    It can be frozen, and other runs can start from it. Its recipe, and its discriminator if
    there is one, are those of the first run mixed; what was mixed is told by `origin.json`,
    and by the card once it is frozen.

    Args:
        shares: of the runs in these folders; they may be negative.
        run_folder: to write.

    Raises:
        CommandFailed: unless the shares sum to 1 and all runs are of one architecture.
    """
    check_shares(shares)
    recipe = json.loads((next(iter(shares)) / RECIPE).read_text())
    runs = [load_checkpoint(folder / CHECKPOINT, ["ema", DISCRIMINATOR])[1] for folder in shares]
    mixed = blend([run["ema"] for run in runs], list(shares.values()))
    run_folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(run_folder / CHECKPOINT, 0, runs[0] | {"ema": mixed})
    write_json(run_folder / RECIPE, recipe)
    families = [as_ancestors(folder) for folder in shares]
    write_json(run_folder / ORIGIN, add_mix(families, list(shares.values())))


def check_shares(shares: Mapping[Path, float]) -> None:
    """Raise CommandFailed unless they sum to 1 and all runs are of one architecture."""
    total = sum(shares.values())
    if abs(total - 1) > TOLERANCE:
        raise CommandFailed(f"The shares must sum to 1. Received: {total:g}.")
    first, *others = (json.loads((folder / RECIPE).read_text())["generator"] for folder in shares)
    if any(other != first for other in others):
        raise CommandFailed("All runs must be of one architecture. Received: runs of several.")


def blend(runs: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """The sum of the runs' arrays, each run by its share, float32."""
    return [
        np.float32(sum(share * array for share, array in zip(shares, arrays, strict=True)))
        for arrays in zip(*runs, strict=True)
    ]


def judge(run_folder: Path, photos_folder: Path, perceptual: Path | None) -> dict[str, float]:
    """The figures of a run's averaged weights, as training writes them into `log.csv`."""
    recipe = read_recipe(run_folder / RECIPE)
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_validation(photos, recipe.degradation, recipe.data.seed)
    generator = build_generator(recipe.generator)
    generator.set_weights(load_checkpoint(run_folder / CHECKPOINT, ["ema"])[1]["ema"])
    upscaled = [upscale(generator, pair.lr) for pair in pairs]
    return mean_figures(upscaled, pairs, choose_figures(perceptual))


FIRST_STEP = 0.15  # of shares, at which the search begins
LAST_STEP = 0.01  # of shares, at which it ends: less is not seen in the figures
DRAWINGS = 12  # that judge, if drawings were trained on

Comparison = Callable[[list[np.ndarray]], float]  # of SR with HR; the lower the better


def search_shares(
    start: Mapping[Path, float], photos_folder: Path, perceptual: Path | None, looks: int
) -> dict[Path, float]:
    """The best shares found, by LPIPS-sq if there are weights for it, otherwise by PSNR-Y.

    Mixes are judged by the centre crops of validation photographs at all sizes that the first
    run was trained on, and by drawings if it was trained on any, not those it has seen.

    Args:
        start: shares of the runs in these folders, at which the search begins.
        photos_folder: with `manifest.csv`.
        perceptual: folder of weights for LPIPS-sq.
        looks: mixes to judge at most.

    Raises:
        CommandFailed: if there is but one run, or they cannot be mixed so.
    """
    if len(start) < 2:
        raise CommandFailed("A search must be among two runs or more. Received: one.")
    check_shares(start)
    recipe = read_recipe(next(iter(start)) / RECIPE)
    _, photos = split_photos(read_manifest(photos_folder))
    pairs = load_judges(photos, recipe)
    compare = choose_comparison(pairs, perceptual)
    generator = build_generator(recipe.generator)
    runs = [load_checkpoint(folder / CHECKPOINT, ["ema"])[1]["ema"] for folder in start]

    with tqdm(total=looks, unit="mix") as bar:

        def judge(weights: Weights) -> float:
            generator.set_weights(weights)
            distance = compare([upscale(generator, pair.lr) for pair in pairs])
            bar.set_postfix_str(f"{distance:.5f}", refresh=False)
            bar.update()
            return distance

        found = find_shares(runs, list(start.values()), judge, looks)
    return dict(zip(start, found, strict=True))


def load_judges(photos: Sequence[Photo], recipe: Recipe) -> list[Pair]:
    """Centre crops of photographs at each of the sizes, of drawings at one each; as LR is made."""
    data = recipe.data
    sizes = list(dict.fromkeys(data.sizes))
    drawings = draw_pictures(DRAWINGS if data.drawings else 0, data.seed + 1)
    pairs = load_pairs(photos, sizes)
    pairs += [make_pair(shrink(*both)) for both in zip(drawings, cycle(sizes), strict=False)]
    return degrade_pairs([centre_crop(pair) for pair in pairs], recipe.degradation, data.seed)


def choose_comparison(pairs: list[Pair], perceptual: Path | None) -> Comparison:
    """By LPIPS-sq if its weights are there, otherwise by PSNR-Y."""
    distance = find_distance(perceptual)
    return compare_by_pixel(pairs) if distance is None else compare_by_eye(pairs, distance)


def compare_by_pixel(pairs: list[Pair]) -> Comparison:
    """SR of the pairs -> mean PSNR-Y, negative: the lower the better."""

    def compare(upscaled: list[np.ndarray]) -> float:
        return -mean_figures(upscaled, pairs, {"psnr": psnr_y})["psnr"]

    return compare


def compare_by_eye(pairs: list[Pair], distance: LearnedDistance) -> Comparison:
    """SR of the pairs -> mean LPIPS-sq. What it sees of HR is kept, about 9 MB a pair."""
    truth = [distance.see(pair.hr) for pair in pairs]

    def compare(upscaled: list[np.ndarray]) -> float:
        seen = zip(upscaled, truth, strict=True)
        return float(np.mean([distance.between(distance.see(sr), hr) for sr, hr in seen]))

    return compare


def find_shares(
    runs: Sequence[Weights], start: Sequence[float], judge: Callable[[Weights], float], looks: int
) -> list[float]:
    """Shares that sum to what they sum to at first, whose mix is judged lowest.

    Models the judgement as a quadratic function of the shares and needs no derivatives.

    Args:
        runs: weights of each.
        start: shares at which the search begins.
        judge: of a mix; the lower the better.
        looks: judgements at most.

    Source: Ragonneau 2022, arXiv:2210.12018 (COBYQA, as SciPy has it).
    """
    axes = helmert(len(runs))  # (n - 1, n): at right angles to each other and to sums

    def shares_at(place: np.ndarray) -> list[float]:
        return [float(share) for share in np.asarray(start) + place @ axes]

    found = minimize(
        lambda place: judge(blend(runs, shares_at(place))),
        np.zeros(len(axes)),
        method="COBYQA",
        options={
            "maxfev": looks,
            "initial_tr_radius": FIRST_STEP,
            "final_tr_radius": LAST_STEP,
        },
    )
    return shares_at(found.x)
