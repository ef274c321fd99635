"""Train a generator, in either stage, resumable at any step."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from training.adversaries import build_content_features
from training.devices import share_batches, use_precision
from training.drawings import draw_pictures
from training.figures import Metric
from training.journal import Journal
from training.patches import PatchSampler
from training.photos import Pair, Photo, load_pairs, make_pairs, read_manifest, split_photos
from training.recipe import Data, Recipe
from training.run import Run, start_run
from training.validation import (
    choose_figures,
    draw_sample,
    load_validation,
    mean_figures,
    upscale_all,
)

SAVE_EVERY_S = 120.0  # at the latest: what a run that is killed may lose


@dataclass(frozen=True)
class Judge:
    """Measures a run on photographs that it is not trained on, and writes it down."""

    pairs: list[Pair]
    figures: dict[str, Metric]
    journal: Journal
    devices: int

    def judge(self, run: Run) -> dict[str, float]:
        """The figures of this step, which are in the journal then."""
        upscaled = upscale_all(run, self.pairs, self.devices)
        figures = mean_figures(upscaled, self.pairs, self.figures)
        rate = run.recipe.learning_rate_at(run.step)
        self.journal.note(run.step, run.read_losses() | {"learning_rate": rate} | figures)
        self.journal.show(run.step, draw_sample(upscaled, self.pairs))
        return figures


def train(
    recipe: Recipe,
    photos_folder: Path,
    run_folder: Path,
    max_minutes: float,
    *,
    perceptual: Path | None = None,
    start_from: Path | None = None,
) -> Run:
    """Train until the recipe's last step or for `max_minutes`, whichever comes first.

    Args:
        recipe: what to train, and how.
        photos_folder: with `manifest.csv`.
        run_folder: of the run; it goes on if it is there.
        max_minutes: from now, loading included.
        perceptual: folder of weights for the content loss and for LPIPS-sq.
        start_from: folder of a run whose averaged generator a new run begins with.
    """
    deadline = time.monotonic() + 60 * max_minutes
    use_precision(recipe.training.precision)
    devices = share_batches(recipe.data.batch)
    training_photos, validation_photos = split_photos(read_manifest(photos_folder))
    sampler = PatchSampler(
        load_training(training_photos, recipe.data),
        patch=recipe.data.patch,
        batch=recipe.data.batch,
        seed=recipe.data.seed,
        degradation=recipe.degradation,
    )
    validation = load_validation(validation_photos, recipe.degradation, recipe.data.seed)
    content = None
    if recipe.adversarial is not None:
        content = build_content_features(perceptual, recipe.adversarial.content_layers)
    run = start_run(recipe, run_folder, content=content, start_from=start_from)
    with Journal(run_folder, run.step) as journal:
        judge = Judge(validation, choose_figures(perceptual), journal, devices)
        go_on(run, sampler, judge, deadline)
    return run


def load_training(photos: Sequence[Photo], data: Data) -> list[Pair]:
    """Photographs to train on, and drawings among them, at each of the sizes."""
    drawings = draw_pictures(data.drawings, data.seed)
    pairs = load_pairs(photos, data.sizes)
    return pairs + [pair for picture in drawings for pair in make_pairs(picture, data.sizes)]


def go_on(run: Run, sampler: PatchSampler, judge: Judge, deadline: float) -> None:
    """Take steps until the last one, or the deadline of the monotonic clock."""
    saved, figures = time.monotonic(), {}
    with tqdm(total=run.recipe.training.steps, initial=run.step, unit="step") as bar:
        for lr, hr in sampler.batches(run.step):
            if run.is_done or time.monotonic() > deadline:
                break
            losses = run.update(lr, hr)
            is_judged = run.is_done or run.step % run.recipe.training.validate_every == 0
            if is_judged or time.monotonic() - saved > SAVE_EVERY_S:
                run.save()
                saved = time.monotonic()
            if is_judged:
                figures = judge.judge(run)
            bar.set_postfix(losses | figures, refresh=False)
            bar.update()
    run.save()
