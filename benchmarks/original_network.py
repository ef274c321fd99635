"""The original's network in TensorFlow, with random weights, to measure time and memory.

The cost of a convolution does not depend on its weights. The original differs from SRGAN's
generator in two ways: PReLU is relu(x) + alpha * (x - |x|) / 2, and pixels are shuffled one
channel at a time. LR is divided by the maximum of the picture; SR is in [-1, 1].

Source: https://github.com/IBM/MAX-Image-Resolution-Enhancer, core/SRGAN/ops.py,
core/model.py and core/srgan_controller.py.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.original import BLOCKS, FILTERS, list_convolutions
from core.model.graph import tf
from core.model.tiles import Network
from core.pixels import Float32Array, Uint8Array

BN_EPSILON = 0.001
BN_VARIANCE = 100.0  # so that a residual branch adds little, as a trained one does

Weight = Callable[[str, Float32Array], tf.Tensor]
"""Name and value -> a tensor with this value in the graph."""
Shuffle = Callable[[tf.Tensor], tf.Tensor]
"""(1, H, W, 4C) -> (1, 2H, 2W, C)."""


class Generator:
    """The network as a function of tensors.

    Args:
        weight: creates a weight in the graph, as a variable or as a constant.
        shuffle: shuffles channels to pixels.
    """

    def __init__(self, weight: Weight, shuffle: Shuffle) -> None:
        self.weight = weight
        self.shuffle = shuffle
        self.convolutions = {c.name: c for c in list_convolutions()}

    def __call__(self, lr: tf.Tensor) -> tf.Tensor:
        """Upscale LR (1, H, W, 3) float32 in [0, 1] to SR (1, 4H, 4W, 3), about [-1, 1]."""
        head = self.prelu(self.convolve(lr, "input"), "input")
        trunk = head
        for block in range(BLOCKS):
            trunk = self.residual_block(trunk, f"block{block}")
        x = head + self.normalise(self.convolve(trunk, "trunk"), "trunk")
        for stage in ("x2", "x4"):
            x = self.prelu(self.shuffle(self.convolve(x, stage)), stage)
        return self.convolve(x, "output")

    def residual_block(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply k3 conv - BN - PReLU - k3 conv - BN, and add the input."""
        y = self.normalise(self.convolve(x, f"{name}_conv1"), f"{name}_conv1")
        y = self.prelu(y, name)
        return x + self.normalise(self.convolve(y, f"{name}_conv2"), f"{name}_conv2")

    def convolve(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply the named convolution."""
        c = self.convolutions[name]
        deviation = math.sqrt(1 / (c.kernel**2 * c.channels))
        shape = (c.kernel, c.kernel, c.channels, c.filters)
        y = tf.nn.conv2d(x, self.normal(f"{name}/kernel", shape, deviation), 1, "SAME")
        if not c.bias:
            return y
        return tf.nn.bias_add(y, self.normal(f"{name}/bias", (c.filters,), 0.01))

    def normalise(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply batch normalisation in inference mode, without a scale."""
        ones = np.ones(FILTERS, np.float32)
        y, _, _ = tf.compat.v1.nn.fused_batch_norm(
            x,
            tf.constant(ones),
            self.normal(f"{name}/beta", (FILTERS,), 0.01),
            self.normal(f"{name}/mean", (FILTERS,), 0.1),
            self.weight(f"{name}/variance", BN_VARIANCE * ones),
            epsilon=BN_EPSILON,
            is_training=False,
        )
        return y

    def prelu(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply PReLU in the original's form."""
        alpha = self.normal(f"{name}/alpha", (FILTERS,), 0.2)
        return tf.nn.relu(x) + alpha * (x - tf.abs(x)) * 0.5

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> tf.Tensor:
        """Return a weight of normally distributed numbers; the name is the seed."""
        random = np.random.default_rng(zlib.crc32(name.encode()))
        return self.weight(name, random.normal(0, deviation, shape).astype(np.float32))


def shuffle_by_channel(x: tf.Tensor) -> tf.Tensor:
    """Shuffle (1, H, W, 4C) to (1, 2H, 2W, C) one channel at a time, as the original does."""
    _, height, width, _ = tf.unstack(tf.shape(x))
    channels = x.shape[-1] // 4
    planes = []
    for quarter in tf.split(x, channels, axis=3):
        pairs = tf.reshape(quarter, (1, height, width, 2, 2))
        rows = tf.transpose(pairs, (0, 1, 3, 2, 4))
        planes.append(tf.reshape(rows, (1, 2 * height, 2 * width, 1)))
    return tf.concat(planes, axis=3)


def shuffle_at_once(x: tf.Tensor) -> tf.Tensor:
    """Shuffle in one operation; only the order of the channels differs."""
    return tf.nn.depth_to_space(x, 2)


SHUFFLES: dict[str, Shuffle] = {"by channel": shuffle_by_channel, "at once": shuffle_at_once}


def uint8_from_signed(sr: tf.Tensor) -> tf.Tensor:
    """About [-1, 1] float32 -> [0, 255] uint8, clipped."""
    return tf.image.convert_image_dtype((sr + 1) / 2, tf.uint8, saturate=True)


def load_original(shuffle: str, threads: int = 0) -> Network:
    """Load the network as the original runs it: variables, a session, no tiles.

    Args:
        shuffle: key of SHUFFLES.
        threads: number of threads of one operation; 0 for one per core.

    Returns:
        A function from LR (H, W, 3) uint8 to SR (4H, 4W, 3) uint8.
    """
    graph = tf.Graph()
    with graph.as_default():
        lr = tf.compat.v1.placeholder(tf.float32, (1, None, None, 3), "lr")
        sr = uint8_from_signed(Generator(create_variable, SHUFFLES[shuffle])(lr))
        initialise = tf.compat.v1.global_variables_initializer()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=graph, config=config)
    session.run(initialise)

    def upscale(pixels: Uint8Array) -> Uint8Array:
        unit = (pixels / pixels.max()).astype(np.float32)
        return session.run(sr, {lr: unit[None]})[0]

    return upscale


def save_frozen(path: Path) -> None:
    """Write the network as a frozen graph from `lr:0` to `sr:0`, both uint8."""
    graph = tf.Graph()
    with graph.as_default():
        lr = tf.compat.v1.placeholder(tf.uint8, (1, None, None, 3), "lr")
        unit = tf.cast(lr, tf.float32) / 255.0
        tf.identity(uint8_from_signed(Generator(create_constant, shuffle_at_once)(unit)), "sr")
    path.write_bytes(graph.as_graph_def().SerializeToString())


def create_variable(name: str, value: Float32Array) -> tf.Variable:
    """Create a weight as a variable."""
    return tf.compat.v1.get_variable(name, initializer=value)


def create_constant(name: str, value: Float32Array) -> tf.Tensor:
    """Create a weight as a constant."""
    return tf.constant(value, name=name)
