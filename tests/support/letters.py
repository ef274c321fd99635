"""A medium with one byte for each frame, in place of a video; some bytes cause trouble."""

import logging
import os
import signal
import time
from pathlib import Path

import numpy as np

from core.errors import UnreadableImage
from core.media.medium import plan_segments
from core.picture import Picture

SEGMENT = 4  # frames
DEADLY, WRONG, SLOW_TO_JOIN = b"!?~"  # kills the worker, is refused, delays the joining
JOIN_S = 1.5

log = logging.getLogger("letters")


class Letters:
    """A text. In the result, each byte comes 16 times, for the 4 x 4 pixels of its frame."""

    kind = "video"
    height, width = 1, 1
    suffix = ".txt"
    mimetype = "text/plain"
    damage = None

    def __init__(self, path):
        self._letters = path.read_bytes()
        self.frames = len(self._letters)
        if not self.frames:
            raise UnreadableImage("Text must have a letter. Received: none.")

    def segments(self):
        return plan_segments(self.frames, SEGMENT)

    def render(self, segment, upscale, target, report):
        log.info("Rendering")
        with target.open("wb") as file:
            for done, letter in enumerate(self._letters[segment.start : segment.stop], start=1):
                file.write(upscale(picture_of(letter)).pixels[..., 0].tobytes())
                report(done)

    def join(self, parts, target, _check_cancelled=None):
        log.info("Joining")
        if SLOW_TO_JOIN in self._letters:
            time.sleep(JOIN_S)
        target.write_bytes(b"".join(part.read_bytes() for part in parts))


def picture_of(letter):
    """Return the frame of a letter, unless the letter causes trouble."""
    if letter == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    if letter == WRONG:
        raise UnreadableImage("Letter must be none of '?'. Received: '?'")
    return Picture(np.full((1, 1, 3), letter, np.uint8))


def open_letters(path, _limits, _options):
    return Letters(Path(path))


def result_of(text):
    """Return the result of a text."""
    return bytes(letter for letter in text for _ in range(16))
