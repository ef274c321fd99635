"""Grids of results: how many pixels a result has, and where they lie on the LR picture.

A result shows exactly the LR picture, or the part to which it is cropped: the edges of both
coincide. A side of the result is the LR side times the factor, rounded half up. So the factors of
height and width differ by less than half a pixel over the whole side.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from core.errors import InvalidOptions
from core.images.resample import Sampling
from core.model.tiles import Box
from core.options import COVER, LEAST_SCALE, MOST_SCALE, OutputOptions
from core.picture import Picture

MOST_PASSES = 2
"""Largest number of passes of the network."""


@dataclass(frozen=True)
class GridSide:
    """One side of a result.

    Attributes:
        first: first LR pixel that the result shows, at least in part.
        last: LR pixel after the last one that it shows.
        length: number of pixels of the result.
        start: where the first pixel of the result begins, LR px from the beginning of `first`.
        pitch: LR px for each pixel of the result.
    """

    first: int
    last: int
    length: int
    start: Fraction
    pitch: Fraction

    @property
    def shown(self) -> int:
        """Number of LR pixels that the result shows, at least in part."""
        return self.last - self.first

    @property
    def extent(self) -> tuple[Fraction, Fraction]:
        """Where the result begins and ends, LR px from the beginning of the picture."""
        begin = self.first + self.start
        return begin, begin + self.length * self.pitch

    def coarsened(self, scale: int) -> "GridSide":
        """Return the side of a picture that a pass enlarges to this one, or to slightly more.

        It may reach beyond the end of the LR picture by less than one of its pixels.
        """
        return replace(self, length=-(-self.length // scale), pitch=scale * self.pitch)

    def sampling(self, scale: int) -> Sampling:
        """Return where the pixels lie on the LR pixels shown, enlarged `scale` times."""
        return Sampling(scale * self.shown, self.length, scale * self.start, scale * self.pitch)

    def whole_pixels(self) -> tuple[int, int]:
        """Return the first and the end of the LR pixels, from `first`, that are shown whole."""
        return ceil(self.start), floor(self.start + self.length * self.pitch)

    def reversed(self) -> Sampling:
        """Return where the LR pixels that are shown whole lie on the pixels of the result."""
        first, end = self.whole_pixels()
        return Sampling(self.length, end - first, (first - self.start) / self.pitch, 1 / self.pitch)


@dataclass(frozen=True)
class OutputGrid:
    """Pixels of a result.

    Attributes:
        rows: vertical side.
        columns: horizontal side.
        scale: factor of one pass of the network.
        factor: requested factor of width and height.
    """

    rows: GridSide
    columns: GridSide
    scale: int
    factor: Fraction

    @property
    def height(self) -> int:
        """Number of rows of the result."""
        return self.rows.length

    @property
    def width(self) -> int:
        """Number of columns of the result."""
        return self.columns.length

    @property
    def passes(self) -> int:
        """Number of passes of the network, from 0 to `MOST_PASSES`."""
        finest = min(self.rows.pitch, self.columns.pitch)
        if self.rows.pitch == self.columns.pitch == 1:
            return 0
        return 1 if finest * self.scale >= 1 else MOST_PASSES

    @property
    def is_plain(self) -> bool:
        """Whether the result is what one pass makes of the LR picture, without a reduction."""
        sides = (self.rows.sampling(self.scale), self.columns.sampling(self.scale))
        return all(side.is_identity for side in sides)

    @property
    def shown(self) -> Box:
        """The part of the LR picture that the result shows."""
        return Box(self.rows.first, self.columns.first, self.rows.last, self.columns.last)

    def crop(self, lr: Picture) -> Picture:
        """Return the part of the LR picture that the result shows."""
        if (self.rows.shown, self.columns.shown) == (lr.height, lr.width):
            return lr
        alpha = None if lr.alpha is None else self.shown.crop(lr.alpha)
        return replace(lr, pixels=self.shown.crop(lr.pixels), alpha=alpha)

    def coarsened(self) -> "OutputGrid":
        """Return the grid of the picture between two passes."""
        rows, columns = self.rows.coarsened(self.scale), self.columns.coarsened(self.scale)
        return OutputGrid(rows, columns, self.scale, self.factor / self.scale)


def output_grid(options: OutputOptions, height: int, width: int, scale: int) -> OutputGrid:
    """Return the grid of a result.

    Args:
        options: the size is one of `scale`, or `width` and `height`, or neither for `scale` times
            the LR picture.
        height: height of the LR picture.
        width: width of the LR picture.
        scale: factor of one pass of the network.

    Raises:
        InvalidOptions: if the factor is not one that the passes can reach.
    """
    factor = wanted_factor(options, height, width, scale)
    check_factor(factor, options, height, width, scale)
    if options.fit == COVER and options.height is not None and options.width is not None:
        rows = _cropped_side(height, options.height, factor)
        columns = _cropped_side(width, options.width, factor)
    else:
        rows, columns = _whole_side(height, factor), _whole_side(width, factor)
    return OutputGrid(rows, columns, scale, factor)


def wanted_factor(options: OutputOptions, height: int, width: int, scale: int) -> Fraction:
    """Return the factor of height and width that options ask for; see `output_grid`."""
    wanted = ((options.height, height), (options.width, width))
    factors = [Fraction(side, lr_side) for side, lr_side in wanted if side is not None]
    if not factors:
        return _as_written(scale if options.scale is None else options.scale)
    return max(factors) if options.fit == COVER else min(factors)


def _whole_side(shown: int, factor: Fraction) -> GridSide:
    """Return the side of a result that shows all LR pixels."""
    length = max(1, round_half_up(shown * factor))
    return GridSide(0, shown, length, Fraction(0), Fraction(shown, length))


def _cropped_side(lr_length: int, length: int, factor: Fraction) -> GridSide:
    """Return the side of a result that shows the middle of the LR picture.

    The crop begins at a whole pixel of the enlarged picture.
    """
    begin = floor((lr_length * factor - length) / 2) / factor
    end = begin + length / factor
    first = floor(begin)
    return GridSide(first, ceil(end), length, begin - first, 1 / factor)


def round_half_up(number: Fraction) -> int:
    """Round to the nearest whole number; halves go up.

    >>> [round_half_up(Fraction(n, 2)) for n in (1, 2, 3, 5)]
    [1, 1, 2, 3]
    """
    return floor(number + Fraction(1, 2))


def check_factor(
    factor: Fraction, options: OutputOptions, height: int, width: int, scale: int
) -> None:
    """Raise InvalidOptions unless a factor is at least 1, and at most what two passes reach."""
    most = min(MOST_SCALE, scale**MOST_PASSES)
    if LEAST_SCALE <= factor <= most:
        return
    wanted = {"scale": options.scale, "width": options.width, "height": options.height}
    received = ", ".join(f"{name}={value}" for name, value in wanted.items() if value is not None)
    raise InvalidOptions(
        f"Size must be from {LEAST_SCALE} to {most} times that of the picture, "
        f"{width} x {height} pixels. Received: {received}, a factor of {float(factor):.4g}."
    )


def _as_written(number: float) -> Fraction:
    """Return a number as the decimal that a caller wrote: 1.1, not the float next to it.

    >>> _as_written(1.1)
    Fraction(11, 10)
    """
    return Fraction(Decimal(repr(number)))
