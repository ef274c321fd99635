"""Which shares of some runs make the best mix, a search by validation pictures.

Means of runs are better than each run, and how much of which is best can only be tried. A
mix is judged in seconds, and few numbers are chosen, so photographs that decide it are not
learned by heart as they would be by training.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy.linalg import helmert
from scipy.optimize import minimize
from tqdm import tqdm

from training.checkpoint import load_checkpoint
from training.degradation import degrade_pairs
from training.drawings import draw_pictures
from training.errors import CommandFailed
from training.metrics import psnr_y
from training.mix import Weights, blend, check_shares
from training.networks import build_generator
from training.perceptual import LearnedDistance
from training.photos import (
    Pair,
    Photo,
    load_pairs,
    make_pair,
    read_manifest,
    shrink,
    split_photos,
)
from training.recipe import Recipe, read_recipe
from training.run import CHECKPOINT, RECIPE
from training.validation import centre_crop, find_distance, mean_figures, upscale

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
