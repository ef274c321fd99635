"""Everything core/ raises on purpose.

SuperResolutionError
├── UnreadableImage       the bytes are damaged, or no picture at all
├── UnsupportedImage      a picture, but of a kind that is not taken
├── ImageTooLarge         more pixels, or longer sides, than the limit
├── UnreadableClip        the bytes are damaged, or no clip at all
├── UnsupportedClip       a clip, but of a kind that is not taken, or not as wished for
├── ClipTooLarge          longer, or of larger frames, than the limit
├── UnreadableArchive     the archive is damaged, or not safe to unpack
├── InvalidWish           such a result cannot be made of such a file
├── InvalidDetail         no place between the faithful and the detailed network
├── TooMuchMemory         the picture needs more memory than there is for all
├── ComeBack              it may go better later
│   └── Overloaded        too many pictures are waiting
├── DeadlineExceeded      the picture was not finished in time
├── RequestAbandoned      nobody waits for the picture any more
└── GraphMismatch         the frozen graph is not what its card announces
"""

import functools


class SuperResolutionError(Exception):
    """Base of every error raised on purpose in core/."""


class UnreadableImage(SuperResolutionError):
    """The bytes are damaged, or no picture at all."""


class UnsupportedImage(SuperResolutionError):
    """A picture, but of a kind that is not taken."""


class ImageTooLarge(SuperResolutionError):
    """The picture has more pixels, or longer sides, than the limit."""


class UnreadableClip(SuperResolutionError):
    """The bytes are damaged, or no clip at all."""


class UnsupportedClip(SuperResolutionError):
    """A clip, but of a kind that is not taken, or cannot become what is wished for."""


class ClipTooLarge(SuperResolutionError):
    """The clip is longer, or has larger frames, than the limit."""


class UnreadableArchive(SuperResolutionError):
    """The archive is damaged, or not safe to unpack."""


class InvalidOptions(SuperResolutionError):
    """Such a result cannot be made of such a file."""


class InvalidDetail(SuperResolutionError):
    """No place between the faithful and the detailed network."""


class TooMuchMemory(SuperResolutionError):
    """The picture needs more memory than there is for all."""


class RetryLater(SuperResolutionError):
    """It may go better later.

    Attributes:
        retry_after_s: seconds after which it is worth another try.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        """With its keyword, which pickle would forget."""
        return functools.partial(type(self), retry_after_s=self.retry_after_s), self.args


class Overloaded(RetryLater):
    """Too many pictures are waiting."""


class DeadlineExceeded(SuperResolutionError):
    """The picture was not finished in time."""


class RequestAbandoned(SuperResolutionError):
    """Nobody waits for the picture any more."""


class GraphMismatch(SuperResolutionError):
    """The frozen graph is not what its card announces."""
