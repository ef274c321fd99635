"""Decoding pictures of strangers where they can do no harm: in processes of their own.

`core.images` says what is decoded, and how; here is where, and what it may take.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Protocol

from core.errors import TooMuchMemory, UnreadableImage
from core.images import Limits, decode_image, read_header
from core.machine import resident_memory
from core.picture import Header, Picture
from core.workers import Task, WorkerDied, Workers

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

MEGABYTE = 1_000_000


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


class DecoderHere:
    """Decodes in this process: nothing to start, and nothing that holds a hostile file back."""

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        return read_header(file, limits)

    def decode(self, file: IO[bytes], limits: Limits) -> Picture:
        return decode_image(file, limits)

    def start(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Decoders:
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
        self._workers = Workers(count, memory_bytes)
        self._header = partial(
            Task, read_header, processor_s=HEADER_PROCESSOR_S, wall_s=HEADER_WALL_S
        )
        self._picture = partial(Task, decode, processor_s=PROCESSOR_SHARE * wall_s, wall_s=wall_s)

    def start(self) -> int:
        task = Task(_measure, (), processor_s=HEADER_PROCESSOR_S, wall_s=HEADER_WALL_S)
        return sum(self._workers.start(task, io.BytesIO()))

    def read_header(self, file: IO[bytes], limits: Limits) -> Header:
        header: Header = self._do(self._header((limits,)), file)
        return header

    def decode(self, file: IO[bytes], limits: Limits) -> Picture:
        picture: Picture = self._do(self._picture((limits,)), file)
        return picture

    def close(self) -> None:
        self._workers.close()

    def _do(self, task: Task, file: IO[bytes]) -> Any:
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
