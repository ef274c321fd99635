"""Frames of a clip, upscaled so that they agree with each other.

What a network draws into a frame depends on its noise and on how its pixels happen to lie, so
what it draws into the next one is something else, and still things flicker. Here every frame
is the mean of itself and of those before, moved to where their parts are now. Where that
cannot be told, or what is there is new, the present frame stands alone.

Pictures that come again are upscaled once.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np

from core.media.medium import Frame, UpscalePicture
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

MOST_BYTES = 32_000_000
"""Of SR pictures that are kept, but for the last one, which always is."""


def upscale_once(upscale: UpscalePicture, most_bytes: int = MOST_BYTES) -> UpscalePicture:
    """The same, but for pictures that it has had not long ago: their results are kept.

    Args:
        upscale: whose result depends on its picture alone.
        most_bytes: of results kept; those not asked for the longest go first.

    Returns:
        What upscales pictures; for one thread.
    """
    return _Remembering(upscale, most_bytes)


class _Remembering:
    def __init__(self, upscale: UpscalePicture, most_bytes: int) -> None:
        self._upscale = upscale
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Picture] = OrderedDict()

    def __call__(self, picture: Picture) -> Picture:
        digest = _digest(picture)
        sr = self._kept.pop(digest, None)
        if sr is None:
            sr = self._upscale(picture)
        self._kept[digest] = sr
        self._forget()
        return replace(sr, extras=picture.extras)

    def _forget(self) -> None:
        total = sum(map(_count_bytes, self._kept.values()))
        while total > self._most_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            total -= _count_bytes(oldest)


def _digest(picture: Picture) -> bytes:
    """Of all that the network sees, and of nothing else."""
    digest = blake2b(digest_size=16)
    for part in _parts(picture):
        digest.update(part)
    return digest.digest()


def _parts(picture: Picture) -> Iterator[bytes]:
    yield repr((picture.pixels.shape, str(picture.pixels.dtype), picture.is_grey)).encode()
    yield picture.pixels.tobytes()
    if picture.alpha is not None:
        yield picture.alpha.tobytes()


def _count_bytes(picture: Picture) -> int:
    return picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)


MAX_AGE = 4
"""Frames before the present one that count: more would average away what changes slowly."""

NEIGHBOURHOOD = 3
"""LR px, in which frames are compared."""

TOLERANCE = 2.0
"""Levels by which frames may differ."""

CONTRAST_TOLERANCE = 0.15
"""Share of the local contrast that is added: there, a small error of the flow differs by much."""

NOISE_TOLERANCE = 2.0
"""Times the median difference of the frames, which is their noise, that is added."""

MAX_NOISE = 5.0
"""Levels; if the median is higher, the frames differ in more than noise."""

MIN_LIKENESS = 0.35
"""Of the two frames, in the mean; below, they show different scenes."""

PIXEL_BYTES = 56
"""Of memory for each SR pixel where frames agree with each other: measured as 38 to 54."""

FindMotion = Callable[[Uint8Array, Uint8Array], Motion]
"""Luma of the present frame and of the one before -> motion."""


def upscale_frames(
    frames: Iterable[Frame], upscale: UpscalePicture, *, is_coherent: bool, warm_up: int = 0
) -> Iterator[Frame]:
    """Upscale frames one after the other, none of them held for long.

    Args:
        frames: in their order.
        upscale: what upscales one of them.
        is_coherent: whether each is made to agree with the one before.
        warm_up: frames at the beginning that are computed but not returned.
    """
    advance = Coherence(upscale) if is_coherent else upscale
    for number, frame in enumerate(frames):
        sr = frame._replace(picture=advance(frame.picture))
        if number >= warm_up:
            yield sr


@dataclass
class Coherence:
    """Upscales the frames of one clip: a callable, LR frame -> SR frame, called in their order.

    Memory does not grow with the clip. A frame equal to the one before has an equal result,
    and is not upscaled again.

    Attributes:
        upscale: what upscales one frame by itself.
        fusion: how frames are fused.
        find_motion: how their motion is found.
    """

    upscale: UpscalePicture
    fusion: Fusion = field(default_factory=Fusion)
    find_motion: FindMotion = find_motion
    _last: tuple[Picture, Picture] | None = field(default=None, init=False)
    _memory: FusionState | None = field(default=None, init=False)

    def __call__(self, lr: Picture) -> Picture:
        if self._last is not None and are_equal(lr, self._last[0]):
            return replace(self._last[1], extras=lr.extras)
        sr = self._advance(lr, self.upscale(lr))
        self._last = lr, sr
        return sr

    def _advance(self, lr: Picture, sr: Picture) -> Picture:
        present = np.asarray(np.rint(luma(lr.pixels)), np.uint8)
        memory = self._memory
        if memory is not None and memory.lr.shape == present.shape:
            motion = self.find_motion(present, memory.lr)
            likeness = compare(present, memory.lr, motion)
            if likeness.mean() >= MIN_LIKENESS:
                ages = age(memory.ages, motion) * likeness
                sr, fused = self.fusion.fuse(sr, memory, motion, ages / (ages + 1))
                self._memory = FusionState(present, fused, ages + 1)
                return sr
        self._memory = FusionState(present, luma(sr.pixels), np.ones(present.shape, np.float32))
        return sr


def are_equal(one: Picture, other: Picture) -> bool:
    """Whether two pictures look the same: colour, greyness and alpha."""
    if one.is_grey != other.is_grey or (one.alpha is None) != (other.alpha is None):
        return False
    if one.pixels.dtype != other.pixels.dtype or not np.array_equal(one.pixels, other.pixels):
        return False
    return one.alpha is None or np.array_equal(one.alpha, np.asarray(other.alpha))


def compare(present: Uint8Array, before: Uint8Array, motion: Motion) -> Float32Array:
    """How far the present frame is the one before, moved: (H, W) in [0, 1].

    Args:
        present: luma, (H, W).
        before: likewise.
        motion: between the two.
    """
    own = present.astype(np.float32)
    moved = warp(before.astype(np.float32), to_frame_grid(motion.flow), CUBIC)
    difference = local_mean(np.abs(own - moved), NEIGHBOURHOOD)
    noise = min(float(np.median(difference)), MAX_NOISE)
    allowed = TOLERANCE + NOISE_TOLERANCE * noise + CONTRAST_TOLERANCE * contrast(own)
    return np.asarray(motion.trust * np.exp(-((difference / allowed) ** 2)), np.float32)


def contrast(plane: Float32Array) -> Float32Array:
    """The standard deviation around every pixel."""
    variance = local_mean(plane * plane, NEIGHBOURHOOD) - local_mean(plane, NEIGHBOURHOOD) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float32)


def age(ages: Float32Array, motion: Motion) -> Float32Array:
    """Frames that what is here now is the mean of, at most `MAX_AGE`: (H, W)."""
    moved = warp(ages, to_frame_grid(motion.flow), LINEAR)
    return np.minimum(moved, MAX_AGE)
