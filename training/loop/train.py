"""The training loop: take steps, validate, save; resumable at any step.

`train` chooses precision and devices, loads the photographs, and takes steps until the
recipe's last step or a time limit. At every validation, the averaged weights upscale the
centre crops of photographs that are not trained on. The figures go to `log.csv` and to
TensorBoard.
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
from training import CommandFailed
from training.data.degradation import Degradation, degrade_pairs
from training.data.drawings import draw_pictures
from training.data.patches import PatchSampler
from training.data.photos import Pair, Photo, load_pairs, make_pairs, read_manifest, split_photos
from training.evaluation.metrics import WEIGHTS, LearnedDistance, Metric, psnr_y
from training.loop.recipe import DataSettings, Recipe
from training.loop.run import Run, start_run
from training.models.adversaries import build_content_features
from training.models.networks import SCALE

AUTO = "auto"  # the precision that suits the hardware
SAVE_EVERY_S = 120.0  # most time between checkpoints, and so the most that a killed run loses
CROP_SIDE = 64  # LR px, side of the centre crop of a validation photograph
SAMPLE_ROWS = 4  # crops in a sample picture
LOG = "log.csv"
EVENTS = "tensorboard"


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
        recipe: settings of the run.
        photos_folder: collection with `manifest.csv`.
        run_folder: folder of the run; a run that is there is resumed.
        max_minutes: time limit from now, loading included.
        perceptual: folder with weights for the content loss and for LPIPS-sq; None for none.
        start_from: folder of another run, whose averaged generator a new run starts from.
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
    with RunLog(run_folder, run.step) as log:
        validator = Validator(validation, choose_validation_metrics(perceptual), log, devices)
        take_steps(run, sampler, validator, deadline)
    return run


def take_steps(run: Run, sampler: PatchSampler, validator: "Validator", deadline: float) -> None:
    """Take steps until the last one, or until the deadline on the monotonic clock."""
    saved, figures = time.monotonic(), {}
    with tqdm(total=run.recipe.training.steps, initial=run.step, unit="step") as bar:
        for lr, hr in sampler.batches(run.step):
            if run.is_done or time.monotonic() > deadline:
                break
            losses = run.update(lr, hr)
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


@dataclass(frozen=True)
class Validator:
    """Measures a run on photographs that it is not trained on, and logs the figures.

    Attributes:
        pairs: validation crops; see `load_validation`.
        metrics: metrics by the name of their column in the log.
        log: where the figures go.
        devices: number of devices that share a batch.
    """

    pairs: list[Pair]
    metrics: dict[str, Metric]
    log: "RunLog"
    devices: int

    def validate(self, run: Run) -> dict[str, float]:
        """Log the figures of the current step, and return them."""
        upscaled = upscale_all(run, self.pairs, self.devices)
        figures = mean_over_pairs(upscaled, self.pairs, self.metrics)
        rate = run.recipe.learning_rate_at(run.step)
        self.log.write(run.step, run.pop_mean_losses() | {"learning_rate": rate} | figures)
        self.log.write_sample(run.step, draw_sample(upscaled, self.pairs))
        return figures


def load_validation(photos: list[Photo], degradation: Degradation | None, seed: int) -> list[Pair]:
    """Return the centre crops of photographs, degraded as the recipe says."""
    crops = [centre_crop(pair) for pair in load_pairs(photos)]
    return degrade_pairs(crops, degradation, seed)


def centre_crop(pair: Pair) -> Pair:
    """Return the centre of a pair, a square of at most `CROP_SIDE` LR pixels a side."""
    height, width = pair.lr.shape[:2]
    side = min(CROP_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = Box(top, left, top + side, left + side)
    return Pair(box.scaled(SCALE).crop(pair.hr), box.crop(pair.lr))


def choose_validation_metrics(perceptual: Path | None) -> dict[str, Metric]:
    """Return PSNR-Y, and LPIPS-sq if the folder holds its weights."""
    metrics: dict[str, Metric] = {"validation_psnr_y_db": psnr_y}
    distance = load_distance(perceptual)
    if distance is not None:
        metrics["validation_lpips_sq"] = distance
    return metrics


def load_distance(perceptual: Path | None) -> LearnedDistance | None:
    """Return LPIPS-sq; None if the folder does not hold its weights."""
    if perceptual is None or not (perceptual / WEIGHTS).exists():
        return None
    return LearnedDistance(perceptual)


def upscale_all(run: Run, pairs: list[Pair], devices: int = 1) -> list[np.ndarray]:
    """Return SR of every pair by the averaged weights, (4H, 4W, 3) uint8."""
    trained = run.generator.get_weights()
    run.generator.set_weights(run.ema)
    upscaled = [upscale(run.generator, pair.lr, devices) for pair in pairs]
    run.generator.set_weights(trained)
    return upscaled


def upscale(generator: keras.Model, lr: np.ndarray, devices: int = 1) -> np.ndarray:
    """Upscale LR (H, W, 3) uint8 to SR (4H, 4W, 3) uint8, untiled.

    If devices share batches, each gets a copy: a batch must be divisible among them.
    """
    batch = np.repeat(unit_from_uint8(lr)[None], devices, axis=0)
    return uint8_from_unit(np.asarray(generator.predict_on_batch(batch))[0])


def mean_over_pairs(
    upscaled: list[np.ndarray], pairs: list[Pair], metrics: Mapping[str, Metric]
) -> dict[str, float]:
    """Return the mean of every metric over the pairs."""
    return {
        name: float(np.mean([metric(sr, p.hr) for sr, p in zip(upscaled, pairs, strict=True)]))
        for name, metric in metrics.items()
    }


def draw_sample(upscaled: list[np.ndarray], pairs: list[Pair]) -> np.ndarray:
    """Return one picture of the first crops, (H, W, 3) uint8; a row is bicubic, SR, HR."""
    rows = [
        np.concatenate([resize_bicubic(pair.lr, *sr.shape[:2]), sr, pair.hr], axis=1)
        for sr, pair in zip(upscaled[:SAMPLE_ROWS], pairs[:SAMPLE_ROWS], strict=True)
    ]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(padded)


class RunLog:
    """The log of a run: `log.csv`, and events for TensorBoard. A resumed run appends to it.

    Args:
        folder: folder of the run.
        step: step at which the run is resumed; TensorBoard discards later events.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._log = folder / LOG
        self._events = SummaryWriter(
            str(folder / EVENTS),
            purge_step=step + 1,
            filename_suffix=f".{uuid4().hex}",  # or two logs opened in one second share a file
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._events.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append the figures of a step."""
        is_new = not self._log.exists()
        with self._log.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *figures])
            if is_new:
                writer.writeheader()
            writer.writerow({"step": step} | figures)
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def write_sample(self, step: int, sample: np.ndarray) -> None:
        """Add a sample picture, (H, W, 3) uint8, to the TensorBoard events."""
        self._events.add_image("validation", sample, step, dataformats="HWC")
        self._events.flush()
