"""Pictures that come again are upscaled once."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

from core.clips import UpscalePicture
from core.picture import Picture

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
