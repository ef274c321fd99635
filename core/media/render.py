"""From a decoded picture to the file that its caller wants.

Whether an SR picture, made small again, is the picture that it was made from.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from core.images import (
    ImageOutput,
    check_output_size,
    encode_picture,
    from_srgb,
    note_synthetic_detail,
)
from core.images.png import PngChunk, PngLayout, encode_png_rows, extra_chunks, text_chunk
from core.model.upscaler import FULL_DETAIL, Progress, Upscaler, assemble
from core.picture import Extras, Picture
from core.pixels import Float32Array, PixelArray
from core.runtime.scheduler import RequestDeadline

IDENTICAL_DB = 100.0
"""Said of pictures without any difference, where the ratio has no end."""


class Consistency:
    """Peak signal-to-noise ratio between a picture and its SR, box-downscaled.

    What the network invents must not change what the camera saw: the mean of the SR
    pixels under an LR pixel is to be that pixel. Fully transparent pixels do not count.

    Args:
        lr: the picture.
        scale: SR pixels per LR pixel, on each side.
    """

    def __init__(self, lr: Picture, scale: int) -> None:
        self._lr = lr
        self._scale = scale
        self._rows = 0
        self._squares = 0.0
        self._samples = 0

    def add(self, strip: PixelArray) -> None:
        """Take the next SR rows, (h, scale*W, C), colour first; h is a multiple of scale."""
        rows = slice(self._rows, self._rows + len(strip) // self._scale)
        self._rows = rows.stop
        colours = 1 if self._lr.is_grey else 3
        small = downscale(strip[..., :colours], self._scale)
        difference = small - self._lr.pixels[rows, :, :colours]
        if self._lr.alpha is not None:
            difference = difference[self._lr.alpha[rows] > 0]
        self._squares += float(np.vdot(difference, difference))
        self._samples += difference.size

    @property
    def psnr_db(self) -> float:
        """Of the rows so far, dB, at most `IDENTICAL_DB`."""
        mean_square = self._squares / max(1, self._samples)
        least = self._lr.highest**2 / 10 ** (IDENTICAL_DB / 10)
        return 10 * math.log10(self._lr.highest**2 / max(mean_square, least))


def downscale(sr: PixelArray, scale: int) -> Float32Array:
    """(scale*h, scale*W, C) -> (h, W, C) float32, the mean of every block."""
    total = np.uint16 if sr.dtype == np.uint8 else np.uint32
    rows = np.zeros((len(sr) // scale, *sr.shape[1:]), total)
    for k in range(scale):  # a reduction of numpy takes four times as long
        np.add(rows, sr[k::scale], out=rows)
    blocks = np.zeros((len(rows), sr.shape[1] // scale, sr.shape[2]), total)
    for k in range(scale):
        np.add(blocks, rows[:, k::scale], out=blocks)
    return blocks.astype(np.float32) / np.float32(scale**2)


PNG = "png"  # the one format that can be sent while it is made
CONSISTENCY = "Consistency-PSNR"  # keyword in a PNG

STRIP_ROWS = 256
"""Of a picture that is there already: a multiple of the scale."""


@dataclass(frozen=True)
class PictureOptions:
    """How a caller wants the SR picture.

    Attributes:
        format: of the file, one of `core.images.OUTPUT_FORMATS`.
        quality: from 1 to 100, of formats that lose something; None for the usual one.
        detail: how much is made up, in [0, 1].
        keeps_profile: whether the pixels are converted back to the profile they came in.
        keeps_metadata: whether EXIF and XMP go with the picture.
        has_note: whether the file says that its detail is synthetic.
    """

    format: str = PNG
    quality: int | None = None
    detail: float = FULL_DETAIL
    keeps_profile: bool = False
    keeps_metadata: bool = False
    has_note: bool = True

    def extras(self, lr: Extras, scale: int) -> Extras:
        """What goes into the file of what the LR file held; the print size stays."""
        xmp = lr.xmp if self.keeps_metadata else None
        return Extras(
            icc_profile=lr.icc_profile if self.keeps_profile else None,
            dpi=None if lr.dpi is None else (scale * lr.dpi[0], scale * lr.dpi[1]),
            exif=lr.exif if self.keeps_metadata else None,
            xmp=note_synthetic_detail(xmp) if self.has_note else xmp,
        )


class EncodedPicture:
    """An SR picture compared with its input and encoded, strip by strip.

    Attributes:
        consistency: of the rows that are done.

    Args:
        strips: of the SR picture, as `Upscaler.strips` makes them.
        lr: the picture.
        wish: how the caller wants it.
        scale: SR pixels per LR pixel, on each side.

    Raises:
        ImageTooLarge: if the format wished for cannot hold the SR picture.
    """

    def __init__(
        self, strips: Generator[PixelArray], lr: Picture, wish: PictureOptions, scale: int
    ) -> None:
        check_output_size(wish.format, scale * lr.height, scale * lr.width)
        self.consistency = Consistency(lr, scale)
        self._lr, self._wish = lr, wish
        self._extras = wish.extras(lr.extras, scale)
        self._layout = PngLayout(scale * lr.height, scale * lr.width, lr.channels, lr.bits)
        self._strips = strips

    def parts(self) -> Generator[bytes]:
        """The file: a PNG as it is made, other formats in one part.

        Raises:
            DeadlineExceeded, RequestAbandoned: on the way, as `patience` says.
        """
        if self._wish.format == PNG:
            return encode_png_rows(
                self._in_profile(),
                self._layout,
                opening=extra_chunks(self._extras),
                closing=self._closing_chunks,
            )
        return self._whole()

    def _compared(self) -> Iterator[PixelArray]:
        """Strips that consistency has seen."""
        with closing(self._strips):
            for strip in self._strips:
                self.consistency.add(strip)
                yield strip
                del strip  # frees it while the next one is made

    def _in_profile(self) -> Iterator[PixelArray]:
        """Strips in the colour space of the file."""
        for strip in self._compared():
            yield convert(strip, self._lr, self._extras.icc_profile)
            del strip

    def _closing_chunks(self) -> Sequence[PngChunk]:
        if not self._wish.has_note:
            return ()
        return (text_chunk(CONSISTENCY, f"{self.consistency.psnr_db:.2f} dB"),)

    def _whole(self) -> Generator[bytes]:
        sr = assemble(self._compared(), self._lr)
        yield encode_picture(sr, ImageOutput(self._wish.format, self._wish.quality, self._extras))


class PictureAnswer(EncodedPicture):
    """One picture on its way: upscaled, compared with its input, encoded.

    Args:
        upscaler: what upscales.
        lr: the picture.
        wish: how the caller wants it.
        progress: told after each tile.
        patience: how long the caller waits; None for ever.

    Raises:
        InvalidDetail: if there is no network of the detail wished for.
        ImageTooLarge: if the format wished for cannot hold the SR picture.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        lr: Picture,
        wish: PictureOptions,
        *,
        progress: Progress | None = None,
        patience: RequestDeadline | None = None,
    ) -> None:
        upscaler.check_detail(wish.detail)
        strips = upscaler.strips(lr, progress, detail=wish.detail, deadline=patience)
        super().__init__(strips, lr, wish, upscaler.scale)


def strips_of(sr: Picture) -> Generator[PixelArray]:
    """A whole SR picture as strips for `EncodedPicture`."""
    colour = sr.pixels[..., :1] if sr.is_grey else sr.pixels
    for top in range(0, sr.height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        if sr.alpha is None:
            yield colour[rows]
        else:
            yield np.dstack([colour[rows], sr.alpha[rows]])


def convert(strip: PixelArray, lr: Picture, icc_profile: bytes | None) -> PixelArray:
    """A strip, with the alpha that `lr` has, in a profile of its kind; sRGB without one."""
    if icc_profile is None:
        return strip
    colours = 1 if lr.is_grey else 3
    converted = from_srgb(strip[..., :colours], icc_profile)[..., :colours]
    return np.concatenate([converted, strip[..., colours:]], axis=2)
