"""Which medium a file is, by what is in it."""

from pathlib import Path

from core.clips import ClipLimits, ClipWish
from core.media import Medium
from core.video import Video


def open_medium(path: Path, limits: ClipLimits, wish: ClipWish) -> Medium:
    """A file as a medium that can be upscaled.

    Args:
        path: the file; its name says nothing.
        limits: what it may measure.
        wish: how the caller wants it.

    Raises:
        UnreadableClip: if it is damaged from the start, or no clip.
        UnsupportedClip: if it is of a kind that is not taken, or cannot become what is
            wished for.
        ClipTooLarge: if it passes a limit.
        TooMuchMemory: if it takes too much to be read.
    """
    return Video(path, limits, wish)
