"""Measure models on clips, frame by frame and with temporal coherence, and record the figures.

Test clips are folders of frames, or pans: slow moves over a picture, whose motion is known
exactly. Each clip is upscaled in several ways, so that the figures show what every part of
the coherence contributes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from core.images import decode_rgb, resize_bicubic
from core.model.card import read_card
from core.model.grid import output_grid
from core.options import OutputOptions
from core.picture import Picture
from core.pixels import LEVELS
from core.temporal.coherence import Coherence
from core.temporal.fusion import (
    FLOW_SCALE,
    Fusion,
    Motion,
    enlarge_luma,
    find_motion,
    flow_confidence,
    to_frame_grid,
)
from training import CommandFailed
from training.data.photos import make_pair
from training.evaluation.metrics import FARNEBACK, ClipMetrics, Frames, LearnedDistance
from training.evaluation.outputs import load_for_measuring
from training.evaluation.tables import Means, markdown_table, write_between
from training.models.networks import SCALE

PAN_FRAMES = 10
PAN_HEIGHT, PAN_WIDTH = 192, 256  # HR px
PAN_STEP = (1.3, -0.7)  # HR px a frame, right and down: a third and a sixth of an LR px
PAN_ZOOM = 0.002  # relative enlargement a frame
NOISE_LEVELS = 2.5  # standard deviation of the noise in noisy pans, on the LR frames

FIRST_MARK = "<!-- video: written by python -m training evaluate-video -->"
LAST_MARK = "<!-- end of video -->"

ORIGINAL = "original"
APART, COHERENT = "frame by frame", "coherent"
HEADINGS = {
    "warping_error": "warping error, 1e-4",
    "tof_px": "tOF, px",
    "tlp": "tLP x 100",
    "psnr_y_db": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "lpips_sq": "LPIPS-sq",
}
FACTORS = {"warping_error": 1e4, "tlp": 100}
FORMATS = {"psnr_y_db": "{:.2f}", "warping_error": "{:.2f}", "tlp": "{:.2f}"}
ABSENT = "–"


@dataclass(frozen=True)
class TestClip:
    """A clip to measure: LR to upscale, and HR to compare with.

    Attributes:
        group: clips of the same group are averaged.
        name: name of the clip in its group.
        hr: (T, 4H, 4W, 3) uint8.
        lr: (T, H, W, 3) uint8.
        motions: motions between consecutive LR frames, if they are known exactly.
    """

    __test__ = False  # pytest would take it for a test, because of its name

    group: str
    name: str
    hr: np.ndarray
    lr: np.ndarray
    motions: tuple[Motion, ...] = ()


@dataclass(frozen=True)
class ClipFigures:
    """The figures of one output on one clip."""

    group: str
    clip: str
    output: str
    figures: dict[str, float]


@dataclass(frozen=True)
class VideoEvaluation:
    """What to measure, and where to write the figures.

    Attributes:
        card: card of the model.
        video: folder of clips; None for none.
        pans: folder of pictures to make pans from; None for none.
        perceptual: folder with weights for LPIPS-sq and tLP; None to leave them out.
        document: Markdown file with a table of the figures to rewrite; None for none.
        report: JSON file for every figure; None for none.
    """

    card: Path
    video: Path | None = None
    pans: Path | None = None
    perceptual: Path | None = None
    document: Path | None = None
    report: Path | None = None

    def run(self) -> Means:
        """Measure, write the figures, and return the means over the clips of a group."""
        distance = LearnedDistance(self.perceptual) if self.perceptual else None
        name = read_card(self.card).name
        upscaler = load_for_measuring(self.card)
        rows: list[ClipFigures] = []
        for clip in tqdm(self._clips(), unit="clip"):
            apart = [upscaler.upscale(Picture(lr)).pixels for lr in clip.lr]
            metrics = ClipMetrics(clip.hr, distance)
            for output, frames in make_outputs(clip, apart, name):
                figures = metrics.measure(frames)
                rows.append(ClipFigures(clip.group, clip.name, output, figures))
        means = mean_over_clips(rows)
        self._write(rows, means)
        return means

    def _clips(self) -> list[TestClip]:
        clips = read_clips(self.video) if self.video else []
        return clips + (make_pans(self.pans) if self.pans else [])

    def _write(self, rows: Sequence[ClipFigures], means: Means) -> None:
        if self.report is not None:
            report = {"means": means, "clips": [asdict(row) for row in rows]}
            self.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if self.document is not None:
            write_between(self.document, as_table(means), FIRST_MARK, LAST_MARK)


def read_clips(folder: Path) -> list[TestClip]:
    """Return the clips of a folder: every `<name>/HR` with frames as picture files, by name.

    Raises:
        CommandFailed: if there is no clip, or one with fewer than two frames.
    """
    folders = sorted(folder.glob("*/HR"))
    if not folders:
        raise CommandFailed(f"{folder} must hold folders <name>/HR of frames. Received: none.")
    return [read_clip(path) for path in folders]


def read_clip(folder: Path) -> TestClip:
    """Return the clip whose HR frames are in a folder."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) < 2:
        raise CommandFailed(f"{folder} must hold two frames or more. Received: {len(paths)}.")
    pairs = [make_pair(decode_rgb(path.read_bytes())) for path in paths]
    name = folder.parent.name
    return TestClip(name, name, np.stack([p.hr for p in pairs]), np.stack([p.lr for p in pairs]))


def make_pans(folder: Path) -> list[TestClip]:
    """Return two pans over each PNG of a folder, one of them with noise."""
    pictures = {path.stem: decode_rgb(path.read_bytes()) for path in sorted(folder.glob("*.png"))}
    clips = [make_pan(name, picture) for name, picture in pictures.items()]
    return [*clips, *(add_noise(clip, seed) for seed, clip in enumerate(clips))]


def make_pan(name: str, picture: np.ndarray) -> TestClip:
    """Return a slow pan and zoom over (H, W, 3) uint8, by fractions of a pixel a frame."""
    views = [view_matrix(number, picture.shape) for number in range(PAN_FRAMES)]
    pairs = [make_pair(render_view(picture, matrix)) for matrix in views]
    lr = np.stack([pair.lr for pair in pairs])
    motions = tuple(
        known_motion(present, before, lr.shape[1:3])
        for before, present in zip(views, views[1:], strict=False)
    )
    return TestClip("pans", name, np.stack([pair.hr for pair in pairs]), lr, motions)


def view_matrix(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix, (2, 3), from pixels of a pan's frame to those of the picture."""
    size = 1 / (1 + PAN_ZOOM * number)
    centre_x, centre_y = (
        side / 2 + step * (number - PAN_FRAMES / 2)
        for side, step in zip(shape[1::-1], PAN_STEP, strict=True)
    )
    left, top = centre_x - size * PAN_WIDTH / 2, centre_y - size * PAN_HEIGHT / 2
    return np.array([[size, 0, left], [0, size, top]])


def render_view(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the frame of a pan that a view matrix describes."""
    return cv2.warpAffine(
        picture,
        matrix,
        (PAN_WIDTH, PAN_HEIGHT),
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def known_motion(present: np.ndarray, before: np.ndarray, shape: tuple[int, int]) -> Motion:
    """Return the motion between two views of a pan, LR px.

    Args:
        present: matrix of a frame.
        before: matrix of the previous frame.
        shape: height and width of the LR frames.
    """
    height, width = (FLOW_SCALE * side for side in shape)
    step = SCALE / FLOW_SCALE
    rows, columns = ((np.arange(n) + 0.5) * step - 0.5 for n in (height, width))  # HR px
    x = (present[0, 0] * columns + present[0, 2] - before[0, 2]) / before[0, 0] - columns
    y = (present[1, 1] * rows + present[1, 2] - before[1, 2]) / before[1, 1] - rows
    flow = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
    return Motion((flow / SCALE).astype(np.float32), np.ones(shape, np.float32))


def add_noise(clip: TestClip, seed: int) -> TestClip:
    """Return the clip with noise on its LR frames, as from a small sensor."""
    drawn = np.random.default_rng(seed).normal(0, NOISE_LEVELS, clip.lr.shape)
    noisy = np.clip(np.rint(clip.lr + drawn), 0, LEVELS).astype(np.uint8)
    return TestClip("noisy pans", clip.name, clip.hr, noisy, clip.motions)


def make_outputs(clip: TestClip, apart: Frames, model: str) -> Iterator[tuple[str, Frames]]:
    """Yield the name and the frames of everything that is measured on a clip.

    Args:
        clip: the clip.
        apart: its frames, upscaled one by one by the model.
        model: name of the model.
    """
    height, width = clip.hr.shape[1:3]
    yield ORIGINAL, clip.hr
    yield "bicubic", [resize_bicubic(lr, height, width) for lr in clip.lr]
    yield f"{model}, {APART}", apart
    yield f"{model}, {COHERENT}", fuse(clip, apart)
    farneback = fuse(clip, apart, find_motion=find_motion_by_farneback)
    yield f"{model}, {COHERENT}, flow by Farneback", farneback
    mean = fuse(clip, apart, fusion=Fusion(kept=0, is_sharpened=False))
    yield f"{model}, mean of frames alone", mean
    soft = fuse(clip, apart, fusion=Fusion(is_sharpened=False))
    yield f"{model}, {COHERENT}, detail as weak as the mean", soft
    if clip.motions:
        known = iter(clip.motions)
        exact = fuse(clip, apart, find_motion=lambda *_: next(known))
        yield f"{model}, {COHERENT}, exact flow", exact


def fuse(
    clip: TestClip,
    apart: Frames,
    *,
    fusion: Fusion | None = None,
    find_motion: Callable = find_motion,
) -> Frames:
    """Return the frames of a clip made coherent.

    Args:
        clip: the clip.
        apart: its frames, upscaled one by one.
        fusion: settings of the fusion; None for those of the service.
        find_motion: function that estimates the motion between frames.
    """
    upscaled = iter(apart)
    advance = Coherence(
        lambda _: Picture(next(upscaled)),
        partial(output_grid, OutputOptions(), scale=SCALE),
        fusion=fusion or Fusion(),
        find_motion=find_motion,
    )
    return [advance(Picture(lr)).pixels for lr in clip.lr]


def find_motion_by_farneback(present: np.ndarray, before: np.ndarray) -> Motion:
    """Return what `core.temporal.fusion.find_motion` returns, by Farneback's method."""
    height, width = (FLOW_SCALE * side for side in present.shape)
    pair = enlarge_luma(present), enlarge_luma(before)
    back, forth = (
        cv2.calcOpticalFlowFarneback(*ends, None, **FARNEBACK)[:height, :width] / FLOW_SCALE
        for ends in (pair, pair[::-1])
    )
    return Motion(back, flow_confidence(to_frame_grid(back), to_frame_grid(forth)))


def mean_over_clips(rows: Sequence[ClipFigures]) -> Means:
    """Return means over the clips of a group, in the order of the rows."""
    grouped: dict[str, dict[str, list[dict[str, float]]]] = {}
    for row in rows:
        grouped.setdefault(row.group, {}).setdefault(row.output, []).append(row.figures)
    return {
        group: {output: mean_of(figures) for output, figures in outputs.items()}
        for group, outputs in grouped.items()
    }


def mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every figure, rounded to six places."""
    return {key: round(float(np.mean([f[key] for f in figures])), 6) for key in figures[0]}


def as_table(means: Means) -> str:
    """Return a Markdown table with one row per group and output."""
    return markdown_table("clip", means, HEADINGS, format_cell)


def format_cell(key: str, value: float | None) -> str:
    """Return a figure in the unit of its column; a dash if it was not measured."""
    if value is None:
        return ABSENT
    return FORMATS.get(key, "{:.4f}").format(FACTORS.get(key, 1) * value)
