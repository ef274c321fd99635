"""Animated GIF, PNG and WebP: read, upscale frame by frame, and write.

Every frame is a whole picture, as a viewer shows it. The duration of each frame and the
number of plays are carried over exactly.
"""

from core.animation.animation import Animation
from core.animation.output import OUTPUTS, supported_options
from core.animation.read import (
    find_format,
    has_several_frames,
    is_animation,
    read_animation,
    read_animation_header,
)

__all__ = [
    "OUTPUTS",
    "Animation",
    "find_format",
    "has_several_frames",
    "is_animation",
    "read_animation",
    "read_animation_header",
    "supported_options",
]
