"""Train a generator, in either stage, resumable at any step.

What the machine computes with: in which precision, and on how many devices.

What a run is judged by while it lasts: photographs that it is not trained on.

What a run leaves to read: `log.csv`, and events for TensorBoard in `tensorboard/`.
"""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import keras
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from core.images import resize_bicubic
from core.model.tiles import Box
from core.pixels import uint8_from_unit, unit_from_uint8
from core.runtime.machine import has_bfloat16
from training.data.degradation import Degradation, degrade_pairs
from training.data.drawings import draw_pictures
from training.data.patches import PatchSampler
from training.data.photos import Pair, Photo, load_pairs, make_pairs, read_manifest, split_photos
from training.errors import CommandFailed
from training.evaluation.metrics import WEIGHTS, LearnedDistance, psnr_y
from training.evaluation.outputs import Metric
from training.loop.recipe import DataSettings, Recipe
from training.loop.run import Run, start_run
from training.models.adversaries import build_content_features
from training.models.networks import SCALE

AUTO = "auto"


def use_precision(precision: str) -> str:
    """Make a Keras dtype policy that of all layers to come, and return it.

    With "auto" it is `mixed_bfloat16` where the hardware computes in it, and `float32`
    elsewhere: a processor that must imitate bfloat16 is twenty times slower for it. The
    weights are float32 either way, so a run may go on in another precision.
    """
    if precision == AUTO:
        precision = "mixed_bfloat16" if computes_in_bfloat16() else "float32"
    keras.mixed_precision.set_global_policy(precision)
    return precision


def computes_in_bfloat16() -> bool:
    """True on an accelerator, or a processor that has instructions for it."""
    return bool(list_accelerators()) or has_bfloat16()


def list_accelerators() -> list[str]:
    """GPUs and TPUs that the Keras backend sees."""
    if keras.backend.backend() == "torch":  # Keras lists no devices of this backend
        import torch

        return [f"gpu:{index}" for index in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def share_batches(batch: int) -> int:
    """Let all devices share every batch from now on; how many they are.

    Several devices need the JAX backend: `keras.distribution` has no other. With
    another backend the first device does all the work.

    Args:
        batch: patches in a batch.

    Raises:
        CommandFailed: if a batch cannot be divided among the devices.
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


SIDE = 64  # LR px of the centre crop that a photograph gives
SHOWN = 4  # crops that a sample picture shows


def load_validation(photos: list[Photo], degradation: Degradation | None, seed: int) -> list[Pair]:
    """The centre crops of photographs that are not trained on, degraded as those that are."""
    crops = [centre_crop(pair) for pair in load_pairs(photos)]
    return degrade_pairs(crops, degradation, seed)


def choose_figures(perceptual: Path | None) -> dict[str, Metric]:
    """PSNR-Y; with the weights for it in the folder, LPIPS-sq too."""
    figures: dict[str, Metric] = {"validation_psnr_y_db": psnr_y}
    distance = find_distance(perceptual)
    if distance is not None:
        figures["validation_lpips_sq"] = distance
    return figures


def find_distance(perceptual: Path | None) -> LearnedDistance | None:
    """LPIPS-sq, if the weights for it are in the folder."""
    if perceptual is None or not (perceptual / WEIGHTS).exists():
        return None
    return LearnedDistance(perceptual)


def upscale_all(run: Run, pairs: list[Pair], devices: int = 1) -> list[np.ndarray]:
    """SR of every pair by the averaged weights, (4H, 4W, 3) uint8."""
    trained = run.generator.get_weights()
    run.generator.set_weights(run.ema)
    upscaled = [upscale(run.generator, pair.lr, devices) for pair in pairs]
    run.generator.set_weights(trained)
    return upscaled


def upscale(generator: keras.Model, lr: np.ndarray, devices: int = 1) -> np.ndarray:
    """LR (H, W, 3) uint8 -> SR (4H, 4W, 3) uint8, untiled.

    Devices that share batches get a copy each: a batch must be divisible among them.
    """
    batch = np.repeat(unit_from_uint8(lr)[None], devices, axis=0)
    return uint8_from_unit(np.asarray(generator.predict_on_batch(batch))[0])


def mean_figures(
    upscaled: list[np.ndarray], pairs: list[Pair], figures: Mapping[str, Metric]
) -> dict[str, float]:
    """The mean of every figure over the pairs."""
    return {
        name: float(np.mean([figure(sr, p.hr) for sr, p in zip(upscaled, pairs, strict=True)]))
        for name, figure in figures.items()
    }


def centre_crop(pair: Pair) -> Pair:
    """The middle of a pair, at most `SIDE` LR pixels a side."""
    height, width = pair.lr.shape[:2]
    side = min(SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = Box(top, left, top + side, left + side)
    return Pair(box.scaled(SCALE).crop(pair.hr), box.crop(pair.lr))


def draw_sample(upscaled: list[np.ndarray], pairs: list[Pair]) -> np.ndarray:
    """The first crops, one a row: bicubic interpolation, SR, HR; (H, W, 3) uint8."""
    rows = [
        np.concatenate([resize_bicubic(pair.lr, *sr.shape[:2]), sr, pair.hr], axis=1)
        for sr, pair in zip(upscaled[:SHOWN], pairs[:SHOWN], strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    wide = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(wide)


LOG = "log.csv"
EVENTS = "tensorboard"


class RunLog:
    """Written to at every validation; a run that goes on writes on.

    Args:
        folder: of the run.
        step: at which it goes on; TensorBoard is told to forget later ones.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._log = folder / LOG
        self._events = SummaryWriter(
            str(folder / EVENTS),
            purge_step=step + 1,
            filename_suffix=f".{uuid4().hex}",  # or two of one second share a file
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._events.close()

    def note(self, step: int, line: dict[str, float]) -> None:
        """Append the figures of a step."""
        is_new = not self._log.exists()
        with self._log.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *line])
            if is_new:
                writer.writeheader()
            writer.writerow({"step": step} | line)
        for name, value in line.items():
            self._events.add_scalar(name, value, step)

    def show(self, step: int, sample: np.ndarray) -> None:
        """Keep a sample picture, (H, W, 3) uint8, for TensorBoard."""
        self._events.add_image("validation", sample, step, dataformats="HWC")
        self._events.flush()


SAVE_EVERY_S = 120.0  # at the latest: what a run that is killed may lose


@dataclass(frozen=True)
class Validator:
    """Measures a run on photographs that it is not trained on, and writes it down."""

    pairs: list[Pair]
    figures: dict[str, Metric]
    journal: RunLog
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
    with RunLog(run_folder, run.step) as journal:
        judge = Validator(validation, choose_figures(perceptual), journal, devices)
        go_on(run, sampler, judge, deadline)
    return run


def load_training(photos: Sequence[Photo], data: DataSettings) -> list[Pair]:
    """Photographs to train on, and drawings among them, at each of the sizes."""
    drawings = draw_pictures(data.drawings, data.seed)
    pairs = load_pairs(photos, data.sizes)
    return pairs + [pair for picture in drawings for pair in make_pairs(picture, data.sizes)]


def go_on(run: Run, sampler: PatchSampler, judge: Validator, deadline: float) -> None:
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
