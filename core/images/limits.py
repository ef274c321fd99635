"""What a picture may measure, judged by its header."""

from dataclasses import dataclass

from core.errors import ImageTooLarge


@dataclass(frozen=True)
class Limits:
    """What a picture may measure."""

    max_pixels: int
    """Height times width, LR px."""
    max_side: int
    """Height or width, LR px."""
    max_frames: int | None = None
    """In the file, though only the first is decoded; None for any number."""

    def check(self, height: int, width: int) -> None:
        """Raise ImageTooLarge, with the limit and what came."""
        if height * width > self.max_pixels:
            raise ImageTooLarge(
                f"Image must have at most {self.max_pixels} pixels. "
                f"Received: {width} x {height} = {width * height} pixels."
            )
        if max(height, width) > self.max_side:
            raise ImageTooLarge(
                f"Image must be at most {self.max_side} pixels wide and high. "
                f"Received: {width} x {height} pixels."
            )

    def check_frames(self, frames: int) -> None:
        """Raise ImageTooLarge if there are more frames than `max_frames`.

        Args:
            frames: counted no further than one beyond the limit.
        """
        if self.max_frames is not None and frames > self.max_frames:
            raise ImageTooLarge(
                f"Image must have at most {self.max_frames} frames. Received: more."
            )
