"""Animations to videos, which browsers and messengers play with a tenth of the bytes.

They are played once: a video does not say how often, its player does.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from core.animation.film import AS_VIEWERS_SHOW, Film
from core.clips import ClipWish, Frame
from core.video import SRGB, USUAL_QUALITY, Encoding, Output, choose_codec, encode_alone

MOST_A_SECOND = Fraction(100)
"""Frames, that the rate tells; their times are exact all the same."""


def write_video(film: Film, wish: ClipWish, path: Path) -> None:
    """Write a film without sound; what is transparent is laid over white.

    Args:
        film: with at least one frame.
        wish: whose `format` is a video's.
        path: of the file.

    Raises:
        InvalidWish: if the format cannot have the codec.
    """
    kind = str(wish.format)
    codec = choose_codec(kind, wish.codec)
    durations = shown(film)
    rate = min(len(durations) / (sum(durations) * film.time_base), MOST_A_SECOND)
    encode_alone(
        frames(film, durations),
        path,
        Encoding(codec, wish.quality or USUAL_QUALITY, rate, Fraction(1), SRGB),
        Output(kind, codec, film.time_base, wish.has_note),
        report=lambda _done: None,
    )


def shown(film: Film) -> list[int]:
    """Durations as viewers have them: a frame without one is shown for a while."""
    return [duration or round(AS_VIEWERS_SHOW / film.time_base) for duration in film.durations]


def frames(film: Film, durations: list[int]) -> Iterator[Frame]:
    starts = accumulate(durations, initial=0)
    for picture, start, duration in zip(film.pictures(), starts, durations, strict=False):
        yield Frame(picture, start, duration)
