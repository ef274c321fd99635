"""Encode an SR picture while it is upscaled, and compare it with its LR picture.

An SR picture arrives in strips: horizontal bands of whole rows, from top to bottom, as
`Upscaler.strips` yields them. `PictureEncoder` compares each strip with the LR picture, converts
it to the colour profile of the file, and encodes it. So a large PNG is sent row by row and never
held as a whole.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial

import numpy as np

from core.images import (
    ImageOutput,
    check_output_size,
    encode_picture,
    from_srgb,
    mark_synthetic_detail,
)
from core.images.png import PngChunk, PngLayout, encode_png_rows, extra_chunks, text_chunk
from core.images.resample import BLOCK_ROWS, StripResampler, area
from core.images.scaling_attack import is_scaling_attack
from core.model.grid import OutputGrid
from core.model.restorer import Restoration
from core.model.tiles import Box
from core.model.upscaler import Progress, Upscaler, assemble
from core.options import PNG, OutputOptions, restore_text
from core.picture import Extras, Picture, RestorationFacts
from core.pixels import LEVELS, Float32Array, PixelArray

IDENTICAL_DB = 100.0
"""Consistency of identical pictures, whose ratio is infinite, in dB."""

CONSISTENCY_KEYWORD = "Consistency-PSNR"
"""Keyword of the PNG text chunk that states the consistency."""

RESTORE_KEYWORD = "Restore"
"""Keyword of the PNG text chunk that states how strongly the picture was restored."""

ATTACK_KEYWORD, SUSPECTED = "Scaling-Attack", "suspected"
"""Keyword and text of the PNG text chunk of a picture that probably hides another one."""


class PictureEncoder:
    """Encodes one SR picture from its strips and measures its consistency.

    Building an encoder computes nothing. `encode` and `stream` consume the strips. Strips of
    `Upscaler.strips` are upscaled when they are consumed, so this is where the network runs.
    Each encoder encodes one picture once.

    Attributes:
        consistency: consistency of the rows that are encoded so far.

    Args:
        lr: the part of the LR picture that the result shows.
        options: options of the file.
        grid: pixels of the result.
        restoration: of `lr`, as its strips are upscaled; None if it is not restored.
        facts: about the restoration of an SR picture that is complete, and whose strips are
            therefore not compared again; None otherwise.

    Raises:
        ImageTooLarge: if the output format cannot hold the SR picture.
    """

    def __init__(
        self,
        lr: Picture,
        options: OutputOptions,
        grid: OutputGrid,
        *,
        restoration: Restoration | None = None,
        facts: RestorationFacts | None = None,
    ) -> None:
        check_output_size(options.picture_format, grid.height, grid.width)
        self.consistency = Consistency(lr, grid, restoration)
        self._lr, self._options, self._facts = lr, options, facts
        self._extras = output_extras(lr.extras, options, grid)
        self._layout = PngLayout(grid.height, grid.width, lr.channels, lr.bits)

    @cached_property
    def is_suspected(self) -> bool:
        """Whether the LR picture probably hides another one; see `core.images.scaling_attack`."""
        return is_scaling_attack(self._lr)

    def encode(self, strips: Generator[PixelArray]) -> bytes:
        """Consume all strips and return the file; see `stream`."""
        return b"".join(self.stream(strips))

    def stream(self, strips: Generator[PixelArray]) -> Generator[bytes]:
        """Yield the file in parts.

        A PNG is encoded as its strips arrive. Its first part holds the header and the first
        rows, so whoever has that part knows that upscaling has begun without an error. Other
        formats are encoded when all strips have arrived, and come in one part.

        Args:
            strips: strips of the SR picture, as `Upscaler.strips` yields them. They are closed
                with the generator that is returned.

        Raises:
            DeadlineExceeded, RequestAbandoned: on the way, if the strips raise them.
        """
        if self._options.picture_format == PNG:
            return self._stream_png(strips)
        return self._encode_at_once(strips)

    def _stream_png(self, strips: Generator[PixelArray]) -> Generator[bytes]:
        parts = encode_png_rows(
            self._convert(self._compare(strips)),
            self._layout,
            opening=extra_chunks(self._extras),
            closing=self._closing_chunks,
        )
        with closing(parts):
            header = next(parts)
            yield header + next(parts)
            yield from parts

    def _encode_at_once(self, strips: Generator[PixelArray]) -> Generator[bytes]:
        sr = assemble(self._compare(strips), self._lr)
        options = self._options
        yield encode_picture(sr, ImageOutput(options.picture_format, options.quality, self._extras))

    def _compare(self, strips: Generator[PixelArray]) -> Iterator[PixelArray]:
        """Pass strips on after measuring their consistency."""
        with closing(strips):
            yield from strips if self._facts else self.consistency.watch(strips)

    def _convert(self, strips: Iterator[PixelArray]) -> Iterator[PixelArray]:
        """Convert strips to the colour profile of the file."""
        for strip in strips:
            yield convert_strip(strip, self._lr, self._extras.icc_profile)
            del strip

    def _closing_chunks(self) -> Sequence[PngChunk]:
        if not self._options.has_note:
            return ()
        strength, psnr_db = self._facts or self.consistency.facts
        chunks = [text_chunk(CONSISTENCY_KEYWORD, f"{psnr_db:.2f} dB")]
        if strength:
            text = restore_text(self._options.restore, strength)
            chunks.append(text_chunk(RESTORE_KEYWORD, text))
        if self.is_suspected:
            chunks.append(text_chunk(ATTACK_KEYWORD, SUSPECTED))
        return chunks


def upscale_to_stream(
    upscaler: Upscaler, lr: Picture, options: OutputOptions, progress: Progress | None = None
) -> Generator[bytes]:
    """Upscale a picture and yield its file in parts; see `PictureEncoder.stream`.

    The network runs when the parts are consumed.

    Args:
        upscaler: upscaler to use.
        lr: LR picture.
        options: options of the file.
        progress: called after each tile.

    Raises:
        ImageTooLarge: at once, if the output format cannot hold the SR picture.
        InvalidOptions: at once, if the size is not one that can be computed from the picture.
        InvalidRestore: at once, if there is no restorer of this strength.
        InvalidDetail: at the first part, if there is no network of this detail.
    """
    grid = upscaler.grid(options, lr.height, lr.width)
    strength = upscaler.choose_strength(lr, options.restore)  # the same for every crop
    lr = grid.crop(lr)
    restoration = upscaler.restoration(lr, strength)
    strips = upscaler.strips(
        lr, progress, grid=grid, detail=options.detail, restoration=restoration
    )
    encoder = PictureEncoder(lr, options, grid, restoration=restoration)
    return encoder.stream(strips)


class ClipUpscaler:
    """Upscales the frames of a clip, all restored alike; a `core.media.medium.UpscalePicture`.

    Args:
        upscaler: upscaler to use.
        options: options of the clip.
        strength: how strongly to restore the frames, in [0, 1]; None if the first frame decides.
    """

    def __init__(
        self, upscaler: Upscaler, options: OutputOptions, strength: float | None = None
    ) -> None:
        self._upscaler, self._options, self._strength = upscaler, options, strength

    def __call__(self, lr: Picture) -> Picture:
        """Upscale a frame."""
        if self._strength is None:
            self._strength = self._upscaler.choose_strength(lr, self._options.restore)
        grid = self._upscaler.grid(self._options, lr.height, lr.width)
        lr = grid.crop(lr)
        restoration = self._upscaler.restoration(lr, self._strength)
        detail = self._options.detail
        return self._upscaler.upscale(lr, grid=grid, detail=detail, restoration=restoration)


def output_extras(lr: Extras, options: OutputOptions, grid: OutputGrid) -> Extras:
    """Return what the SR file holds beside pixels. Its print size is that of the LR file."""
    across, down = float(1 / grid.columns.pitch), float(1 / grid.rows.pitch)
    xmp = lr.xmp if options.keeps_metadata else None
    return Extras(
        icc_profile=lr.icc_profile if options.keeps_profile else None,
        dpi=None if lr.dpi is None else (across * lr.dpi[0], down * lr.dpi[1]),
        exif=lr.exif if options.keeps_metadata else None,
        xmp=mark_synthetic_detail(xmp) if options.has_note else xmp,
    )


def convert_strip(strip: PixelArray, lr: Picture, icc_profile: bytes | None) -> PixelArray:
    """Convert the colours of a strip from sRGB to a profile.

    Args:
        strip: SR rows, (h, scale*W, C); alpha comes last and stays as it is.
        lr: LR picture, which says whether the strip is grey.
        icc_profile: profile of the file; None for sRGB.
    """
    if icc_profile is None:
        return strip
    colours = 1 if lr.is_grey else 3
    converted = from_srgb(strip[..., :colours], icc_profile)[..., :colours]
    return np.concatenate([converted, strip[..., colours:]], axis=2)


class Consistency:
    """Peak signal-to-noise ratio between an LR picture and its SR picture, reduced to its size.

    What the network makes up must not change what the camera saw: the mean of the SR pixels of
    one LR pixel should equal that LR pixel, restored if the picture is. LR pixels that the result
    shows in part and fully transparent ones do not count.

    Args:
        lr: the part of the LR picture that the result shows.
        grid: pixels of the result.
        restoration: of `lr`, with the restored rows of the strips that are added; None if the
            network sees `lr` itself.
    """

    def __init__(
        self, lr: Picture, grid: OutputGrid, restoration: Restoration | None = None
    ) -> None:
        self._lr = lr
        self._restoration = restoration
        self._first, self._end = grid.columns.whole_pixels()
        self._rows = grid.rows.whole_pixels()[0]
        self._reduce = block_means(grid)
        self._block_rows = None if grid.passes else BLOCK_ROWS
        self._squared_error = 0.0
        self._samples = 0

    def watch(self, strips: Iterable[PixelArray]) -> Iterator[PixelArray]:
        """Pass strips on after comparing them."""
        for strip in strips:
            self.add(strip)
            yield strip
            del strip  # frees it while the next one is computed

    def add(self, strip: PixelArray) -> None:
        """Compare the next SR rows.

        Args:
            strip: (h, W, C), colour before alpha. If the result is plain, h is a multiple of the
                scale.
        """
        step = self._block_rows or len(strip)
        for top in range(0, len(strip), step):
            self._add(strip[top : top + step])

    def _add(self, strip: PixelArray) -> None:
        colours = 1 if self._lr.is_grey else 3
        small = self._reduce(strip[..., :colours])
        rows = slice(self._rows, self._rows + len(small))
        if not small.size:
            return
        self._rows = rows.stop
        difference = small - self._seen_rows(rows)[:, self._first : self._end, :colours]
        if self._lr.alpha is not None:
            difference = difference[self._lr.alpha[rows, self._first : self._end] > 0]
        self._squared_error += float(np.vdot(difference, difference))
        self._samples += difference.size

    def _seen_rows(self, rows: slice) -> PixelArray | Float32Array:
        """Return the LR rows that the network saw, (h, W, 3), in the range of the picture."""
        if self._restoration is None:
            return self._lr.pixels[rows]
        levels = self._restoration.crop(Box(rows.start, 0, rows.stop, self._lr.width))
        return levels * np.float32(self._lr.highest / LEVELS)

    @property
    def facts(self) -> RestorationFacts:
        """Strength of restoring, which is 0 without, and the ratio over the rows so far."""
        strength = 0.0 if self._restoration is None else self._restoration.strength
        return RestorationFacts(strength, self.psnr_db)

    @property
    def psnr_db(self) -> float:
        """Ratio over the rows so far in dB, at most `IDENTICAL_DB`."""
        mean_square = self._squared_error / max(1, self._samples)
        least = self._lr.highest**2 / 10 ** (IDENTICAL_DB / 10)
        return 10 * math.log10(self._lr.highest**2 / max(mean_square, least))


def block_means(grid: OutputGrid) -> Callable[[PixelArray], Float32Array]:
    """Return a function that takes strips of a result, (h, W, C), and returns means (n, w, C).

    They are the means of the SR pixels of those LR pixels that the result shows whole.
    """
    if grid.is_plain or not grid.passes:
        return partial(downscale, scale=grid.scale if grid.passes else 1)
    rows, columns = grid.rows.reversed(), grid.columns.reversed()
    if min(rows.length, columns.length) < 1:
        return lambda strip: np.empty((0, 0, strip.shape[2]), np.float32)
    return StripResampler(rows, columns, area).add


def downscale(sr: PixelArray, scale: int) -> Float32Array:
    """Return the mean of each block: (scale*h, scale*W, C) -> (h, W, C) float32."""
    total = np.uint16 if sr.dtype == np.uint8 else np.uint32
    rows = np.zeros((len(sr) // scale, *sr.shape[1:]), total)
    for k in range(scale):  # a reduction of NumPy takes four times as long
        np.add(rows, sr[k::scale], out=rows)
    blocks = np.zeros((len(rows), sr.shape[1] // scale, sr.shape[2]), total)
    for k in range(scale):
        np.add(blocks, rows[:, k::scale], out=blocks)
    return blocks.astype(np.float32) / np.float32(scale**2)
