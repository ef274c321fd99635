"""A medium whose results are known, and ZIP archives of pictures, for tests of jobs."""

import io
import zipfile

import numpy as np

from core.errors import UnreadableImage
from core.images import Limits
from core.media.medium import ClipLimits, plan_segments
from core.options import OutputOptions
from core.picture import Picture
from tests.support.picture_files import encoded
from tests.support.stand_ins import noise

LIMITS = ClipLimits(frame=Limits(max_pixels=10_000, max_side=1000, max_frames=100), max_seconds=60)
SEGMENT_FRAMES = 3


class Numbers:
    """A medium with one byte for each frame: the grey of its 8 x 8 pixels."""

    kind = "video"
    height = width = 8
    suffix = ".bin"
    mimetype = "application/octet-stream"
    damage = None

    def __init__(self, path):
        self._levels = path.read_bytes()
        if not self._levels or self._levels.startswith(b"bad"):
            raise UnreadableImage("Video must be whole. Received: a bad one.")
        self.frames = len(self._levels)

    def segments(self):
        return plan_segments(self.frames, SEGMENT_FRAMES)

    def judged_frames(self, _segment=None):
        for level in self._levels[:3]:
            yield Picture(np.full((8, 8, 3), level, np.uint8))

    def render(self, segment, upscale, target, report):
        with target.open("wb") as file:
            for done, level in enumerate(self._levels[segment.start : segment.stop], start=1):
                sr = upscale(Picture(np.full((8, 8, 3), level, np.uint8)))
                file.write(sr.pixels.tobytes())
                report(done)

    def join(self, parts, target, check_cancelled=None):
        check_cancelled()
        target.write_bytes(b"".join(part.read_bytes() for part in parts))


def open_numbers(path, _limits: ClipLimits, _options: OutputOptions):
    return Numbers(path)


def expected(levels, network):
    """Return the result of a file of `Numbers`, computed in one go."""
    return b"".join(network(np.full((8, 8, 3), level, np.uint8)).tobytes() for level in levels)


def archive(files):
    """Return the bytes of a ZIP archive, from a mapping of names to bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


def pictures(count, height=20, width=30):
    """Return the bytes of a ZIP archive of different pictures."""
    return archive(
        {f"photos/{n:03d}.png": encoded(noise(height, width, seed=n)) for n in range(count)}
    )
