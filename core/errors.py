"""Errors that `core` raises on purpose.

SuperResolutionError
├── UnreadableImage       the bytes are damaged or not an image
├── UnsupportedImage      an image of a kind that is not supported
├── ImageTooLarge         the image exceeds the pixel, side or frame limit
├── UnreadableClip        the bytes are damaged or not a video clip
├── UnsupportedClip       a clip or an output of a kind that is not supported
├── ClipTooLarge          the clip is too long, or its frames are too large
├── UnreadableArchive     the archive is damaged or unsafe to unpack
├── InvalidOptions        the requested output cannot be made from this file
├── InvalidDetail         the requested detail is not available
├── InvalidRestore        the requested strength of restoring is not available
├── InvalidModel          the requested model is not available
├── TooMuchMemory         the file needs more memory than is available
├── RetryLater            the request may succeed later
│   └── Overloaded        too many requests are waiting
├── DeadlineExceeded      the work did not finish in time
├── RequestAbandoned      the client no longer waits for the result
└── GraphMismatch         the frozen graph does not match its card
"""

import functools


class SuperResolutionError(Exception):
    """Base of every error that `core` raises on purpose."""


class UnreadableImage(SuperResolutionError):
    """The bytes are damaged or not an image."""


class UnsupportedImage(SuperResolutionError):
    """The image is of a kind that is not supported."""


class ImageTooLarge(SuperResolutionError):
    """The image has more pixels, a longer side or more frames than the limit."""


class UnreadableClip(SuperResolutionError):
    """The bytes are damaged or not a video clip."""


class UnsupportedClip(SuperResolutionError):
    """The clip, or the requested output, is of a kind that is not supported."""


class ClipTooLarge(SuperResolutionError):
    """The clip is longer, or has larger frames, than the limit."""


class UnreadableArchive(SuperResolutionError):
    """The archive is damaged or unsafe to unpack."""


class InvalidOptions(SuperResolutionError):
    """The requested output cannot be made from this file."""


class InvalidDetail(SuperResolutionError):
    """The requested detail is outside the range that the loaded networks cover."""


class InvalidRestore(SuperResolutionError):
    """The requested strength of restoring is out of range, or there is no restorer."""


class InvalidModel(SuperResolutionError):
    """There is no such model, or it cannot be loaded."""


class TooMuchMemory(SuperResolutionError):
    """The file needs more memory than is available."""


class RetryLater(SuperResolutionError):
    """The request fails now but may succeed later.

    Attributes:
        retry_after_s: seconds to wait before the next attempt.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the error with its keyword argument, which `Exception` would drop."""
        return functools.partial(type(self), retry_after_s=self.retry_after_s), self.args


class Overloaded(RetryLater):
    """Too many requests are waiting."""


class ModelUnavailable(RetryLater):
    """The model cannot be loaded at the moment."""


class DeadlineExceeded(SuperResolutionError):
    """The work did not finish in time."""


class RequestAbandoned(SuperResolutionError):
    """The client no longer waits for the result."""


class GraphMismatch(SuperResolutionError):
    """The frozen graph does not match its card."""


class GraphUnreadable(GraphMismatch):
    """The card or the graph cannot be read. Files of a volume may come back."""
