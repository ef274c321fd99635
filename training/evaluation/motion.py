"""Clips to measure with: folders of frames, and pans over pictures.

How things move in a clip, and how far that of one clip is that of another.

Source of tOF: Chu et al. 2020, TecoGAN,
arXiv:1811.09393, sec. 4.2; of the warping error: Lai et al. 2018, arXiv:1808.00449, sec. 4.2;
of what counts as occluded: Sundaram et al. 2010, doi:10.1007/978-3-642-15549-9_32, eq. 5.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from core.images import decode_rgb
from core.pixels import LEVELS
from core.temporal.fusion import (
    CUBIC,
    FLOW_SCALE,
    LINEAR,
    Motion,
    enlarge_luma,
    flow_confidence,
    sample_positions,
    to_frame_grid,
    warp,
)
from training.data.photos import make_pair
from training.errors import CommandFailed
from training.models.networks import SCALE

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
"""As tOF is measured in the code of TecoGAN."""


class FrameMotion(NamedTuple):
    """From a frame of a clip to the one before, as its HR frames tell.

    Attributes:
        flow: to the place of every pixel in the frame before, (H, W, 2) px.
        is_seen: whether it can be seen in both frames, (H, W).
    """

    flow: np.ndarray
    is_seen: np.ndarray


def grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 sRGB -> (H, W) uint8."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def find_passage(present: np.ndarray, before: np.ndarray) -> FrameMotion:
    """The passage between two HR frames, (H, W, 3) uint8, by DIS at its most careful preset."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = dis.calc(grey(present), grey(before), None)
    forth = dis.calc(grey(before), grey(present), None)
    return FrameMotion(back, is_seen(back, forth))


def is_seen(back: np.ndarray, forth: np.ndarray) -> np.ndarray:
    """Where the way back and forth ends near its beginning, inside the picture."""
    height, width = back.shape[:2]
    returned = warp(forth, back, LINEAR)
    gap = np.sum((back + returned) ** 2, axis=-1)
    length = np.sum(back**2, axis=-1) + np.sum(returned**2, axis=-1)
    x, y = sample_positions(back, 0)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (gap <= 0.01 * length + 0.5)


def warping_error(present: np.ndarray, before: np.ndarray, passage: FrameMotion) -> float:
    """Mean squared difference between a frame and the one before, warped to it.

    Over all channels in [0, 1], where both can be seen; the frame before is interpolated by
    bicubic convolution, since bilinear would blur it and so favour blurred frames.
    """
    moved = warp(before.astype(np.float32), passage.flow, CUBIC)
    difference = (present - moved)[passage.is_seen] / LEVELS
    return float(np.mean(difference**2))


def perceived_flow(present: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Farneback's flow from the frame before to the present one, (H, W, 2) px."""
    return cv2.calcOpticalFlowFarneback(grey(before), grey(present), None, **FARNEBACK)


def flow_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance between the ends of two flows, px: tOF of a pair of frames."""
    return float(np.mean(np.sqrt(np.sum((one - other) ** 2, axis=-1))))


def find_motion_by_farneback(present: np.ndarray, before: np.ndarray) -> Motion:
    """What `core.temporal.fusion.find_motion` finds, found by another method."""
    height, width = (FLOW_SCALE * side for side in present.shape)
    pair = enlarge_luma(present), enlarge_luma(before)
    back, forth = (
        cv2.calcOpticalFlowFarneback(*ends, None, **FARNEBACK)[:height, :width] / FLOW_SCALE
        for ends in (pair, pair[::-1])
    )
    return Motion(back, flow_confidence(to_frame_grid(back), to_frame_grid(forth)))


PAN_FRAMES = 10
PAN_HEIGHT, PAN_WIDTH = 192, 256  # HR px
PAN_STEP = (1.3, -0.7)  # HR px a frame, right and down: a third and a sixth of an LR px
PAN_ZOOM = 0.002  # a frame
NOISE_LEVELS = 2.5  # standard deviation of the noise of noisy pans, on the LR frames


@dataclass(frozen=True)
class TestClip:
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


def read_clips(folder: Path) -> list[TestClip]:
    """Every `<name>/HR` of a folder, of picture files that are its frames by name.

    Raises:
        CommandFailed: if there is none, or one of fewer than two frames.
    """
    folders = sorted(folder.glob("*/HR"))
    if not folders:
        raise CommandFailed(f"{folder} must hold folders <name>/HR of frames. Received: none.")
    return [read_clip(path) for path in folders]


def read_clip(folder: Path) -> TestClip:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) < 2:
        raise CommandFailed(f"{folder} must hold two frames or more. Received: {len(paths)}.")
    pairs = [make_pair(decode_rgb(path.read_bytes())) for path in paths]
    name = folder.parent.name
    return TestClip(name, name, np.stack([p.hr for p in pairs]), np.stack([p.lr for p in pairs]))


def make_pans(folder: Path) -> list[TestClip]:
    """Two pans over each picture of a folder, of which one has noise."""
    pictures = {path.stem: decode_rgb(path.read_bytes()) for path in sorted(folder.glob("*.png"))}
    clips = [make_pan(name, picture) for name, picture in pictures.items()]
    return [*clips, *(add_noise(clip, seed) for seed, clip in enumerate(clips))]


def make_pan(name: str, picture: np.ndarray) -> TestClip:
    """A slow pan and zoom over (H, W, 3) uint8, by fractions of a pixel."""
    views = [view(number, picture.shape) for number in range(PAN_FRAMES)]
    pairs = [make_pair(look(picture, matrix)) for matrix in views]
    lr = np.stack([pair.lr for pair in pairs])
    motions = tuple(
        known_motion(present, before, lr.shape[1:3])
        for before, present in zip(views, views[1:], strict=False)
    )
    return TestClip("pans", name, np.stack([pair.hr for pair in pairs]), lr, motions)


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
    height, width = (FLOW_SCALE * side for side in shape)
    step = SCALE / FLOW_SCALE
    rows, columns = ((np.arange(n) + 0.5) * step - 0.5 for n in (height, width))  # HR px
    x = (present[0, 0] * columns + present[0, 2] - before[0, 2]) / before[0, 0] - columns
    y = (present[1, 1] * rows + present[1, 2] - before[1, 2]) / before[1, 1] - rows
    flow = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    return Motion((flow / SCALE).astype(np.float32), np.ones(shape, np.float32))


def add_noise(clip: TestClip, seed: int) -> TestClip:
    """The clip as a small sensor would see it."""
    drawn = np.random.default_rng(seed).normal(0, NOISE_LEVELS, clip.lr.shape)
    noisy = np.clip(np.rint(clip.lr + drawn), 0, LEVELS).astype(np.uint8)
    return TestClip("noisy pans", clip.name, clip.hr, noisy, clip.motions)
