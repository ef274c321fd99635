"""Clips to measure with: folders of frames, and pans over pictures."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.flow import FINER, Motion
from core.images import decode_rgb
from core.pixels import LEVELS
from training.errors import CommandFailed
from training.networks import SCALE
from training.photos import make_pair

PAN_FRAMES = 10
PAN_HEIGHT, PAN_WIDTH = 192, 256  # HR px
PAN_STEP = (1.3, -0.7)  # HR px a frame, right and down: a third and a sixth of an LR px
PAN_ZOOM = 0.002  # a frame
NOISE_LEVELS = 2.5  # standard deviation of the noise of noisy pans, on the LR frames


@dataclass(frozen=True)
class Clip:
    """Frames and what should come out.

    Attributes:
        group: of clips whose figures are averaged.
        name: of its own.
        hr: (T, 4H, 4W, 3) uint8.
        lr: (T, H, W, 3) uint8.
        motions: between consecutive LR frames, if they are known exactly.
    """

    group: str
    name: str
    hr: np.ndarray
    lr: np.ndarray
    motions: tuple[Motion, ...] = ()


def read_clips(folder: Path) -> list[Clip]:
    """Every `<name>/HR` of a folder, of picture files that are its frames by name.

    Raises:
        CommandFailed: if there is none, or one of fewer than two frames.
    """
    folders = sorted(folder.glob("*/HR"))
    if not folders:
        raise CommandFailed(f"{folder} must hold folders <name>/HR of frames. Received: none.")
    return [read_clip(path) for path in folders]


def read_clip(folder: Path) -> Clip:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) < 2:
        raise CommandFailed(f"{folder} must hold two frames or more. Received: {len(paths)}.")
    pairs = [make_pair(decode_rgb(path.read_bytes())) for path in paths]
    name = folder.parent.name
    return Clip(name, name, np.stack([p.hr for p in pairs]), np.stack([p.lr for p in pairs]))


def make_pans(folder: Path) -> list[Clip]:
    """Two pans over each picture of a folder, of which one has noise."""
    pictures = {path.stem: decode_rgb(path.read_bytes()) for path in sorted(folder.glob("*.png"))}
    clips = [make_pan(name, picture) for name, picture in pictures.items()]
    return [*clips, *(add_noise(clip, seed) for seed, clip in enumerate(clips))]


def make_pan(name: str, picture: np.ndarray) -> Clip:
    """A slow pan and zoom over (H, W, 3) uint8, by fractions of a pixel."""
    views = [view(number, picture.shape) for number in range(PAN_FRAMES)]
    pairs = [make_pair(look(picture, matrix)) for matrix in views]
    lr = np.stack([pair.lr for pair in pairs])
    motions = tuple(
        known_motion(present, before, lr.shape[1:3])
        for before, present in zip(views, views[1:], strict=False)
    )
    return Clip("pans", name, np.stack([pair.hr for pair in pairs]), lr, motions)


def view(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Of a frame of a pan: (2, 3), from its pixels to those of the picture."""
    size = 1 / (1 + PAN_ZOOM * number)
    centre_x, centre_y = (
        side / 2 + step * (number - PAN_FRAMES / 2)
        for side, step in zip(shape[1::-1], PAN_STEP, strict=True)
    )
    left, top = centre_x - size * PAN_WIDTH / 2, centre_y - size * PAN_HEIGHT / 2
    return np.array([[size, 0, left], [0, size, top]])


def look(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The frame that a view shows."""
    return cv2.warpAffine(
        picture,
        matrix,
        (PAN_WIDTH, PAN_HEIGHT),
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def known_motion(present: np.ndarray, before: np.ndarray, shape: tuple[int, int]) -> Motion:
    """The motion between two views of a pan, LR px; `shape` is that of the LR frames."""
    height, width = (FINER * side for side in shape)
    step = SCALE / FINER
    rows, columns = ((np.arange(n) + 0.5) * step - 0.5 for n in (height, width))  # HR px
    x = (present[0, 0] * columns + present[0, 2] - before[0, 2]) / before[0, 0] - columns
    y = (present[1, 1] * rows + present[1, 2] - before[1, 2]) / before[1, 1] - rows
    flow = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    return Motion((flow / SCALE).astype(np.float32), np.ones(shape, np.float32))


def add_noise(clip: Clip, seed: int) -> Clip:
    """The clip as a small sensor would see it."""
    drawn = np.random.default_rng(seed).normal(0, NOISE_LEVELS, clip.lr.shape)
    noisy = np.clip(np.rint(clip.lr + drawn), 0, LEVELS).astype(np.uint8)
    return Clip("noisy pans", clip.name, clip.hr, noisy, clip.motions)
