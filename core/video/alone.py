"""Videos of frames that come from no video: of an animation, or out of a pipe."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from core.clips import Frame
from core.files import whole_file
from core.media import Report
from core.video.encoding import Encoding
from core.video.joining import Output, join_parts
from core.video.parts import write_part


def encode_alone(
    frames: Iterable[Frame], target: Path, encoding: Encoding, output: Output, report: Report
) -> None:
    """Write SR frames as a video without sound.

    Args:
        frames: each later than the last, in units of `output.time_base`; alpha is laid
            over white, as in JPEG.
        target: the file, there as a whole or not at all.
        encoding: how.
        output: what kind of file.
        report: told after each frame how many are done.

    Raises:
        ClipTooLarge, UnsupportedClip: if the encoder does not take them.
        UnreadableClip: if there are none.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        write_part(part, frames, encoding, report)
        join_alone([part], target, output)
    finally:
        part.unlink(missing_ok=True)


def join_alone(parts: Sequence[Path], target: Path, output: Output) -> None:
    """Write the video that the files of `write_part` make, in order.

    Raises:
        UnreadableClip: if there is no frame in any.
    """
    with whole_file(target) as unfinished:
        for _ in join_parts(parts, unfinished, output):
            pass
