"""Everything core/ raises on purpose.

SuperResolutionError
├── UnreadableImage       the bytes are damaged, or no picture at all
├── UnsupportedImage      a picture, but of a kind that is not taken
├── ImageTooLarge         more pixels, or longer sides, than the limit
├── InvalidDetail         no place between the faithful and the detailed network
└── GraphMismatch         the frozen graph is not what its card announces
"""


class SuperResolutionError(Exception):
    """Base of every error raised on purpose in core/."""


class UnreadableImage(SuperResolutionError):
    """The bytes are damaged, or no picture at all."""


class UnsupportedImage(SuperResolutionError):
    """A picture, but of a kind that is not taken."""


class ImageTooLarge(SuperResolutionError):
    """The picture has more pixels, or longer sides, than the limit."""


class InvalidDetail(SuperResolutionError):
    """No place between the faithful and the detailed network."""


class GraphMismatch(SuperResolutionError):
    """The frozen graph is not what its card announces."""
