"""Pictures as a medium: one of them, or an archive of many, each of which is a segment."""

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import IO

from core.errors import (
    ImageTooLarge,
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
    unpacked,
)
from core.media.medium import (
    PICTURES,
    ClipLimits,
    GoOn,
    Medium,
    Report,
    Segment,
    UpscalePicture,
    always,
    plan_segments,
)
from core.media.render import PictureEncoder, split_into_strips
from core.options import PICTURE_FORMATS, OutputOptions, check_format, check_supported
from core.picture import Header, Picture
from core.sandbox.decoder import Decoder

ARCHIVE_SUFFIX = ".zip"
ARCHIVE_TYPE = "application/zip"

REPORT = "report.json"
"""In a result: the files that are not in it, and why. Only if there are any."""

MOST_FILES = 1000
"""In an archive, where the limits do not say how many frames there may be."""

PIXEL_BYTES = 16
"""Of a pixel in a file, at most: four samples of 16 bits, and as much again."""

FILE_BYTES = 1_000_000
"""Of a file beside its pixels."""

REFUSALS = (UnreadableImage, UnsupportedImage, ImageTooLarge, TooMuchMemory)
"""What is wrong with one picture does not concern the others."""

DONE, REFUSED = b"+", b"-"
"""What the file of a segment begins with; then comes the picture, or what is wrong with it."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of all files in a result, which must not depend on when it was made."""

READABLE = 0o100644 << 16
UNIX = 3


def open_pictures(
    path: Path, limits: ClipLimits, options: OutputOptions, *, decoder: Decoder
) -> Medium:
    """Open a picture, or the pictures in a ZIP archive.

    Args:
        path: path of the file.
        limits: limits on each picture. There may be as many pictures as frames.
        options: options of the SR pictures.
        decoder: reads headers and decodes pictures.

    Raises:
        UnreadableArchive: if the archive is damaged, not safe, or holds no picture.
        UnreadableImage, UnsupportedImage, ImageTooLarge: if the file is a picture and cannot
            be opened.
        InvalidOptions: if pictures do not have one of the options.
    """
    check_format(options.picture_format, PICTURE_FORMATS, "pictures")
    check_supported(options, ("profile", "metadata"), "pictures")
    if is_archive(path):
        return PictureArchive(path, limits.frame, options, decoder)
    return PictureFile(path, limits.frame, options, decoder)


class PictureFile:
    """One picture, which becomes one picture; see `core.media.medium.Medium`."""

    kind = PICTURES
    frames = 1

    def __init__(
        self, path: Path, limits: Limits, options: OutputOptions, decoder: Decoder
    ) -> None:
        self._path, self._limits, self._options, self._decoder = path, limits, options, decoder
        with path.open("rb") as file:
            header = decoder.read_header(file, limits)
        self.height, self.width = header.height, header.width
        self.damage = describe_others(header.frames - 1)
        self.suffix = f".{options.picture_format}"
        self.mimetype = f"image/{options.picture_format}"

    def segments(self) -> list[Segment]:
        return plan_segments(self.frames, 1)

    def render(
        self, _segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        with self._path.open("rb") as file:
            lr = self._decoder.decode(file, self._limits)
        with target.open("wb") as output:
            write_upscaled(lr, upscale, self._options, output)
        report(1)

    def join(
        self,
        parts: Sequence[Path],
        target: Path,
        go_on: GoOn = always,  # noqa: ARG002
    ) -> None:
        shutil.copyfile(parts[0], target)


class PictureArchive:
    """The pictures in a ZIP archive, which become an archive; see `core.media.medium.Medium`.

    Folders stay, suffixes change. What is no picture, or a damaged one, is left out and
    named in `report.json`: nobody loses the rest of a long job to it.
    """

    kind = PICTURES
    suffix = ARCHIVE_SUFFIX
    mimetype = ARCHIVE_TYPE

    def __init__(
        self, path: Path, limits: Limits, options: OutputOptions, decoder: Decoder
    ) -> None:
        self._path, self._limits, self._options, self._decoder = path, limits, options, decoder
        self._archive_limits = ArchiveLimits(
            files=limits.max_frames or MOST_FILES,
            file_bytes=FILE_BYTES + PIXEL_BYTES * limits.max_pixels,
        )
        self._entries: list[ArchiveEntry] = []
        self._refused: dict[str, str] = {}
        headers = self._read_headers()
        self.height = max(header.height for header in headers)
        self.width = max(header.width for header in headers)
        self.frames = len(headers)
        self.damage = describe_refused(len(self._refused))

    def _read_headers(self) -> list[Header]:
        """Headers of the pictures; what is none is refused."""
        headers = []
        with open_archive(self._path, self._archive_limits) as archive:
            for entry in list_entries(archive, self._archive_limits):
                try:
                    headers.append(self._read_header(archive, entry))
                    self._entries.append(entry)
                except REFUSALS as error:
                    self._refused[entry.name] = str(error)
        if not headers:
            first = next(iter(self._refused.values()), "No file.")
            raise UnreadableArchive(
                f"Archive must hold at least one picture. Received: {len(self._refused)} "
                f"other files. Of the first: {first}"
            )
        return headers

    def _read_header(self, archive: zipfile.ZipFile, entry: ArchiveEntry) -> Header:
        with unpacked(archive, entry, self._archive_limits) as file:
            return self._decoder.read_header(file, self._limits)

    def segments(self) -> list[Segment]:
        return plan_segments(self.frames, 1)

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        try:
            lr = self._decode(self._entries[segment.index])
            with target.open("wb") as output:
                output.write(DONE)
                write_upscaled(lr, upscale, self._options, output)
        except REFUSALS as error:
            target.write_bytes(REFUSED + str(error).encode())
        report(1)

    def _decode(self, entry: ArchiveEntry) -> Picture:
        limits = self._archive_limits
        with open_archive(self._path, limits) as archive, unpacked(archive, entry, limits) as file:
            return self._decoder.decode(file, self._limits)

    def join(self, parts: Sequence[Path], target: Path, go_on: GoOn = always) -> None:
        refused = dict(self._refused)
        names = result_names([entry.name for entry in self._entries], self.picture_suffix)
        with zipfile.ZipFile(target, "w") as archive:
            for entry, name, path in zip(self._entries, names, parts, strict=True):
                go_on()
                with path.open("rb") as part:
                    if part.read(1) == DONE:
                        add_file(archive, name, part)
                    else:
                        refused[entry.name] = part.read().decode()
            if refused:
                archive.writestr(file_info(REPORT), text_of_report(refused))

    @property
    def picture_suffix(self) -> str:
        """Of the pictures in the result."""
        return f".{self._options.picture_format}"


def write_upscaled(
    lr: Picture, upscale: UpscalePicture, options: OutputOptions, output: IO[bytes]
) -> None:
    """Upscale a picture and write its file."""
    sr = upscale(lr)
    encoder = PictureEncoder(lr, options, sr.height // lr.height)
    output.writelines(encoder.stream(split_into_strips(sr)))


def result_names(names: Sequence[str], suffix: str) -> list[str]:
    """Names of results; where two would be the same, suffixes stay in them.

    >>> result_names(["a/1.jpg", "a/2.gif", "a/2.jpg"], ".png")
    ['a/1.png', 'a/2.gif.png', 'a/2.jpg.png']
    """
    short = [str(PurePosixPath(name).with_suffix(suffix)) for name in names]
    # Some file systems take names for the same that differ in capitals only.
    namesakes = Counter(name.casefold() for name in short)
    taken = {name for name, times in namesakes.items() if times == 1}
    results = []
    for name, few in zip(names, short, strict=True):
        result = few if namesakes[few.casefold()] == 1 else free_name(name, suffix, taken)
        taken.add(result.casefold())
        results.append(result)
    return results


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """A name with a suffix that is not taken, in any capitals."""
    candidates = (f"{name}{number}{suffix}" for number in chain([""], count(2)))
    return next(candidate for candidate in candidates if candidate.casefold() not in taken)


def file_info(name: str) -> zipfile.ZipInfo:
    """What is said of a file in a result: nothing of when and where it was made."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = READABLE
    info.create_system = UNIX
    return info


def add_file(archive: zipfile.ZipFile, name: str, content: IO[bytes]) -> None:
    """Store the rest of a file; pictures are compressed already."""
    with archive.open(file_info(name), "w", force_zip64=True) as output:
        shutil.copyfileobj(content, output)


def text_of_report(refused: dict[str, str]) -> str:
    """JSON: what is not in the result, and why."""
    left_out = [{"file": name, "reason": reason} for name, reason in refused.items()]
    return json.dumps({"left_out": left_out}, indent=2, ensure_ascii=False) + "\n"


def describe_others(frames: int) -> str | None:
    """What is said of frames or pages after the first; None if there are none."""
    if frames < 1:
        return None
    return f"The result is of the first frame; {frames} more are not in it."


def describe_refused(number: int) -> str | None:
    """What is said of files that are no pictures; None if there are none."""
    if not number:
        return None
    files = "1 file is no picture" if number == 1 else f"{number} files are no pictures"
    return f"{files} that can be read: {REPORT} in the result says which, and why."
