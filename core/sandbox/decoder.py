"""Decoding pictures of strangers where they can do no harm: in processes of their own.

`core.images` says what is decoded, and how; here is where, and what it may take.

Clips of strangers are read where they can do no harm: in processes of their own.

What these do is told in `core.video` and `core.animation`; here is what they may take, and
what becomes of a file that ends them.
"""

import io
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import IO, Any, Protocol, TypeVar

from core.errors import TooMuchMemory, UnreadableClip, UnreadableImage
from core.files import MEGABYTE
from core.images import Limits, decode_image, read_header
from core.media.medium import Frame
from core.picture import Header, Picture
from core.runtime.machine import resident_memory
from core.sandbox.pool import ATTEMPTS, SandboxPool, SandboxTask, WorkerDied
from core.sandbox.stream import ReadRequest, read_apart

HEADER_PROCESSOR_S = 1.0
"""Of computing, for a header: a thousand times what it takes."""

HEADER_WALL_S = 10.0
"""For a header, however busy the machine is."""

PROCESSOR_SHARE = 0.5
"""Of the time for a picture, to be computed in: to interrupt it is cheaper than to kill it."""

BASE_BYTES = 256_000_000
"""That decoders may take for any picture: stacks of their threads, tables, what is not freed."""

PIXEL_BYTES = 64
"""Of a pixel while it is decoded, at most."""


class Decoder(Protocol):
    """What reads headers and decodes pictures; raises what `core.images` raises."""

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        """As `core.images.read_header`."""

    def decode(self, file: IO[bytes], limits: Limits) -> Picture:
        """As `core.images.decode_image`."""

    def start(self) -> int:
        """Be ready to decode; bytes of memory that this takes, pictures not counted."""

    def close(self) -> None:
        """End what was begun."""


class InProcessDecoder:
    """Decodes in this process: nothing to start, and nothing that holds a hostile file back."""

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        return read_header(file, limits)

    def decode(self, file: IO[bytes], limits: Limits) -> Picture:
        return decode_image(file, limits)

    def start(self) -> int:
        return 0

    def close(self) -> None:
        pass


class SandboxedDecoder:
    """Decodes in a few processes; a hostile file costs one of them and is told so.

    Beside what `core.images` raises, both methods raise UnreadableImage for a file that
    takes too long or ends its processes, and TooMuchMemory for one that takes too much.

    Args:
        count: processes, at least 1.
        memory_bytes: that each may take beyond what it begins with, see `decoding_bytes`.
        wall_s: seconds in which a picture must be decoded.
        read_header: what reads headers; a function that processes can import.
        decode: what decodes; likewise.
    """

    def __init__(
        self,
        count: int,
        *,
        memory_bytes: int,
        wall_s: float,
        read_header: Callable[[IO[bytes], Limits], Header] = read_header,
        decode: Callable[[IO[bytes], Limits], Picture] = decode_image,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._workers = SandboxPool(count, memory_bytes)
        self._header = partial(
            SandboxTask, read_header, processor_s=HEADER_PROCESSOR_S, wall_s=HEADER_WALL_S
        )
        self._picture = partial(
            SandboxTask, decode, processor_s=PROCESSOR_SHARE * wall_s, wall_s=wall_s
        )

    def start(self) -> int:
        task = SandboxTask(_measure, (), processor_s=HEADER_PROCESSOR_S, wall_s=HEADER_WALL_S)
        return sum(self._workers.start(task, io.BytesIO()))

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        header: Header = self._do(self._header((limits,)), file)
        return header

    def decode(self, file: IO[bytes], limits: Limits) -> Picture:
        picture: Picture = self._do(self._picture((limits,)), file)
        return picture

    def close(self) -> None:
        self._workers.close()

    def _do(self, task: SandboxTask, file: IO[bytes]) -> Any:
        """What a task makes of a file; the file is at its beginning again afterwards."""
        try:
            return self._workers.do(task, file)
        except TimeoutError as error:
            raise UnreadableImage(
                f"Image must be decoded within {task.wall_s:g} s, of which "
                f"{task.processor_s:g} s of computing. Received: one that takes longer."
            ) from error
        except MemoryError as error:
            raise TooMuchMemory(
                f"Image must need at most {self._memory_bytes // MEGABYTE} MB of memory "
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
    """Memory that is enough to decode any picture of so many pixels."""
    return BASE_BYTES + PIXEL_BYTES * max_pixels


def _measure(_file: IO[bytes]) -> int:
    return resident_memory()


CLIP_BASE_BYTES = 256_000_000
"""That reading any clip may take: tables of its packets, what of it waits to be written."""

CLIP_PIXEL_BYTES = 128
"""Of a frame's pixel, at most: decoders keep up to 16 frames that others refer to."""


WALL_S = 30.0
"""In which the header, each frame, or the next packets of a file must be there."""

log = logging.getLogger("enhancer.clips")

Item = TypeVar("Item")


def read(
    function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], max_pixels: int
) -> Generator[Any]:
    """What a function makes of a clip, item by item, in a process that ends with this generator.

    Args:
        function: yields the items; known to the process by its name.
        arguments: such as the path of the clip.
        max_pixels: of a frame.
    """
    return read_apart(ReadRequest(function, arguments, reading_bytes(max_pixels), WALL_S))


def read_one(
    function: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], max_pixels: int
) -> Item:
    """The first item; tried again if the process dies: it may have been something else.

    Raises:
        UnreadableClip: if the file ends its processes or takes too long.
        TooMuchMemory: if it takes more than a clip may.
    """
    with trouble_reported(max_pixels):
        for _ in range(ATTEMPTS - 1):
            try:
                return _first(function, arguments, max_pixels)
            except WorkerDied as error:
                log.warning("The process that read a clip's header is replaced: %s", error)
        return _first(function, arguments, max_pixels)


def _first(
    function: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], max_pixels: int
) -> Item:
    with closing(read(function, arguments, max_pixels)) as items:
        first: Item = next(items)
        return first


def read_numbered(
    function: Callable[..., Iterator[Frame]],
    arguments: tuple[Any, ...],
    numbers: range,
    max_pixels: int,
    number_of: Callable[[Frame, int], int],
) -> Generator[Frame]:
    """Frames of a clip; one that ends the process twice is left out, with those after it.

    Args:
        function: called with `arguments` and the numbers of the first frame and of the
            first one after the last, yields them; known to the process by its name.
        arguments: such as the path of the clip.
        numbers: of the frames that are wanted.
        max_pixels: of a frame.
        number_of: a frame, and the least number that it can have -> its number.

    Raises:
        TooMuchMemory: if a frame takes too much.
    """
    first, stop, failures = numbers.start, numbers.stop, 0
    with memory_reported(max_pixels):
        while first < stop and failures < ATTEMPTS:
            try:
                with closing(read(function, (*arguments, first, stop), max_pixels)) as frames:
                    for frame in frames:
                        first, failures = number_of(frame, first) + 1, 0
                        yield frame
                return
            except (WorkerDied, TimeoutError) as error:
                failures += 1
                log.warning("The process that decoded a clip is gone: %s", error or "no answer")


def reading_bytes(max_pixels: int) -> int:
    """Memory that is enough to read any clip whose frames have so many pixels."""
    return CLIP_BASE_BYTES + CLIP_PIXEL_BYTES * max_pixels


@contextmanager
def trouble_reported(max_pixels: int) -> Iterator[None]:
    """What ends a process within is told as an error of the clip's."""
    try:
        with memory_reported(max_pixels):
            yield
    except TimeoutError as error:
        raise UnreadableClip(
            f"Clip must be read within {WALL_S:g} s. Received: one that takes longer."
        ) from error
    except WorkerDied as error:
        raise UnreadableClip(
            f"Clip must be a file that its decoder survives. Received: one that ended it ({error})."
        ) from error


@contextmanager
def memory_reported(max_pixels: int) -> Iterator[None]:
    """The end of its memory is told as the clip's."""
    try:
        yield
    except MemoryError as error:
        raise TooMuchMemory(
            f"Clip must need at most {reading_bytes(max_pixels) // MEGABYTE} MB of memory "
            "to be read. Received: one that needs more."
        ) from error
