"""A run whose weights are those of other runs, mixed by shares.

Runs that began with the same weights and took different ways from there can be averaged:
the mean of their weights is often better than each of them. A negative share of what they
began with goes further along the way that they took.

Source: Wortsman et al. 2022, arXiv:2203.05482 (means); Ilharco et al. 2023,
arXiv:2212.04089, sec. 2 (sums and negative shares).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.ancestry import add_mix
from training.checkpoint import load_checkpoint, save_checkpoint
from training.errors import CommandFailed
from training.networks import build_generator
from training.photos import read_manifest, split_photos
from training.recipe import read_recipe
from training.run import CHECKPOINT, ORIGIN, RECIPE, as_ancestors, write_json
from training.stages import DISCRIMINATOR
from training.validation import choose_figures, load_validation, mean_figures, upscale

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
