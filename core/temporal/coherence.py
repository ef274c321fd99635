"""Upscale the frames of a clip so that consecutive frames agree with each other.

The detail that a network adds depends on the noise of a frame and on the alignment of its
pixels. It differs from frame to frame, so still objects flicker. Here each frame is averaged
with the previous ones, moved along the optical flow. Where the flow is uncertain, or something
new appears, the present frame is used alone.

Frames are fused at the size of the result, whatever that is. Those that upscaling leaves as they
are are not fused.

Pictures that recur, as in animations, are upscaled once and kept in a small cache.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np

from core.media.medium import Frame, UpscalePicture
from core.model.grid import OutputGrid
from core.picture import Picture
from core.pixels import Float32Array, Uint8Array
from core.temporal.fusion import (
    CUBIC,
    LINEAR,
    Fusion,
    FusionState,
    Motion,
    find_motion,
    local_mean,
    luma,
    to_frame_grid,
    warp,
)

MAX_CACHE_BYTES = 32_000_000
"""Size of the SR pictures kept in the cache; the last one is always kept."""

MAX_AGE = 4
"""Number of previous frames that count: more would average away what changes slowly."""

NEIGHBOURHOOD = 3
"""Side of the window in which frames are compared, LR px."""

TOLERANCE = 2.0
"""Levels by which frames may differ."""

CONTRAST_TOLERANCE = 0.15
"""Share of the local contrast that is added to the tolerance: where contrast is high, a small
error of the flow causes a large difference."""

NOISE_TOLERANCE = 2.0
"""Factor of the median difference of the frames, an estimate of their noise, that is added to
the tolerance."""

MAX_NOISE = 5.0
"""Highest noise estimate, in levels; a higher median has other causes than noise."""

MIN_LIKENESS = 0.35
"""Mean likeness of two frames below which they show different scenes."""

FindMotion = Callable[[Uint8Array, Uint8Array], Motion]
"""Function that estimates motion from the luma of the present and the previous frame."""


FindGrid = Callable[[int, int], OutputGrid]
"""Function that returns the grid of the SR frame of an LR frame, given its height and width."""


def upscale_frames(
    frames: Iterable[Frame],
    upscale: UpscalePicture,
    find_grid: FindGrid,
    *,
    is_coherent: bool,
    warm_up: int = 0,
) -> Iterator[Frame]:
    """Upscale frames one after the other; each is held only briefly.

    Args:
        frames: frames in their order.
        upscale: upscales one frame.
        find_grid: returns the grids of the SR frames.
        is_coherent: whether each frame is made to agree with the previous ones.
        warm_up: number of frames at the beginning that are computed but not returned.
    """
    upscale_next = Coherence(upscale, find_grid) if is_coherent else upscale
    for number, frame in enumerate(frames):
        sr = frame._replace(picture=upscale_next(frame.picture))
        if number >= warm_up:
            yield sr


@dataclass
class Coherence:
    """Upscales the frames of one clip coherently.

    Call the instance with each LR frame in order. Memory does not grow with the length of the
    clip. A frame equal to the previous one has the same result and is not upscaled again.

    Attributes:
        upscale: upscales one frame by itself.
        find_grid: returns the grids of the SR frames.
        fusion: fuses a frame with the previous ones.
        find_motion: estimates the motion between two frames.
    """

    upscale: UpscalePicture
    find_grid: FindGrid
    fusion: Fusion = field(default_factory=Fusion)
    find_motion: FindMotion = find_motion
    _last: tuple[Picture, Picture] | None = field(default=None, init=False)
    _state: FusionState | None = field(default=None, init=False)

    def __call__(self, lr: Picture) -> Picture:
        """Return the SR frame of the next LR frame."""
        if self._last is not None and are_equal(lr, self._last[0]):
            return replace(self._last[1], extras=lr.extras)
        grid = self.find_grid(lr.height, lr.width)
        sr = self._fuse(grid.crop(lr), self.upscale(lr), grid)
        self._last = lr, sr
        return sr

    def _fuse(self, lr: Picture, sr: Picture, grid: OutputGrid) -> Picture:
        if are_equal(lr, sr):
            self._state = None
            return sr
        present = np.asarray(np.rint(luma(lr.pixels)), np.uint8)
        state = self._state
        if state is not None and state.lr.shape == present.shape:
            motion = self.find_motion(present, state.lr)
            similarity = likeness(present, state.lr, motion)
            if similarity.mean() >= MIN_LIKENESS:
                ages = moved_ages(state.ages, motion) * similarity
                sr, fused = self.fusion.fuse(sr, state, motion, ages / (ages + 1), grid)
                self._state = FusionState(present, fused, ages + 1)
                return sr
        self._state = FusionState(present, luma(sr.pixels), np.ones(present.shape, np.float32))
        return sr


def are_equal(one: Picture, other: Picture) -> bool:
    """Return whether two pictures have the same pixels, alpha and greyness."""
    if one.is_grey != other.is_grey or (one.alpha is None) != (other.alpha is None):
        return False
    if one.pixels.dtype != other.pixels.dtype or not np.array_equal(one.pixels, other.pixels):
        return False
    return one.alpha is None or np.array_equal(one.alpha, np.asarray(other.alpha))


def likeness(present: Uint8Array, previous: Uint8Array, motion: Motion) -> Float32Array:
    """Return how much the present frame resembles the moved previous one.

    Args:
        present: luma of the present frame, (H, W).
        previous: luma of the previous frame, (H, W).
        motion: motion between the two.

    Returns:
        (H, W) in [0, 1].
    """
    own = present.astype(np.float32)
    moved = warp(previous.astype(np.float32), to_frame_grid(motion.flow), CUBIC)
    difference = local_mean(np.abs(own - moved), NEIGHBOURHOOD)
    noise = min(float(np.median(difference)), MAX_NOISE)
    allowed = TOLERANCE + NOISE_TOLERANCE * noise + CONTRAST_TOLERANCE * local_contrast(own)
    return np.asarray(motion.confidence * np.exp(-((difference / allowed) ** 2)), np.float32)


def local_contrast(plane: Float32Array) -> Float32Array:
    """Return the standard deviation in the neighbourhood of each pixel."""
    variance = local_mean(plane * plane, NEIGHBOURHOOD) - local_mean(plane, NEIGHBOURHOOD) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)


def moved_ages(ages: Float32Array, motion: Motion) -> Float32Array:
    """Move the ages along the motion, and limit them to `MAX_AGE`: (H, W)."""
    moved = warp(ages, to_frame_grid(motion.flow), LINEAR)
    return np.minimum(moved, MAX_AGE)


def with_cache(upscale: UpscalePicture, max_bytes: int = MAX_CACHE_BYTES) -> UpscalePicture:
    """Wrap an upscaler so that the results of recent pictures are reused.

    Args:
        upscale: its result depends on its picture alone.
        max_bytes: size of the cached results; the least recently used ones are dropped.

    Returns:
        An upscaler for use in one thread.
    """
    return _CachedUpscaler(upscale, max_bytes)


class _CachedUpscaler:
    def __init__(self, upscale: UpscalePicture, max_bytes: int) -> None:
        self._upscale = upscale
        self._max_bytes = max_bytes
        self._results: OrderedDict[bytes, Picture] = OrderedDict()

    def __call__(self, picture: Picture) -> Picture:
        digest = _digest(picture)
        sr = self._results.pop(digest, None)
        if sr is None:
            sr = self._upscale(picture)
        self._results[digest] = sr
        self._evict()
        return replace(sr, extras=picture.extras)

    def _evict(self) -> None:
        total = sum(map(_count_bytes, self._results.values()))
        while total > self._max_bytes and len(self._results) > 1:
            _, oldest = self._results.popitem(last=False)
            total -= _count_bytes(oldest)


def _digest(picture: Picture) -> bytes:
    """Hash everything that the network sees, and nothing else."""
    digest = blake2b(digest_size=16)
    for part in _network_input(picture):
        digest.update(part)
    return digest.digest()


def _network_input(picture: Picture) -> Iterator[bytes]:
    yield repr((picture.pixels.shape, str(picture.pixels.dtype), picture.is_grey)).encode()
    yield picture.pixels.tobytes()
    if picture.alpha is not None:
        yield picture.alpha.tobytes()


def _count_bytes(picture: Picture) -> int:
    return picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
