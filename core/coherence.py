"""Frames of a clip, upscaled so that they agree with each other."""

from collections.abc import Iterable, Iterator

from core.clips import Frame, UpscalePicture


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
    for number, frame in enumerate(frames):
        sr = frame._replace(picture=upscale(frame.picture))
        if number >= warm_up:
            yield sr
