"""The architecture of the network of IBM's MAX Image Resolution Enhancer.

It is the generator of SRGAN: a 9 x 9 convolution, sixteen residual blocks, two stages that
double width and height, a 9 x 9 convolution.

Source: Ledig et al. 2017, arXiv:1609.04802, fig. 4;
https://github.com/IBM/MAX-Image-Resolution-Enhancer, core/SRGAN/model.py, after
https://github.com/brade31919/SRGAN-tensorflow.
"""

import math
from typing import NamedTuple

BLOCKS = 16
FILTERS = 64
SCALE = 4


class Convolution(NamedTuple):
    """One convolution; its grid has `grid` times the width and height of LR."""

    name: str
    kernel: int
    channels: int
    filters: int
    grid: int = 1
    bias: bool = False


def list_convolutions() -> list[Convolution]:
    """Return all convolutions from input to output."""
    blocks = [
        Convolution(f"block{block}_conv{half}", 3, FILTERS, FILTERS)
        for block in range(BLOCKS)
        for half in (1, 2)
    ]
    return [
        Convolution("input", 9, 3, FILTERS, bias=True),
        *blocks,
        Convolution("trunk", 3, FILTERS, FILTERS),
        Convolution("x2", 3, FILTERS, 4 * FILTERS, bias=True),
        Convolution("x4", 3, FILTERS, 4 * FILTERS, grid=2, bias=True),
        Convolution("output", 9, FILTERS, 3, grid=4, bias=True),
    ]


def mflop_per_lr_pixel() -> float:
    """Return the arithmetic of the convolutions, in 1e6 operations (2 per multiply-add)."""
    return (
        sum(2 * c.kernel**2 * c.channels * c.filters * c.grid**2 for c in list_convolutions()) / 1e6
    )


def radius() -> int:
    """Return the number of LR pixels on each side on which an SR pixel depends."""
    return math.ceil(sum((c.kernel // 2) / c.grid for c in list_convolutions()))
