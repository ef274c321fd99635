"""Measure what coherence does to clips, and write it down."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.images import resize_bicubic
from core.model.card import read_card
from core.picture import Picture
from core.temporal.coherence import Coherence
from core.temporal.fusion import Fusion, find_motion
from training.evaluation.metrics import LearnedDistance, psnr_y, ssim_y
from training.evaluation.motion import (
    FrameMotion,
    TestClip,
    find_motion_by_farneback,
    find_passage,
    flow_distance,
    make_pans,
    perceived_flow,
    read_clips,
    warping_error,
)
from training.evaluation.outputs import load_for_measuring, write_between

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

Means = dict[str, dict[str, dict[str, float]]]
"""Group of clips -> output -> figure -> mean over the clips."""


@dataclass(frozen=True)
class ClipFigures:
    """The figures of one output on one clip."""

    group: str
    clip: str
    output: str
    figures: dict[str, float]


@dataclass(frozen=True)
class VideoEvaluation:
    """What to measure, and where to write it.

    Attributes:
        card: of the model.
        video: folder of clips; None for none.
        pans: folder of pictures to pan over; None for none.
        perceptual: folder of weights for LPIPS-sq and tLP; None to leave them out.
        document: Markdown file with a table of the figures; None to leave it alone.
        report: JSON file for every figure; None for none.
    """

    card: Path
    video: Path | None = None
    pans: Path | None = None
    perceptual: Path | None = None
    document: Path | None = None
    report: Path | None = None

    def run(self) -> Means:
        """Measure and write; the means over the clips of a group."""
        distance = LearnedDistance(self.perceptual) if self.perceptual else None
        name = read_card(self.card).name
        upscaler = load_for_measuring(self.card)
        rows: list[ClipFigures] = []
        for clip in tqdm(self._clips(), unit="clip"):
            apart = [upscaler.upscale(Picture(lr)).pixels for lr in clip.lr]
            yardstick = ClipMetrics(clip.hr, distance)
            for output, frames in make_outputs(clip, apart, name):
                figures = yardstick.measure(frames)
                rows.append(ClipFigures(clip.group, clip.name, output, figures))
        means = mean_figures(rows)
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


Frames = Sequence[np.ndarray]
"""SR frames, (4H, 4W, 3) uint8 each."""


def make_outputs(clip: TestClip, apart: Frames, model: str) -> Iterator[tuple[str, Frames]]:
    """Everything that is measured on a clip, and what it is called."""
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
    """The frames of a clip made coherent; the network has upscaled them already."""
    upscaled = iter(apart)
    advance = Coherence(
        lambda _: Picture(next(upscaled)), fusion=fusion or Fusion(), find_motion=find_motion
    )
    return [advance(Picture(lr)).pixels for lr in clip.lr]


class ClipMetrics:
    """Measures outputs against the HR frames of a clip.

    Args:
        hr: (T, 4H, 4W, 3) uint8.
        distance: LPIPS-sq; None to leave it and tLP out.
    """

    def __init__(self, hr: np.ndarray, distance: LearnedDistance | None) -> None:
        self._hr = hr
        self._distance = distance
        pairs = list(zip(hr[1:], hr, strict=False))
        self._passages: list[FrameMotion] = [find_passage(*pair) for pair in pairs]
        self._flows = [perceived_flow(*pair) for pair in pairs]
        self._seen = [distance.see(frame) for frame in hr] if distance else []

    def measure(self, frames: Frames) -> dict[str, float]:
        """Means over frames, or over pairs of consecutive ones, rounded to six places.

        Of the original itself, the warping error only: what flow and its interpolation
        leave when nothing flickers.
        """
        figures = {"warping_error": self._warping_error(frames)}
        if frames is not self._hr:
            figures["tof_px"] = self._tof(frames)
            figures |= self._likeness(frames)
            if self._distance:
                figures |= self._perceived(self._distance, frames)
        return {key: round(float(value), 6) for key, value in figures.items()}

    def _warping_error(self, frames: Frames) -> float:
        pairs = zip(frames[1:], frames, self._passages, strict=False)
        return float(np.mean([warping_error(*pair) for pair in pairs]))

    def _tof(self, frames: Frames) -> float:
        flows = [perceived_flow(*pair) for pair in zip(frames[1:], frames, strict=False)]
        return float(
            np.mean([flow_distance(*pair) for pair in zip(flows, self._flows, strict=True)])
        )

    def _likeness(self, frames: Frames) -> dict[str, float]:
        return {
            key: float(np.mean([metric(*pair) for pair in zip(frames, self._hr, strict=True)]))
            for key, metric in {"psnr_y_db": psnr_y, "ssim_y": ssim_y}.items()
        }

    def _perceived(self, distance: LearnedDistance, frames: Frames) -> dict[str, float]:
        seen = [distance.see(frame) for frame in frames]
        changes, due = (
            [distance.between(*pair) for pair in zip(clip[1:], clip, strict=False)]
            for clip in (seen, self._seen)
        )
        likeness = [distance.between(*pair) for pair in zip(seen, self._seen, strict=True)]
        gaps = np.abs(np.subtract(changes, due))
        return {"tlp": float(np.mean(gaps)), "lpips_sq": float(np.mean(likeness))}


def mean_figures(rows: Sequence[ClipFigures]) -> Means:
    """Means over the clips of a group, in the order of the rows."""
    grouped: dict[str, dict[str, list[dict[str, float]]]] = {}
    for row in rows:
        grouped.setdefault(row.group, {}).setdefault(row.output, []).append(row.figures)
    return {
        group: {output: mean_of(figures) for output, figures in outputs.items()}
        for group, outputs in grouped.items()
    }


def mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([f[key] for f in figures])), 6) for key in figures[0]}


def as_table(means: Means) -> str:
    """Markdown, one line a group and output."""
    outputs = [figures for group in means.values() for figures in group.values()]
    keys = [key for key in HEADINGS if any(key in figures for figures in outputs)]
    lines = [
        f"| clip | output | {' | '.join(HEADINGS[key] for key in keys)} |",
        "|---|---|" + "---|" * len(keys),
    ]
    for group, figures_of in means.items():
        for output, figures in figures_of.items():
            cells = " | ".join(cell(key, figures.get(key)) for key in keys)
            lines.append(f"| {group} | {output} | {cells} |")
    return "\n".join(lines) + "\n"


def cell(key: str, value: float | None) -> str:
    if value is None:
        return ABSENT
    return FORMATS.get(key, "{:.4f}").format(FACTORS.get(key, 1) * value)
