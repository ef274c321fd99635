"""Builds the graph of a network from its weights, layer by layer.

Every layer returns a `Feature`, which states how far it sees. So radius and arithmetic of a
network follow from its graph.

Weights have the layout of PyTorch, and channels that are shuffled to pixels have its order: all
sub-pixels of a channel are adjacent. Both are converted here, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy as np

from core.model.graph import tf
from core.pixels import LEVELS
from training.convert import ConversionFailed

INPUT, OUTPUT = "lr", "sr"  # names of the graph's tensors
CHANNELS = 3


@dataclass(frozen=True)
class Feature:
    """A tensor (B, h, w, C) of a network.

    Attributes:
        tensor: float32.
        channels: C.
        grid: its pixels for each LR pixel, on each side.
        radius: LR pixels on each side that one of its pixels depends on.
    """

    tensor: tf.Tensor
    channels: int
    grid: Fraction
    radius: Fraction


class Weights:
    """Tensors of a network by name, each with the layout of PyTorch.

    Args:
        tensors: float32 arrays by the names that the architecture uses.
        names: names in the file by the names that the architecture uses, where they differ.
    """

    def __init__(
        self, tensors: Mapping[str, np.ndarray], names: Mapping[str, str] | None = None
    ) -> None:
        self.tensors = tensors
        self._names = names or {}
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    @property
    def count(self) -> int:
        """Number of weights."""
        return sum(array.size for array in self.tensors.values())

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Return the shape of a tensor of a rank, which decides about the shapes of others."""
        shape = self._find(name).shape
        if len(shape) != rank:
            raise ConversionFailed(
                f"`{self._in_file(name)}` must have {rank} axes. Received: {list(shape)}"
            )
        return shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Return a tensor that must have a shape.

        Raises:
            ConversionFailed: if there is none, or if it has another shape.
        """
        array = self._find(name)
        if array.shape != shape:
            raise ConversionFailed(
                f"`{self._in_file(name)}` must have the shape {list(shape)}. "
                f"Received: {list(array.shape)}"
            )
        self._used.add(name)
        return array

    def ignore(self, *names: str) -> None:
        """Leave tensors out that have no effect on the result."""
        self._used.update(names)

    def check_all_used(self, architecture: str) -> None:
        """Raise ConversionFailed if there are tensors that the architecture does not have."""
        unknown = sorted(self._in_file(name) for name in self.tensors.keys() - self._used)
        if unknown:
            raise ConversionFailed(
                f"The file must have the tensors of {architecture} only. Received also: "
                f"{', '.join(unknown[:3])}{' ...' if len(unknown) > 3 else ''}"
            )

    def _find(self, name: str) -> np.ndarray:
        if name not in self.tensors:
            raise ConversionFailed(
                f"The file must have the tensor `{name}`. "
                f"Received: {len(self.tensors)} others, without it"
            )
        return self.tensors[name]

    def _in_file(self, name: str) -> str:
        return self._names.get(name, name)


class LayerBuilder:
    """Adds the layers of a network to the default graph of TensorFlow.

    Args:
        weights: of the network.
        in_half: whether kernels are stored in half precision.

    Attributes:
        mflop: arithmetic of all convolutions so far, 1e6 operations per LR pixel; a
            multiply-add counts as 2.
    """

    def __init__(self, weights: Weights, *, in_half: bool) -> None:
        self.weights = weights
        self.mflop = 0.0
        self._in_half = in_half

    def conv(self, x: Feature, name: str, filters: int, side: int = 3) -> Feature:
        """Convolve with the kernel and bias of a name, zero-padded to the same size."""
        kernel = self.weights.take(f"{name}.weight", filters, x.channels, side, side)
        bias = self.weights.take(f"{name}.bias", filters)
        return self.convolve(x, name, kernel, bias)

    def conv_after_unshuffle(self, x: Feature, name: str, filters: int, factor: int) -> Feature:
        """Move blocks of `factor` x `factor` pixels to channels, then convolve."""
        inputs = x.channels * factor**2
        kernel = self.weights.take(f"{name}.weight", filters, inputs, 3, 3)
        bias = self.weights.take(f"{name}.bias", filters)
        order = np.arange(inputs).reshape(x.channels, factor**2).T.ravel()
        coarse = Feature(
            tf.nn.space_to_depth(x.tensor, factor),
            inputs,
            x.grid / factor,
            x.radius + (factor - 1) / x.grid,
        )
        return self.convolve(coarse, name, kernel[:, order], bias)

    def conv_before_shuffle(self, x: Feature, name: str, channels: int, factor: int) -> Feature:
        """Convolve, then move the channels of sub-pixels to pixels: `factor` times as fine."""
        sub_pixels = factor**2
        kernel = self.weights.take(f"{name}.weight", channels * sub_pixels, x.channels, 3, 3)
        bias = self.weights.take(f"{name}.bias", channels * sub_pixels)
        order = np.arange(channels * sub_pixels).reshape(channels, sub_pixels).T.ravel()
        y = self.convolve(x, name, kernel[order], bias[order])
        shuffled = tf.nn.depth_to_space(y.tensor, factor)
        return replace(y, tensor=shuffled, channels=channels, grid=x.grid * factor)

    def convolve(self, x: Feature, name: str, kernel: np.ndarray, bias: np.ndarray) -> Feature:
        """Convolve with a kernel (outputs, inputs, side, side) and a bias (outputs,)."""
        filters, inputs, side, _ = kernel.shape
        self.mflop += float(2 * side**2 * inputs * filters * x.grid**2) / 1e6
        values = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
        if self._in_half:
            half = tf.constant(values.astype(np.float16), name=f"{name}.half")
            taps = tf.cast(half, tf.float32, name=f"{name}.weight")
        else:
            taps = tf.constant(values, name=f"{name}.weight")
        y = tf.nn.conv2d(x.tensor, taps, 1, "SAME", name=f"{name}.conv")
        y = tf.nn.bias_add(y, tf.constant(bias, name=f"{name}.bias"), name=name)
        return Feature(y, filters, x.grid, x.radius + (side // 2) / x.grid)

    def prelu(self, x: Feature, name: str) -> Feature:
        """Multiply negative values by the slope of their channel."""
        slopes = self.weights.take(f"{name}.weight", x.channels)
        slope = tf.constant(slopes, name=f"{name}.weight")
        if ((slopes >= 0) & (slopes <= 1)).all():
            return replace(x, tensor=tf.maximum(x.tensor, slope * x.tensor, name=name))
        return replace(x, tensor=x.tensor + (slope - 1) * tf.minimum(x.tensor, 0.0))


def leaky_relu(x: Feature, slope: float) -> Feature:
    """Multiply negative values by a slope; 0 for ReLU."""
    y = tf.nn.relu(x.tensor) if slope == 0 else tf.nn.leaky_relu(x.tensor, slope)
    return replace(x, tensor=y)


def silu(x: Feature) -> Feature:
    """Multiply every value by its sigmoid."""
    return replace(x, tensor=x.tensor * tf.sigmoid(x.tensor))


def weigh_by_sigmoid(x: Feature, y: Feature) -> Feature:
    """Multiply by the sigmoid of y, from which 0.5 is subtracted."""
    weight = tf.sigmoid(y.tensor) - 0.5
    return replace(x, tensor=x.tensor * weight, radius=max(x.radius, y.radius))


def multiply(x: Feature, factor: float) -> Feature:
    """Multiply by a number."""
    return replace(x, tensor=x.tensor * factor)


def normalise(x: Feature, mean: tuple[float, ...]) -> Feature:
    """Return levels, as a difference from a mean colour in unit range."""
    return replace(x, tensor=(x.tensor - tf.constant(mean, tf.float32)) * LEVELS)


def undo_normalise(x: Feature, mean: tuple[float, ...]) -> Feature:
    """Return the unit range for what `normalise` returns."""
    return replace(x, tensor=x.tensor / LEVELS + tf.constant(mean, tf.float32))


def add(x: Feature, y: Feature, weight: float = 1.0) -> Feature:
    """Return x + weight * y."""
    scaled = y.tensor if weight == 1 else tf.constant(weight, tf.float32) * y.tensor
    return replace(x, tensor=x.tensor + scaled, radius=max(x.radius, y.radius))


def concat(*features: Feature) -> Feature:
    """Join the channels of features."""
    return replace(
        features[0],
        tensor=tf.concat([x.tensor for x in features], -1),
        channels=sum(x.channels for x in features),
        radius=max(x.radius for x in features),
    )


def enlarge(x: Feature, factor: int) -> Feature:
    """Repeat every pixel `factor` x `factor` times."""
    size = tf.shape(x.tensor)[1:3] * factor
    y = tf.raw_ops.ResizeNearestNeighbor(images=x.tensor, size=size)
    return replace(x, tensor=y, grid=x.grid * factor)


def enlarge_smoothly(x: Feature, factor: int) -> Feature:
    """Interpolate linearly between the centres of pixels, constant beyond the last ones."""
    size = tf.shape(x.tensor)[1:3] * factor
    y = tf.raw_ops.ResizeBilinear(images=x.tensor, size=size, half_pixel_centers=True)
    return replace(x, tensor=y, grid=x.grid * factor, radius=x.radius + 1 / x.grid)


@dataclass(frozen=True)
class BuiltGraph:
    """A serialised graph and what follows from it.

    Attributes:
        graph_def: the serialised graph, uint8 to uint8.
        radius: LR pixels on each side that an SR pixel depends on.
        mflop: arithmetic of all convolutions, 1e6 operations per LR pixel.
    """

    graph_def: bytes
    radius: int
    mflop: float


def build_graph(network, weights: Weights, *, in_half: bool) -> BuiltGraph:
    """Build the graph of a network, with constants for its weights.

    Args:
        network: architecture from `training.convert.architectures`.
        weights: of the network.
        in_half: whether kernels are stored in half precision.

    Raises:
        ConversionFailed: if tensors are missing, superfluous or of another shape.
    """
    graph = tf.Graph()
    with graph.as_default():
        lr = tf.compat.v1.placeholder(tf.uint8, (None, None, None, CHANNELS), INPUT)
        unit = tf.cast(lr, tf.float32) / LEVELS
        height, width = (tf.shape(unit)[axis] for axis in (1, 2))
        for axis, length in ((1, height), (2, width)):
            unit = extend(unit, length, network.stride, axis)
        builder = LayerBuilder(weights, in_half=in_half)
        sr = network.upscale(builder, Feature(unit, CHANNELS, Fraction(1), Fraction(0)))
        whole = sr.tensor[:, : network.scale * height, : network.scale * width]
        levels = tf.round(tf.clip_by_value(whole * LEVELS, 0, LEVELS))
        tf.identity(tf.cast(levels, tf.uint8), OUTPUT)
    weights.check_all_used(network.name)
    graph_def = graph.as_graph_def().SerializeToString(deterministic=True)
    return BuiltGraph(graph_def, ceil(sr.radius), builder.mflop)


def extend(pixels: tf.Tensor, length: tf.Tensor, stride: int, axis: int) -> tf.Tensor:
    """Extend an axis of a length by its reflection to a multiple of `stride`.

    The last pixel is not repeated, as in the published programs of these networks.
    """
    if stride == 1:
        return pixels
    positions = tf.range(length + -length % stride)
    reflected = tf.maximum(2 * (length - 1) - positions, 0)
    return tf.gather(pixels, tf.where(positions < length, positions, reflected), axis=axis)
