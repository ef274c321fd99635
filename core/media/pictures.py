"""Media of pictures: a single picture, or a ZIP archive in which each picture is a segment."""

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from core.errors import (
    ImageTooLarge,
    InvalidOptions,
    TooMuchMemory,
    UnreadableArchive,
    UnreadableImage,
    UnsupportedImage,
)
from core.images import Limits
from core.media.archive import (
    ArchiveEntry,
    ArchiveLimits,
    is_archive,
    list_entries,
    open_archive,
    unpack,
)
from core.media.medium import (
    PICTURES,
    CheckCancelled,
    ClipLimits,
    Medium,
    PictureUpscaler,
    Report,
    Segment,
    UpscalePicture,
    never_cancelled,
    plan_segments,
)
from core.media.render import PictureEncoder
from core.model.grid import output_grid
from core.model.strips import picture_strips
from core.options import PICTURE_FORMATS, OutputOptions, check_format, check_supported
from core.picture import Header, Picture
from core.sandbox.decoder import Decoder

REPORT = "report.json"
"""Name of the file in a result that lists the files left out, and why. It exists only if there are
any."""

MAX_FILES = 1000
"""Number of files in an archive at most, where the limits give no number of frames."""

FILE_BYTES_PER_PIXEL = 16
"""Bytes of a file per pixel at most: four samples of 16 bits, and as much again."""

FILE_BYTES, MAX_FILE_BYTES = 1_000_000, 256_000_000
"""Bytes of a file at most beside its pixels, and of any file."""

REFUSALS = (UnreadableImage, UnsupportedImage, ImageTooLarge, InvalidOptions, TooMuchMemory)
"""Errors that leave one picture out of the result and do not concern the others."""

DONE, REFUSED = b"+", b"-"
"""First byte of a segment's file. After it comes the SR picture, or the text of the error."""

SUPPORTED = ("profile", "metadata")
"""Names of the options that pictures have, beside the universal ones."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of all files in a result, so that the result does not depend on when it was made."""

READABLE = 0o100644 << 16
"""External attributes of a plain file that everybody may read, in a ZIP archive."""

UNIX = 3
"""Code of the system whose attributes these are, in a ZIP archive."""


def open_pictures(
    path: Path, limits: ClipLimits, options: OutputOptions, *, decoder: Decoder, scale: int
) -> Medium:
    """Open a picture, or the pictures in a ZIP archive.

    Args:
        path: path of the file.
        limits: limits on each picture. There may be as many pictures as frames.
        options: options of the SR pictures.
        decoder: decoder of headers and pictures.
        scale: factor of one pass of the network.

    Raises:
        UnreadableArchive: if the archive is damaged, not safe, or holds no picture.
        UnreadableImage, UnsupportedImage, ImageTooLarge: if the file is no archive, and no
            picture that can be decoded.
        InvalidOptions: if pictures do not have one of the options, or not a size.
    """
    check_format(options.picture_format, PICTURE_FORMATS, "pictures")
    check_supported(options, SUPPORTED, "pictures")
    rendering = PictureRendering(limits.of_pictures, options, scale)
    if is_archive(path):
        return PictureArchive(path, rendering, decoder)
    return PictureFile(path, rendering, decoder)


class PictureRendering(NamedTuple):
    """What all pictures of a medium share.

    Attributes:
        limits: limits on a picture.
        options: options of the SR pictures.
        scale: factor of one pass of the network.
    """

    limits: Limits
    options: OutputOptions
    scale: int

    def check_output(self, header: Header) -> None:
        """Raise InvalidOptions or ImageTooLarge if a picture cannot become of the wanted size."""
        grid = output_grid(self.options, header.height, header.width, self.scale)
        self.limits.check_output(grid.height, grid.width, (header.height, header.width))

    def decode(
        self, decoder: Decoder, file: IO[bytes], header: Header, upscale: UpscalePicture
    ) -> Picture:
        """Decode a picture, once its memory is reserved where `upscale` can do that."""
        if isinstance(upscale, PictureUpscaler):
            upscale.reserve(header)
        return decoder.decode(file, self.limits, header)

    def write(self, lr: Picture, upscale: UpscalePicture, output: IO[bytes]) -> None:
        """Upscale a picture and write its file."""
        if isinstance(upscale, PictureUpscaler):
            upscale.write(lr, output)
            return
        sr = upscale(lr)
        grid = output_grid(self.options, lr.height, lr.width, self.scale)
        encoder = PictureEncoder(grid.crop(lr), self.options, grid, facts=sr.restoration)
        output.writelines(encoder.stream(picture_strips(sr)))


class PictureFile:
    """A single picture as a `core.media.medium.Medium`, which describes most attributes.

    Attributes:
        header: header of the picture.

    Args:
        path: path of the file.
        rendering: limits and options of the picture.
        decoder: decoder of the picture.
    """

    kind = PICTURES
    frames = 1

    def __init__(self, path: Path, rendering: PictureRendering, decoder: Decoder) -> None:
        self._path, self._rendering, self._decoder = path, rendering, decoder
        options = rendering.options
        with path.open("rb") as file:
            header = self.header = decoder.read_header(file, rendering.limits)
        rendering.check_output(header)
        self.height, self.width = header.height, header.width
        self.headers: Mapping[Header, int] = {header: self.frames}
        self.damage = describe_other_frames(header.frames - 1)
        self.suffix = f".{options.picture_format}"
        self.mimetype = f"image/{options.picture_format}"

    def segments(self) -> list[Segment]:
        """Return one segment, which is the picture."""
        return plan_segments(self.frames, 1)

    def judged_frames(self) -> Iterator[Picture]:
        """Yield nothing: the picture is judged when it is decoded."""
        return iter(())

    def render(
        self, _segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Write the SR picture as it will be in the result."""
        with self._path.open("rb") as file:
            lr = self._rendering.decode(self._decoder, file, self.header, upscale)
        with target.open("wb") as output:
            self._rendering.write(lr, upscale, output)
        report(1)

    def join(
        self,
        parts: Sequence[Path],
        target: Path,
        check_cancelled: CheckCancelled = never_cancelled,  # noqa: ARG002
    ) -> None:
        """Copy the SR picture to the result."""
        shutil.copyfile(parts[0], target)


class PictureArchive:
    """The pictures of a ZIP archive as a `core.media.medium.Medium`.

    The result is an archive, too. Folders keep their names, suffixes change. A file that is
    damaged or no picture is left out and listed in `report.json`, so that one bad file does
    not spoil a long job.

    Args:
        path: path of the archive.
        rendering: limits and options of each picture, and the limit on their number.
        decoder: decoder of the pictures.
    """

    kind = PICTURES
    suffix = ".zip"
    mimetype = "application/zip"

    def __init__(self, path: Path, rendering: PictureRendering, decoder: Decoder) -> None:
        self._path, self._rendering, self._decoder = path, rendering, decoder
        limits = rendering.limits
        self._archive_limits = ArchiveLimits(
            files=limits.max_frames or MAX_FILES,
            file_bytes=min(FILE_BYTES + FILE_BYTES_PER_PIXEL * limits.max_pixels, MAX_FILE_BYTES),
        )
        self._entries: list[ArchiveEntry] = []
        self._headers: list[Header] = []
        self._refused: dict[str, str] = {}
        self._read_headers()
        headers = self._headers
        self.height = max(header.height for header in headers)
        self.width = max(header.width for header in headers)
        self.frames = len(headers)
        self.headers: Mapping[Header, int] = Counter(headers)
        self.damage = describe_refused(len(self._refused))

    def _read_headers(self) -> None:
        """Read the headers of all pictures; list the files that are none as refused."""
        with open_archive(self._path, self._archive_limits) as archive:
            for entry in list_entries(archive, self._archive_limits):
                try:
                    self._headers.append(self._read_header(archive, entry))
                    self._entries.append(entry)
                except REFUSALS as error:
                    self._refused[entry.name] = str(error)
        if not self._headers:
            first = next(iter(self._refused.values()), "No file.")
            raise UnreadableArchive(
                f"Archive must hold at least one picture. Received: {len(self._refused)} "
                f"other files. Of the first: {first}"
            )

    def _read_header(self, archive: zipfile.ZipFile, entry: ArchiveEntry) -> Header:
        with unpack(archive, entry, self._archive_limits) as file:
            header = self._decoder.read_header(file, self._rendering.limits)
        self._rendering.check_output(header)
        return header

    def segments(self) -> list[Segment]:
        """Return one segment for each picture."""
        return plan_segments(self.frames, 1)

    def judged_frames(self) -> Iterator[Picture]:
        """Yield nothing: each picture is judged when it is decoded."""
        return iter(())

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Write the SR picture of a segment, or why there is none."""
        try:
            lr = self._decode(segment.index, upscale)
            with target.open("wb") as output:
                output.write(DONE)
                self._rendering.write(lr, upscale, output)
        except REFUSALS as error:
            target.write_bytes(REFUSED + str(error).encode())
        report(1)

    def _decode(self, index: int, upscale: UpscalePicture) -> Picture:
        entry, header, limits = self._entries[index], self._headers[index], self._archive_limits
        with open_archive(self._path, limits) as archive, unpack(archive, entry, limits) as file:
            return self._rendering.decode(self._decoder, file, header, upscale)

    def join(
        self, parts: Sequence[Path], target: Path, check_cancelled: CheckCancelled = never_cancelled
    ) -> None:
        """Write the archive of the SR pictures, with a report of the files left out."""
        refused = dict(self._refused)
        suffix = f".{self._rendering.options.picture_format}"
        names = result_names([entry.name for entry in self._entries], suffix)
        with zipfile.ZipFile(target, "w") as archive:
            for entry, name, path in zip(self._entries, names, parts, strict=True):
                check_cancelled()
                with path.open("rb") as part:
                    if part.read(1) == DONE:
                        add_file(archive, name, part)
                    else:
                        refused[entry.name] = part.read().decode()
            if refused:
                archive.writestr(file_info(REPORT), report_text(refused))


def result_names(names: Sequence[str], suffix: str) -> list[str]:
    """Return the names of results. Where two would be equal, both keep their old suffixes.

    >>> result_names(["a/1.jpg", "a/2.gif", "a/2.jpg"], ".png")
    ['a/1.png', 'a/2.gif.png', 'a/2.jpg.png']
    """
    short_names = [str(PurePosixPath(name).with_suffix(suffix)) for name in names]
    # Some file systems do not distinguish names that differ in case only.
    occurrences = Counter(name.casefold() for name in short_names)
    taken = {name for name, times in occurrences.items() if times == 1}
    results = []
    for name, short in zip(names, short_names, strict=True):
        is_unique = occurrences[short.casefold()] == 1
        result = short if is_unique else free_name(name, suffix, taken)
        taken.add(result.casefold())
        results.append(result)
    return results


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """Return a name with a suffix, and a number if needed, that is not taken in any case."""
    candidates = (f"{name}{number}{suffix}" for number in chain([""], count(2)))
    return next(candidate for candidate in candidates if candidate.casefold() not in taken)


def file_info(name: str) -> zipfile.ZipInfo:
    """Return the entry of a file, which does not depend on when and where it is written."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = READABLE
    info.create_system = UNIX
    return info


def add_file(archive: zipfile.ZipFile, name: str, content: IO[bytes]) -> None:
    """Store the rest of a file without compression: pictures are compressed already."""
    with archive.open(file_info(name), "w", force_zip64=True) as output:
        shutil.copyfileobj(content, output)


def report_text(refused: dict[str, str]) -> str:
    """Return the report as JSON: names of the files left out, and why."""
    left_out = [{"file": name, "reason": reason} for name, reason in refused.items()]
    return json.dumps({"left_out": left_out}, indent=2, ensure_ascii=False) + "\n"


def describe_other_frames(frames: int) -> str | None:
    """Return a sentence about frames or pages after the first; None if there are none."""
    if frames < 1:
        return None
    return f"The result is of the first frame; {frames} more are not in it."


def describe_refused(number: int) -> str | None:
    """Return a sentence about files that are no pictures; None if there are none."""
    if not number:
        return None
    files = "1 file is no picture" if number == 1 else f"{number} files are no pictures"
    return f"{files} that can be read: {REPORT} in the result says which, and why."
