"""A single picture as a medium."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from core.images import Limits
from core.media.medium import (
    PICTURES,
    CheckCancelled,
    ClipLimits,
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
from core.options import (
    JOB_OPTIONS,
    PICTURE_FORMATS,
    OutputOptions,
    check_format,
    check_supported,
)
from core.picture import Header, Picture
from core.sandbox.decoder import Decoder

SUPPORTED = ("profile", "metadata")
"""Names of the options that pictures have, beside the universal ones."""


def open_picture(
    path: Path, limits: ClipLimits, options: OutputOptions, *, decoder: Decoder, scale: int
) -> "PictureFile":
    """Open a picture.

    Args:
        path: path of the file.
        limits: limits on the picture.
        options: options of the SR picture.
        decoder: decoder of headers and pictures.
        scale: factor of one pass of the network.

    Raises:
        UnreadableImage, UnsupportedImage, ImageTooLarge: if the file is no picture that can be
            decoded.
        InvalidOptions: if pictures do not have one of the options, or not a size.
    """
    check_format(options.picture_format, PICTURE_FORMATS, "pictures")
    check_supported(options, SUPPORTED, "pictures")
    return PictureFile(path, PictureRendering(limits.of_pictures, options, scale), decoder)


class PictureRendering(NamedTuple):
    """How a picture is upscaled and written.

    Attributes:
        limits: limits on the picture.
        options: options of the SR picture.
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

    def judged_frames(self, _segment: Segment | None = None) -> Iterator[Picture]:
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


def keep_options(
    options: OutputOptions, formats: Collection[str], supported: Collection[str]
) -> OutputOptions:
    """Return the options that a kind of file has; the others get their defaults.

    Args:
        options: options of a job.
        formats: output formats of the kind.
        supported: names of the options of the kind, beside the universal ones.
    """
    defaults = OutputOptions()
    foreign = {
        option.attribute: getattr(defaults, option.attribute)
        for option in JOB_OPTIONS
        if not (option.is_universal or option.name in supported)
    }
    output_format = options.format if options.format in formats else None
    return replace(options, **foreign, format=output_format)


def keep_picture_options(options: OutputOptions) -> OutputOptions:
    """Return the options that pictures have; the others get their defaults."""
    return keep_options(options, PICTURE_FORMATS, SUPPORTED)


def describe_other_frames(frames: int) -> str | None:
    """Return a sentence about frames or pages after the first; None if there are none."""
    if frames < 1:
        return None
    return f"The result is of the first frame; {frames} more are not in it."
