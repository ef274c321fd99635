"""Pictures and clips that are read in confined processes, where hostile files do no harm.

`core.images`, `core.video` and `core.animation` decode. This module decides which resources
that may take, checks what comes back, and says what is wrong with a file that ends its process.
"""

import io
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import IO, Any, Protocol, TypeVar

from core.errors import TooMuchMemory, UnreadableClip, UnreadableImage
from core.files import MEGABYTE
from core.images import Limits, decode_image, decode_rows, read_header
from core.images.header import HIGHEST_QUALITY
from core.media.medium import Frame
from core.picture import Header, Picture, PictureRows, repeat_grey
from core.runtime.machine import resident_memory
from core.sandbox.messages import ExpectedAnswer
from core.sandbox.pool import ATTEMPTS, ReadRequest, SandboxPool, SandboxTask, stream_items
from core.sandbox.process import WorkerDied

HEADER_PROCESSOR_S = 1.0
"""Processor time for a header: a thousand times what it takes."""

HEADER_WALL_S = 10.0
"""Time for a header, however busy the machine is."""

PROCESSOR_SHARE = 0.5
"""Processor time of a picture, as a share of its time: an interruption is cheaper than a kill."""

BASE_BYTES = 256_000_000
"""Memory for any picture: thread stacks, tables, and what is not freed."""

PIXEL_BYTES = 64
"""Memory for a pixel while it is decoded, at most."""

PLAN_SHARE = 2
"""Memory for a picture as a multiple of what its header announces, so that no usual file fails."""

TIMED_PIXELS = 16_000_000
"""Number of pixels up to which the time for a picture is the same. Larger ones have more time."""

SAMPLES_BYTES = 8
"""Size of a decoded pixel, at most: three colours and alpha of 16 bits."""

METADATA_BYTES = 64_000_000
"""Size of a picture's colour profile, EXIF and XMP together, at most."""

MAX_ACCEPTED_DPI = 1_000_000
"""Resolution that no decoder exceeds."""

CLIP_BASE_BYTES = 256_000_000
"""Memory for any clip: tables of its packets, and what waits to be written."""

CLIP_PIXEL_BYTES = 128
"""Memory for a pixel of a frame, at most: decoders keep up to 16 frames as references."""

CLIP_WALL_S = 30.0
"""Time for the header, for each frame, and for the next packets of a clip."""

log = logging.getLogger("enhancer.clips")

Item = TypeVar("Item")


class Decoder(Protocol):
    """Reads headers and decodes pictures; raises what `core.images` raises."""

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        """Read a header as `core.images.read_header` does."""

    def decode(self, file: IO[bytes], limits: Limits, header: Header | None = None) -> Picture:
        """Decode a picture as `core.images.decode_image` does.

        Raises:
            UnreadableImage: also if `header` is given and the picture has another size, more
                channels or more bits.
        """

    def start(self) -> int:
        """Get ready to decode; return the memory that this takes without pictures, in bytes."""

    def close(self) -> None:
        """End what `start` or the first picture began."""


class InProcessDecoder:
    """Decodes in this process, which a hostile file can then harm."""

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        """Read a header in this process."""
        return read_header(file, limits)

    def decode(self, file: IO[bytes], limits: Limits, header: Header | None = None) -> Picture:
        """Decode a picture in this process."""
        picture = decode_image(file, limits)
        check_header_kept(picture, header)
        return picture

    def start(self) -> int:
        """Do nothing; return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""


class SandboxedDecoder:
    """Decodes in a few confined processes; a hostile file costs one of them and is refused.

    In addition to what `core.images` raises, both methods raise UnreadableImage for a file that
    takes too long or ends its processes, and TooMuchMemory for one that takes too much memory.

    Args:
        count: number of processes, at least 1.
        memory_bytes: memory that each may take beyond what it starts with, see `decoding_bytes`.
        wall_s: time in which a picture of up to `TIMED_PIXELS` must be decoded, s.
        read_header: reads headers; a function that processes can import.
        decode: decodes pictures; likewise.
    """

    def __init__(
        self,
        count: int,
        *,
        memory_bytes: int,
        wall_s: float,
        read_header: Callable[[IO[bytes], Limits], Header] = read_header,
        decode: Callable[[IO[bytes], Limits], Picture | PictureRows] = decode_rows,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._pool = SandboxPool(count, memory_bytes)
        self._read_header, self._decode, self._wall_s = read_header, decode, wall_s

    def start(self) -> int:
        """Start all processes; return the memory that they have now, in bytes."""
        task = _header_task(_measure, (), ExpectedAnswer(int, max_bytes=0))
        return sum(self._pool.start(task, io.BytesIO()))

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        """Read a header in a confined process."""
        expected = ExpectedAnswer(Header, max_bytes=0, check=partial(check_header, limits=limits))
        header: Header = self._run(_header_task(self._read_header, (limits,), expected), file)
        return header

    def decode(self, file: IO[bytes], limits: Limits, header: Header | None = None) -> Picture:
        """Decode a picture in a confined process, whose rows are converted while they are sent."""
        pixels = header.height * header.width if header else limits.max_pixels
        most = self._memory_bytes
        memory = min(most, BASE_BYTES + PLAN_SHARE * header.decoder_bytes) if header else most
        max_bytes = min(memory, SAMPLES_BYTES * pixels + METADATA_BYTES)
        check = partial(check_picture, limits=limits, header=header)
        wall_s = self._wall_s * max(1, pixels / TIMED_PIXELS)
        task = SandboxTask(
            self._decode,
            (limits,),
            ExpectedAnswer(Picture, max_bytes, check),
            processor_s=PROCESSOR_SHARE * wall_s,
            wall_s=wall_s,
            memory_bytes=memory,
        )
        picture: Picture = self._run(task, file)
        return replace(picture, pixels=repeat_grey(picture.pixels))

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def _run(self, task: SandboxTask, file: IO[bytes]) -> Any:
        """Return the result of a task; the file is at its beginning again afterwards."""
        try:
            return self._pool.run(task, file)
        except TimeoutError as error:
            raise UnreadableImage(
                f"Image must be decoded within {task.wall_s:g} s, of which "
                f"{task.processor_s:g} s of computing. Received: one that takes longer."
            ) from error
        except MemoryError as error:
            raise TooMuchMemory(
                f"Image must need at most {(task.memory_bytes or 0) // MEGABYTE} MB of memory "
                "to be decoded. Received: one that needs more."
            ) from error
        except WorkerDied as error:
            raise UnreadableImage(
                "Image must be a file that its decoder survives. "
                f"Received: one that ended it twice ({error})."
            ) from error
        finally:
            file.seek(0)


def decoding_bytes(max_pixels: int) -> int:
    """Return how much memory is enough to decode any picture of so many pixels."""
    return BASE_BYTES + PIXEL_BYTES * max_pixels


def check_header(header: Header, limits: Limits) -> None:
    """Raise ValueError or ImageTooLarge for a header that no decoder returns."""
    limits.check(header.height, header.width)
    if min(header.height, header.width) < 1 or header.frames < 0:
        raise ValueError(f"a header of {header}")
    if header.channels not in (1, 2, 3, 4) or header.bits not in (8, 16):
        raise ValueError(f"a header of {header}")
    if not 0 <= header.decoder_bytes <= decoding_bytes(header.height * header.width):
        raise ValueError(f"a header of {header}")


def check_picture(picture: Picture, limits: Limits, header: Header | None = None) -> None:
    """Raise ValueError or SuperResolutionError for a picture that no decoder returns."""
    pixels, alpha = picture.pixels, picture.alpha
    channels = (1, 3) if picture.is_grey else (3,)
    if pixels.ndim != 3 or pixels.shape[2] not in channels or not pixels.size:
        raise ValueError(f"pixels of shape {pixels.shape}")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise ValueError(f"alpha of shape {alpha.shape}, {alpha.dtype}")
    dpi = picture.extras.dpi
    if dpi is not None and not all(0 < value <= MAX_ACCEPTED_DPI for value in dpi):
        raise ValueError(f"a resolution of {dpi} dpi")
    quality = picture.extras.jpeg_quality
    if quality is not None and not 1 <= quality <= HIGHEST_QUALITY:
        raise ValueError(f"a JPEG quality of {quality}")
    limits.check(picture.height, picture.width)
    check_header_kept(picture, header)


def check_header_kept(picture: Picture, header: Header | None) -> None:
    """Raise UnreadableImage if a picture takes more memory than its header announces.

    Args:
        picture: the decoded picture.
        header: what was read before; None if nothing was.
    """
    if header is None:
        return
    is_same_size = (picture.height, picture.width) == (header.height, header.width)
    if not is_same_size or picture.bits > header.bits or picture.channels > header.channels:
        raise UnreadableImage(
            f"Image must be as its header announces: {header.width} x {header.height} pixels, "
            f"{header.channels} channels of {header.bits} bits. Received: {picture.width} x "
            f"{picture.height} pixels, {picture.channels} channels of {picture.bits} bits."
        )


def check_frame(frame: Frame, max_pixels: int) -> None:
    """Raise ValueError or ImageTooLarge for a frame that no decoder returns."""
    check_picture(frame.picture, Limits(max_pixels, max_side=max_pixels))


def _header_task(
    function: Callable[..., Any], arguments: tuple[Any, ...], expected: ExpectedAnswer
) -> SandboxTask:
    return SandboxTask(
        function, arguments, expected, HEADER_PROCESSOR_S, HEADER_WALL_S, memory_bytes=BASE_BYTES
    )


def _measure(_file: IO[bytes]) -> int:
    return resident_memory()


def read(
    function: Callable[..., Iterator[Item]],
    arguments: tuple[Any, ...],
    max_pixels: int,
    item_type: type[Item],
    check: Callable[[Item], None] | None = None,
    max_bytes: int | None = None,
) -> Generator[Item]:
    """Yield what a function yields about a clip, in a process that ends with this generator.

    Args:
        function: yields the items; must be importable.
        arguments: such as the path of the clip.
        max_pixels: largest number of pixels of a frame.
        item_type: type of the items.
        check: raises ValueError or SuperResolutionError to refuse an item; None accepts all.
        max_bytes: largest size of an item's buffers; None for the memory of the process.
    """
    memory_bytes = reading_bytes(max_pixels)
    max_bytes = memory_bytes if max_bytes is None else min(max_bytes, memory_bytes)
    expected = ExpectedAnswer(item_type, max_bytes, check)
    return stream_items(ReadRequest(function, arguments, expected, memory_bytes, CLIP_WALL_S))


def read_one(
    function: Callable[..., Iterator[Item]],
    arguments: tuple[Any, ...],
    max_pixels: int,
    item_type: type[Item],
    check: Callable[[Item], None] | None = None,
    max_bytes: int | None = None,
) -> Item:
    """Return the first item of `read`; try again if the process dies, perhaps for another reason.

    Raises:
        UnreadableClip: if the file ends its processes or takes too long.
        TooMuchMemory: if it takes more memory than a clip may.
    """

    def first() -> Item:
        with closing(read(function, arguments, max_pixels, item_type, check, max_bytes)) as items:
            for item in items:
                return item
        raise WorkerDied("it described nothing")

    with trouble_reported(max_pixels):
        for _ in range(ATTEMPTS - 1):
            try:
                return first()
            except WorkerDied as error:
                log.warning("The process that read a clip's header is replaced: %s", error)
        return first()


def read_numbered(
    function: Callable[..., Iterator[Frame]],
    arguments: tuple[Any, ...],
    numbers: range,
    max_pixels: int,
    number_of: Callable[[Frame, int], int],
) -> Generator[Frame]:
    """Yield frames of a clip; leave out one that ends the process twice, and all after it.

    Args:
        function: yields the frames; must be importable. It is called with `arguments`, the
            number of the first frame, and the number after that of the last frame.
        arguments: such as the path of the clip.
        numbers: numbers of the frames to read.
        max_pixels: largest number of pixels of a frame.
        number_of: returns the number of a frame, given the least number that it can have.

    Raises:
        TooMuchMemory: if a frame takes too much memory.
    """
    first, stop, failures = numbers.start, numbers.stop, 0
    check = partial(check_frame, max_pixels=max_pixels)
    with memory_reported(max_pixels):
        while first < stop and failures < ATTEMPTS:
            items = read(function, (*arguments, first, stop), max_pixels, Frame, check)
            try:
                with closing(items) as frames:
                    for frame in islice(frames, stop - first):
                        first, failures = number_of(frame, first) + 1, 0
                        yield frame
                return
            except (WorkerDied, TimeoutError) as error:
                failures += 1
                log.warning("The process that decoded a clip is gone: %s", error or "no answer")


def reading_bytes(max_pixels: int) -> int:
    """Return how much memory is enough to read any clip whose frames have so many pixels."""
    return CLIP_BASE_BYTES + CLIP_PIXEL_BYTES * max_pixels


@contextmanager
def trouble_reported(max_pixels: int) -> Iterator[None]:
    """Report the end of a process in the block as an error of the clip."""
    try:
        with memory_reported(max_pixels):
            yield
    except TimeoutError as error:
        raise UnreadableClip(
            f"Clip must be read within {CLIP_WALL_S:g} s. Received: one that takes longer."
        ) from error
    except WorkerDied as error:
        raise UnreadableClip(
            f"Clip must be a file that its decoder survives. Received: one that ended it ({error})."
        ) from error


@contextmanager
def memory_reported(max_pixels: int) -> Iterator[None]:
    """Report a lack of memory in the block as TooMuchMemory."""
    try:
        yield
    except MemoryError as error:
        raise TooMuchMemory(
            f"Clip must need at most {reading_bytes(max_pixels) // MEGABYTE} MB of memory "
            "to be read. Received: one that needs more."
        ) from error
