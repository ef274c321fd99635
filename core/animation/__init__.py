"""Animated GIF, PNG and WebP: read, upscaled frame by frame, and written.

Frames are whole pictures, as a viewer shows them; when each is shown, and how often all of
them are, goes from file to file exactly.
"""

from core.animation.animation import Animation
from core.animation.output import OUTPUTS
from core.animation.read import is_animation, moves, read_animation, read_animation_header

__all__ = [
    "OUTPUTS",
    "Animation",
    "is_animation",
    "moves",
    "read_animation",
    "read_animation_header",
]
