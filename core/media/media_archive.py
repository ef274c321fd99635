"""A ZIP archive of pictures, animations and videos as a medium.

Each file is opened as a medium of its own and becomes one file of the result. Its segments are
segments of the archive.
"""

import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.animation import Animation, find_format, supported_options
from core.errors import (
    ClipTooLarge,
    ImageTooLarge,
    InvalidOptions,
    TooMuchMemory,
    UnreadableArchive,
    UnreadableClip,
    UnreadableImage,
    UnsupportedClip,
    UnsupportedImage,
)
from core.media.archive import (
    ArchiveEntry,
    ArchiveLimits,
    list_entries,
    open_archive,
    unpack,
)
from core.media.archive_writer import add_file, add_report, describe_report, result_names
from core.media.medium import (
    PICTURES,
    CheckCancelled,
    ClipLimits,
    Medium,
    Report,
    Segment,
    UpscalePicture,
    never_cancelled,
)
from core.media.pictures import keep_options, keep_picture_options, open_picture
from core.options import (
    ANIMATION_FORMATS,
    JOB_OPTIONS,
    VIDEO_FORMATS,
    OutputOptions,
)
from core.picture import Header, Picture
from core.sandbox.decoder import Decoder
from core.video import Video, sniff

MAX_FILES = 1000
"""Number of files in an archive at most, where the limits give no number of frames."""

MAX_CLIPS = 200
"""Number of animations and videos at most. Opening one takes a tenth of a second, and the caller
waits for it."""

FILE_BYTES_PER_PIXEL = 16
"""Bytes of a file per pixel at most: four samples of 16 bits, and as much again."""

FILE_BYTES, MAX_PICTURE_BYTES = 1_000_000, 256_000_000
"""Bytes of a file at most beside its pixels, and of any picture."""

REFUSALS = (
    UnreadableImage,
    UnsupportedImage,
    ImageTooLarge,
    UnreadableClip,
    UnsupportedClip,
    ClipTooLarge,
    InvalidOptions,
    TooMuchMemory,
)
"""Errors that leave one file out of the result and do not concern the others."""

REFUSED = b"refused: "
"""First bytes of a segment's file that holds the text of an error. No medium begins one so."""


@dataclass(frozen=True)
class ArchivedFile:
    """A file of an archive that can be upscaled.

    Attributes:
        entry: entry of the archive.
        options: those options of the archive that files of this kind have.
        is_clip: whether it is an animation or a video.
        height: height of a frame, LR px.
        width: width of a frame, LR px.
        headers: number of frames by their headers.
        segments: segments of the file as a medium of its own.
        suffix: suffix of its result.
        damage: what is wrong with the file; None if nothing is.
    """

    entry: ArchiveEntry
    options: OutputOptions
    is_clip: bool
    height: int
    width: int
    headers: Mapping[Header, int]
    segments: Sequence[Segment]
    suffix: str
    damage: str | None


class MediaArchive:
    """The files of a ZIP archive as a `core.media.medium.Medium`.

    The result is an archive, too. Folders, names and dates stay, suffixes change. A file that is
    damaged, or neither picture nor clip, is left out and listed in `report.json`, so that one bad
    file does not spoil a long job. Options apply to the files that have them.

    Args:
        path: path of the archive.
        limits: limits on each file. All have as many frames together as one clip may.
        options: options of the results.
        decoder: decoder of the pictures.
        scale: factor of one pass of the network.

    Attributes:
        files: that can be upscaled.

    Raises:
        UnreadableArchive: if the archive is damaged, not safe, has too many files or frames, or
            holds neither picture nor clip.
        InvalidOptions: if no file has one of the options.
    """

    kind = PICTURES
    suffix = ".zip"
    mimetype = "application/zip"

    def __init__(
        self,
        path: Path,
        limits: ClipLimits,
        options: OutputOptions,
        *,
        decoder: Decoder,
        scale: int,
    ) -> None:
        self._path, self._limits, self._options = path, limits, options
        self._decoder, self._scale = decoder, scale
        self._max_frames = limits.frame.max_frames or MAX_FILES
        picture_bytes = FILE_BYTES + FILE_BYTES_PER_PIXEL * limits.of_pictures.max_pixels
        self._archive_limits = ArchiveLimits(
            files=self._max_frames,
            file_bytes=max(min(picture_bytes, MAX_PICTURE_BYTES), path.stat().st_size),
        )
        self._refused: dict[str, str] = {}
        files = self.files = self._read_files()
        self._places = [(file, own) for file in files for own in file.segments]
        self.height = max(file.height for file in files)
        self.width = max(file.width for file in files)
        self.frames = sum(own.frames for _, own in self._places)
        self.headers: Mapping[Header, int] = sum(
            (Counter(file.headers) for file in files), Counter()
        )
        incomplete = sum(file.damage is not None for file in files)
        self.damage = describe_report(len(self._refused), incomplete)

    def _read_files(self) -> list[ArchivedFile]:
        """Return what can be upscaled; list the files that cannot as refused."""
        files: list[ArchivedFile] = []
        frames = clips = 0
        with open_archive(self._path, self._archive_limits) as archive:
            for entry in list_entries(archive, self._archive_limits):
                try:
                    files.append(self._read_file(archive, entry))
                except REFUSALS as error:
                    self._refused[entry.name] = str(error)
                else:
                    frames += sum(own.frames for own in files[-1].segments)
                    clips += files[-1].is_clip
                    self._check_number(frames, clips)
        if not files:
            raise no_file_error(self._refused)
        check_options_apply(self._options, files)
        return files

    def _read_file(self, archive: zipfile.ZipFile, entry: ArchiveEntry) -> ArchivedFile:
        with unpack(archive, entry, self._archive_limits) as path:
            medium, options = self._open(path)
            return ArchivedFile(
                entry,
                options,
                medium.kind != PICTURES,
                medium.height,
                medium.width,
                medium.headers,
                medium.segments(),
                medium.suffix,
                medium.damage,
            )

    def _check_number(self, frames: int, clips: int) -> None:
        if frames > self._max_frames or clips > MAX_CLIPS:
            raise UnreadableArchive(
                f"Archive must hold at most {MAX_CLIPS} clips, and {self._max_frames} pictures and "
                f"frames of clips. Received: more, {clips} clips and {frames} pictures and frames "
                "among them."
            )

    def _open(self, path: Path) -> tuple[Medium, OutputOptions]:
        """Open an unpacked file; also return those options of the archive that it has."""
        options, limits = self._options, self._limits
        if sniff(path) is not None:
            options = keep_options(options, VIDEO_FORMATS, ("codec",))
            return Video(path, limits, options, self._scale), options
        source_format = self._animation_format(path)
        if source_format is not None:
            options = keep_animation_options(options, source_format)
            return Animation(path, limits, options, self._scale), options
        options = keep_picture_options(options)
        picture = open_picture(path, limits, options, decoder=self._decoder, scale=self._scale)
        return picture, options

    def _animation_format(self, path: Path) -> str | None:
        """Return the format of an animation of several frames; None for other files."""
        with path.open("rb") as file:
            found = find_format(file)
            if found is None:
                return None
            header = self._decoder.read_header(file, self._limits.of_pictures)
            return None if header.frames == 1 else found

    @contextmanager
    def _opened(self, file: ArchivedFile) -> Iterator[Medium]:
        """Unpack a file and open it as a medium, which exists until the block ends."""
        with (
            open_archive(self._path, self._archive_limits) as archive,
            unpack(archive, file.entry, self._archive_limits) as path,
        ):
            yield self._open(path)[0]

    def segments(self) -> list[Segment]:
        """Return the segments of all files, in the order of the files."""
        segments: list[Segment] = []
        for file, own in self._places:
            start = segments[-1].stop if segments else 0
            segments.append(Segment(len(segments), start, start + own.frames, file.is_clip))
        return segments

    def judged_frames(self, segment: Segment | None = None) -> Iterator[Picture]:
        """Yield the frames that decide how strongly the clip of a segment is restored."""
        file = None if segment is None else self._places[segment.index][0]
        if file is None or not file.is_clip:
            return
        with self._opened(file) as medium:
            yield from medium.judged_frames()

    def render(
        self, segment: Segment, upscale: UpscalePicture, target: Path, report: Report
    ) -> None:
        """Write a segment as the medium of its file does, or why there is none."""
        file, own = self._places[segment.index]
        try:
            with self._opened(file) as medium:
                medium.render(own, upscale, target, report)
        except REFUSALS as error:
            target.write_bytes(REFUSED + str(error).encode())
            report(segment.frames)

    def join(
        self, parts: Sequence[Path], target: Path, check_cancelled: CheckCancelled = never_cancelled
    ) -> None:
        """Write the archive of the results, with a report of files left out or incomplete.

        Raises:
            UnreadableArchive: if no file could be upscaled.
        """
        refused, incomplete = dict(self._refused), dict[str, str]()
        names = result_names([(file.entry.name, file.suffix) for file in self.files])
        rest = iter(parts)
        with zipfile.ZipFile(target, "w") as archive:
            for file, name in zip(self.files, names, strict=True):
                check_cancelled()
                own_parts = [next(rest) for _ in file.segments]
                try:
                    check_not_refused(own_parts)
                    with self._joined(file, own_parts, target, check_cancelled) as (path, damage):
                        add_file(archive, file.entry.dated(name), path)
                except REFUSALS as error:
                    refused[file.entry.name] = str(error)
                    continue
                if damage is not None:
                    incomplete[file.entry.name] = damage
            if not archive.namelist():
                raise no_file_error(refused)
            if refused or incomplete:
                add_report(archive, refused, incomplete)
        self.damage = describe_report(len(refused), len(incomplete))

    @contextmanager
    def _joined(
        self,
        file: ArchivedFile,
        parts: Sequence[Path],
        target: Path,
        check_cancelled: CheckCancelled,
    ) -> Iterator[tuple[Path, str | None]]:
        """Yield the path of a file's result, and what it lacks; join a clip beside `target`."""
        if not file.is_clip:
            yield parts[0], file.damage
            return
        with (
            self._opened(file) as medium,
            tempfile.NamedTemporaryFile(prefix=".", suffix=".joined", dir=target.parent) as made,
        ):
            medium.join(parts, Path(made.name), check_cancelled)
            yield Path(made.name), medium.damage


def keep_animation_options(options: OutputOptions, source_format: str) -> OutputOptions:
    """Return the options that an animation of a format has; the others get their defaults."""
    formats = (*ANIMATION_FORMATS, *VIDEO_FORMATS)
    output_format = options.format if options.format in formats else None
    supported = supported_options(output_format or source_format.lower(), source_format)
    return keep_options(options, formats, supported)


def check_options_apply(options: OutputOptions, files: Sequence[ArchivedFile]) -> None:
    """Raise InvalidOptions if an option is set that no file has."""
    for option in JOB_OPTIONS:
        if option.is_set(options) and not any(option.is_set(file.options) for file in files):
            raise InvalidOptions(
                f"`{option.name}` must be left out, for an archive without files that have it. "
                f"Received: {getattr(options, option.attribute)}."
            )


def no_file_error(refused: Mapping[str, str]) -> UnreadableArchive:
    """Return the error for an archive of which nothing can be upscaled."""
    first = next(iter(refused.values()), "No file.")
    return UnreadableArchive(
        f"Archive must hold at least one picture or clip. Received: {len(refused)} other or "
        f"damaged files. Of the first: {first}"
    )


def check_not_refused(parts: Sequence[Path]) -> None:
    """Raise UnreadableImage with the text of the first part that holds an error."""
    for part in parts:
        with part.open("rb") as file:
            if file.read(len(REFUSED)) == REFUSED:
                raise UnreadableImage(file.read().decode())
