"""The generator as it is served: its last convolution before the last shuffle.

On the x4 grid the last convolution makes 3 channels of few, which keeps a processor's vectors
half empty, and what it reads must be written in another order first. The same sums can be
taken on the x2 grid, for all four sub-pixels of a pixel at once: most of the larger kernel is
zero, yet the whole network is a tenth faster, and the largest of its tensors is there once
instead of twice.
"""

import keras
import numpy as np

from training.networks import Architecture, build_generator

TAIL = "tail"
FACTOR = 2  # of the last shuffle
SUB_PIXELS = FACTOR**2


def served_generator(generator: keras.Model, architecture: Architecture) -> keras.Model:
    """The same function of a generator, with the network arranged for inference."""
    served = build_generator(architecture, tail_first=True)
    for layer in served.layers:
        weights = generator.get_layer(layer.name).get_weights()
        if layer.name == TAIL:
            kernel, bias = weights
            weights = [kernel_before_shuffle(kernel), np.tile(bias, SUB_PIXELS)]
        layer.set_weights(weights)
    return served


def trained_tail(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Kernel and bias of the last convolution as they were trained, from the served ones."""
    return [kernel_after_shuffle(kernel), bias[: len(bias) // SUB_PIXELS]]


def kernel_before_shuffle(kernel: np.ndarray) -> np.ndarray:
    """(3, 3, C, N) behind a shuffle -> (3, 3, 4*C, 4*N) before it, equal in what it computes."""
    _, _, channels, outputs = kernel.shape
    shape = (3, 3, SUB_PIXELS, channels, SUB_PIXELS, outputs)
    before = np.zeros(shape, kernel.dtype)
    for target, tap, row, column, source in placements():
        before[row, column, source, :, target, :] = kernel[tap]
    return before.reshape(3, 3, SUB_PIXELS * channels, SUB_PIXELS * outputs)


def kernel_after_shuffle(kernel: np.ndarray) -> np.ndarray:
    """What `kernel_before_shuffle` was given."""
    _, _, channels, outputs = (*kernel.shape[:2], *(n // SUB_PIXELS for n in kernel.shape[2:]))
    before = kernel.reshape(3, 3, SUB_PIXELS, channels, SUB_PIXELS, outputs)
    after = np.zeros((3, 3, channels, outputs), kernel.dtype)
    for target, tap, row, column, source in placements():
        after[tap] = before[row, column, source, :, target, :]
    return after


def placements():
    """Where each tap of each sub-pixel goes: (sub-pixel, tap, row, column, its sub-pixel)."""
    for i, j, a, b in np.ndindex(FACTOR, FACTOR, 3, 3):
        row, source_i = divmod(i + a - 1, FACTOR)
        column, source_j = divmod(j + b - 1, FACTOR)
        yield i * FACTOR + j, (a, b), row + 1, column + 1, source_i * FACTOR + source_j
