"""The training loop: take steps, validate, save; resumable at any step.

`train` chooses precision and devices, loads the photographs, and takes steps until the
recipe's last step or a time limit. `training.loop.validation` measures the run in between.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
from tqdm import tqdm

from core.runtime.machine import has_bfloat16
from training import CommandFailed
from training.data.drawings import draw_pictures
from training.data.patches import PatchSampler, TaughtSampler, fill_cache
from training.data.photos import (
    Pair,
    Photo,
    load_pairs,
    make_pairs,
    manifest_sha256,
    read_manifest,
    split_photos,
)
from training.loop.recipe import DataSettings, Recipe
from training.loop.run import Run, start_run
from training.loop.validation import (
    RestorerValidator,
    RunLog,
    Validator,
    check_networks,
    choose_validation_metrics,
    degrade_validation,
    load_sr_networks,
    load_validation,
)
from training.models.adversaries import build_content_features

AUTO = "auto"  # the precision that suits the hardware
SAVE_EVERY_S = 120.0  # most time between checkpoints, and so the most that a killed run loses


def train(
    recipe: Recipe,
    photos_folder: Path,
    run_folder: Path,
    max_minutes: float,
    *,
    perceptual: Path | None = None,
    start_from: Path | None = None,
    through: Sequence[Path] = (),
    teacher: Path | None = None,
) -> Run:
    """Train until the recipe's last step or for `max_minutes`, whichever comes first.

    Args:
        recipe: settings of the run.
        photos_folder: collection with `manifest.csv`.
        run_folder: folder of the run; a run that is there is resumed.
        max_minutes: time limit from now, loading included.
        perceptual: folder with weights for the content loss and for LPIPS-sq; None for none.
        start_from: folder of another run, whose averaged network a new run starts from.
        through: folders of runs of the SR networks that a restorer is trained for. The first
            one is trained through; the restorer is validated through all of them.
        teacher: folder that `teach` filled, for a recipe with `[teacher]`.

    Raises:
        CommandFailed: if the recipe needs something that is not given.
    """
    deadline = time.monotonic() + 60 * max_minutes
    use_precision(recipe.training.precision)
    devices = share_batches(recipe.data.batch)
    training_photos, validation_photos = split_photos(read_manifest(photos_folder))
    networks = []
    if recipe.restorer is not None:
        networks = load_sr_networks(through, recipe)
        check_networks(run_folder, networks)
    pairs = load_training(training_photos, recipe.data)
    sampler = build_sampler(pairs, recipe, teacher)
    run = start_run(
        recipe,
        run_folder,
        content=load_content(recipe, perceptual),
        start_from=start_from,
        sr_network=networks[0].model if networks else None,
    )
    with RunLog(run_folder, run.step) as log:
        metrics = choose_validation_metrics(perceptual)
        validator = build_validator(recipe, validation_photos, networks, metrics, log, devices)
        take_steps(run, sampler, validator, deadline)
    return run


def build_sampler(pairs: list[Pair], recipe: Recipe, cache: Path | None) -> PatchSampler:
    """Return what draws the batches of a recipe.

    Raises:
        CommandFailed: if the recipe has a teacher and there is no cache.
    """
    data = recipe.data
    options = {
        "patch": data.patch,
        "batch": data.batch,
        "seed": data.seed,
        "degradation": recipe.degrader,
    }
    if recipe.teacher is None:
        return PatchSampler(pairs, **options)
    if cache is None:
        raise CommandFailed(
            "A recipe with [teacher] needs the teacher's SR (--teacher). Received: none."
        )
    return TaughtSampler(pairs, cache=cache, share=recipe.teacher.share, **options)


def teach(recipe: Recipe, photos_folder: Path, cache: Path) -> None:
    """Fill a cache with training patches and, if the recipe names a card, the teacher's SR.

    Args:
        recipe: settings of the runs that use the cache, with `[teacher]`.
        photos_folder: collection with `manifest.csv`.
        cache: folder to fill; a cache that is there is continued.

    Raises:
        CommandFailed: if the recipe has no teacher, or the cache was begun with another one.
    """
    if recipe.teacher is None:
        raise CommandFailed("The recipe must have [teacher]. Received: none.")
    training_photos, _ = split_photos(read_manifest(photos_folder))
    pairs = load_training(training_photos, recipe.data)
    sampler = build_sampler(pairs, replace(recipe, teacher=None), None)
    settings = recipe.as_dict()
    origin = {
        "patch": recipe.data.patch,
        "seed": recipe.data.seed,
        "sizes": list(recipe.data.sizes),
        "drawings": recipe.data.drawings,
        "degradation": settings["degradation"] or settings["processes"],
        "photographs": manifest_sha256(photos_folder),
        "teacher": recipe.teacher.origin | {"graph": None},
    }
    network = None
    if recipe.teacher.card is not None:
        from core.model.graph import load_graph  # imports TensorFlow, whatever the backend

        network = load_graph(Path(recipe.teacher.card))
        origin["teacher"]["graph"] = network.card.sha256
    fill_cache(cache, sampler, recipe.teacher.patches, origin, network)


def load_content(recipe: Recipe, perceptual: Path | None) -> keras.Model | None:
    """Return the VGG-19 features that the losses of a recipe need; None if they need none."""
    settings = recipe.restoring or recipe.adversarial
    if settings is None or not settings.needs_content:
        return None
    return build_content_features(perceptual, settings.content_layers)


def build_validator(recipe, photos, networks, metrics, log, devices):
    """Return what validates runs of a recipe; see `Validator` and `RestorerValidator`."""
    if recipe.restorer is None:
        pairs = load_validation(photos, recipe.degrader, recipe.data.seed)
        return Validator(pairs, metrics, log, devices)
    sets = degrade_validation(load_validation(photos, None, recipe.data.seed), recipe)
    return RestorerValidator(sets, networks, metrics, log, devices)


def take_steps(
    run: Run, sampler: PatchSampler, validator: Validator | RestorerValidator, deadline: float
) -> None:
    """Take steps until the last one, or until the deadline on the monotonic clock."""
    saved, figures = time.monotonic(), {}
    with tqdm(total=run.recipe.training.steps, initial=run.step, unit="step") as bar:
        for batch in sampler.batches(run.step):
            if run.is_done or time.monotonic() > deadline:
                break
            losses = run.update(*batch)
            is_validated = run.is_done or run.step % run.recipe.training.validate_every == 0
            if is_validated or time.monotonic() - saved > SAVE_EVERY_S:
                run.save()
                saved = time.monotonic()
            if is_validated:
                figures = validator.validate(run)
            bar.set_postfix(losses | figures, refresh=False)
            bar.update()
    run.save()


def load_training(photos: Sequence[Photo], data: DataSettings) -> list[Pair]:
    """Return pairs of photographs and of drawings at each of the recipe's sizes."""
    drawings = draw_pictures(data.drawings, data.seed)
    pairs = load_pairs(photos, data.sizes)
    return pairs + [pair for picture in drawings for pair in make_pairs(picture, data.sizes)]


def use_precision(precision: str) -> str:
    """Set the Keras dtype policy of all layers to come, and return it.

    "auto" is `mixed_bfloat16` where the hardware has instructions for bfloat16, and
    `float32` elsewhere: a processor that emulates bfloat16 is twenty times slower. The
    weights are float32 either way, so a run can be resumed in another precision.
    """
    if precision == AUTO:
        precision = "mixed_bfloat16" if computes_in_bfloat16() else "float32"
    keras.mixed_precision.set_global_policy(precision)
    return precision


def computes_in_bfloat16() -> bool:
    """Return whether there is an accelerator, or a processor with bfloat16 instructions."""
    return bool(list_accelerators()) or has_bfloat16()


def list_accelerators() -> list[str]:
    """Return the GPUs and TPUs that the Keras backend can use."""
    if keras.backend.backend() == "torch":  # Keras lists no devices of this backend
        import torch

        return [f"gpu:{index}" for index in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def share_batches(batch: int) -> int:
    """Let all devices share every batch from now on; return the number of devices.

    Only the JAX backend supports several devices (`keras.distribution`). With another
    backend the first device does all the work.

    Args:
        batch: patches in a batch.

    Raises:
        CommandFailed: if the number of devices does not divide the batch.
    """
    if keras.backend.backend() != "jax":
        return 1
    devices = keras.distribution.list_devices()
    if batch % len(devices):
        raise CommandFailed(
            f"`batch` must be a multiple of the number of devices, {len(devices)}. "
            f"Received: {batch}"
        )
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)
