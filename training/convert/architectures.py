"""Architectures that can be converted: their sizes and their layers.

Each class describes one architecture: its sizes, which follow from the shapes of tensors, and its
layers. `training.convert.recognition` chooses the class.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np

from core.pixels import LEVELS
from training.convert import ConversionFailed
from training.convert.builder import (
    CHANNELS,
    Feature,
    LayerBuilder,
    Weights,
    add,
    concat,
    enlarge,
    enlarge_smoothly,
    leaky_relu,
    multiply,
    normalise,
    silu,
    undo_normalise,
    weigh_by_sigmoid,
)

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K in unit range, which EDSR and SPAN subtract. Source: Lim et al. 2017,
EDSR, arXiv:1707.02921, sec. 4.2."""

LEAKY = 0.2
"""Slope of the leaky ReLU of RRDBNet. Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219."""

SLIGHTLY_LEAKY = 0.1
"""Slope of the leaky ReLU of SRVGGNetCompact and MSRResNet."""

RESIDUAL_SHARE = 0.2
"""Weight of the residuals of RRDBNet. Source: ESRGAN, sec. 3.1."""

PRELU, RELU, LEAKY_RELU = "prelu", "relu", "leakyrelu"
ACTIVATIONS = (RELU, LEAKY_RELU)
"""Activations without weights, which tensors do not tell apart."""

WIDE_EDSR = 256
"""Filters from which on EDSR was published with a weight of 0.1 for its residuals, instead of 1."""


@dataclass(frozen=True)
class Choices:
    """Properties of a network that its tensors do not show.

    Attributes:
        activation: of an SRVGGNetCompact without PReLU, one of `ACTIVATIONS`; None if not stated.
        residual_scale: weight of the residuals of an EDSR; None for that of published networks.
    """

    activation: str | None = None
    residual_scale: float | None = None


@dataclass(frozen=True)
class RRDBNet:
    """Residual-in-residual dense blocks: ESRGAN, BSRGAN, Real-ESRGAN.

    Source: Wang et al. 2018, ESRGAN, arXiv:1809.00219, fig. 4; Wang et al. 2021, Real-ESRGAN,
    arXiv:2107.10833, sec. 3.3 (pixel unshuffle).
    """

    name: ClassVar[str] = "RRDBNet"
    blocks: int
    filters: int
    growth: int
    doublings: int
    stride: int

    @property
    def scale(self) -> int:
        """SR pixels per LR pixel, on each side."""
        return 2**self.doublings // self.stride

    @classmethod
    def from_weights(cls, weights: Weights, choices: Choices) -> "RRDBNet":
        """Return the sizes of a network."""
        del choices
        growth = weights.shape("body.0.rdb1.conv1.weight", 4)[0]
        filters, inputs = weights.shape("conv_first.weight", 4)[:2]
        outputs = weights.shape("conv_last.weight", 4)[0]
        stride = {4: 2, 16: 4}.get(inputs // outputs, 1)
        check_channels(inputs // stride**2, outputs)
        doublings = max(count(weights.tensors, r"conv_up(\d+)\.weight") - 1, 0)
        return cls(count(weights.tensors, r"body\.(\d+)\."), filters, growth, doublings, stride)

    def upscale(self, net: LayerBuilder, lr: Feature) -> Feature:
        """Add the layers of the network."""
        if self.stride == 1:
            head = net.conv(lr, "conv_first", self.filters)
        else:
            head = net.conv_after_unshuffle(lr, "conv_first", self.filters, self.stride)
        x = head
        for index in range(self.blocks):
            y = x
            for dense in range(1, 4):
                y = self.dense_block(net, y, f"body.{index}.rdb{dense}")
            x = add(x, y, RESIDUAL_SHARE)
        x = add(head, net.conv(x, "conv_body", self.filters))
        for index in range(1, self.doublings + 1):
            x = leaky_relu(net.conv(enlarge(x, 2), f"conv_up{index}", self.filters), LEAKY)
        x = leaky_relu(net.conv(x, "conv_hr", self.filters), LEAKY)
        return net.conv(x, "conv_last", CHANNELS)

    def dense_block(self, net: LayerBuilder, x: Feature, name: str) -> Feature:
        """Add five convolutions; each sees the results of all before it."""
        seen = x
        for index in range(1, 5):
            y = leaky_relu(net.conv(seen, f"{name}.conv{index}", self.growth), LEAKY)
            seen = concat(seen, y)
        return add(x, net.conv(seen, f"{name}.conv5", self.filters), RESIDUAL_SHARE)


@dataclass(frozen=True)
class SRVGGNetCompact:
    """A chain of convolutions on the LR grid, added to the enlarged picture.

    Source: Wang et al. 2021, Real-ESRGAN, arXiv:2107.10833, as published with its programs.
    """

    name: ClassVar[str] = "SRVGGNetCompact"
    stride: ClassVar[int] = 1
    convolutions: int
    filters: int
    scale: int
    activation: str

    @classmethod
    def from_weights(cls, weights: Weights, choices: Choices) -> "SRVGGNetCompact":
        """Return the sizes of a network."""
        last = count(weights.tensors, r"body\.(\d+)\.") - 1
        filters, inputs = weights.shape("body.0.weight", 4)[:2]
        outputs = weights.shape(f"body.{last}.weight", 4)[0]
        check_channels(inputs)
        activation = PRELU if "body.1.weight" in weights else choices.activation
        if activation is None:
            raise ConversionFailed(
                "--activation must be stated for an SRVGGNetCompact without PReLU, as its tensors "
                f"do not show it: {' or '.join(ACTIVATIONS)}. Received: none"
            )
        scale = shuffled_scale(f"body.{last}.weight", outputs, CHANNELS)
        return cls(last // 2 - 1, filters, scale, activation)

    def upscale(self, net: LayerBuilder, lr: Feature) -> Feature:
        """Add the layers of the network."""
        x = lr
        for index in range(self.convolutions + 1):
            x = net.conv(x, f"body.{2 * index}", self.filters)
            if self.activation == PRELU:
                x = net.prelu(x, f"body.{2 * index + 1}")
            else:
                x = leaky_relu(x, SLIGHTLY_LEAKY if self.activation == LEAKY_RELU else 0)
        last = f"body.{2 * self.convolutions + 2}"
        return add(net.conv_before_shuffle(x, last, CHANNELS, self.scale), enlarge(lr, self.scale))


@dataclass(frozen=True)
class SPAN:
    """Blocks whose result is weighted by a sigmoid of itself, without parameters.

    Source: Wan et al. 2024, Swift Parameter-free Attention Network, arXiv:2311.12770, fig. 2.
    """

    name: ClassVar[str] = "SPAN"
    stride: ClassVar[int] = 1
    filters: int
    scale: int
    is_normalised: bool

    @classmethod
    def from_weights(cls, weights: Weights, choices: Choices) -> "SPAN":
        """Return the sizes of a network."""
        del choices
        name = "conv_1.sk.weight" if "conv_1.sk.weight" in weights else "conv_1.eval_conv.weight"
        filters, inputs = weights.shape(name, 4)[:2]
        check_channels(inputs)
        outputs = weights.shape("upsampler.0.weight", 4)[0]
        scale = shuffled_scale("upsampler.0.weight", outputs, CHANNELS)
        return cls(filters, scale, "no_norm" not in weights)

    def upscale(self, net: LayerBuilder, lr: Feature) -> Feature:
        """Add the layers of the network."""
        net.weights.ignore("no_norm")
        x = normalise(lr, RGB_MEAN) if self.is_normalised else lr
        x = head = self.merged_conv(net, x, "conv_1")
        results, hidden = [], head
        for index in range(1, 7):
            x, hidden = self.block(net, x, f"block_{index}")
            results.append(x)
        tail = self.merged_conv(net, x, "conv_2")
        x = concat(head, tail, results[0], hidden)
        x = net.conv(x, "conv_cat", self.filters, side=1)
        return net.conv_before_shuffle(x, "upsampler.0", CHANNELS, self.scale)

    def block(self, net: LayerBuilder, x: Feature, name: str) -> tuple[Feature, Feature]:
        """Add a block; return its result, and the activation of its first convolution."""
        first = silu(self.merged_conv(net, x, f"{name}.c1_r"))
        second = silu(self.merged_conv(net, first, f"{name}.c2_r"))
        third = self.merged_conv(net, second, f"{name}.c3_r")
        return weigh_by_sigmoid(add(third, x), third), first

    def merged_conv(self, net: LayerBuilder, x: Feature, name: str) -> Feature:
        """Add one convolution for a branch of three and a branch of one."""
        merged = f"{name}.eval_conv"
        if f"{name}.sk.weight" not in net.weights:
            return net.conv(x, merged, self.filters)
        net.weights.ignore(f"{merged}.weight", f"{merged}.bias")  # it repeats the branches
        return net.convolve(x, name, *merge_branches(net.weights, name, x.channels, self.filters))


@dataclass(frozen=True)
class EDSR:
    """Residual blocks and sub-pixel convolutions, without batch normalisation.

    Source: Lim et al. 2017, EDSR, arXiv:1707.02921, fig. 3.
    """

    name: ClassVar[str] = "EDSR"
    stride: ClassVar[int] = 1
    blocks: int
    filters: int
    scale: int
    residual_scale: float

    @classmethod
    def from_weights(cls, weights: Weights, choices: Choices) -> "EDSR":
        """Return the sizes of a network."""
        filters, inputs = weights.shape("conv_first.weight", 4)[:2]
        check_channels(inputs, weights.shape("conv_last.weight", 4)[0])
        first = weights.shape("upsample.0.weight", 4)[0]
        scale = shuffled_scale("upsample.0.weight", first, filters)
        scale *= 2 if "upsample.2.weight" in weights else 1
        share = choices.residual_scale
        if share is None:
            share = 0.1 if filters >= WIDE_EDSR else 1.0
        return cls(count(weights.tensors, r"body\.(\d+)\."), filters, scale, share)

    def upscale(self, net: LayerBuilder, lr: Feature) -> Feature:
        """Add the layers of the network."""
        has_shifts = "sub_mean.weight" in net.weights
        if has_shifts:
            x = net.conv(multiply(lr, LEVELS), "sub_mean", CHANNELS, side=1)
        else:
            x = normalise(lr, RGB_MEAN)
        head = net.conv(x, "conv_first", self.filters)
        x = residual_chain(net, head, self.blocks, self.residual_scale)
        x = add(head, net.conv(x, "conv_after_body", self.filters))
        steps = (0, 2) if self.scale == 4 else (0,)
        for step in steps:
            x = net.conv_before_shuffle(x, f"upsample.{step}", self.filters, 2)
        x = net.conv(x, "conv_last", CHANNELS)
        if has_shifts:
            return multiply(net.conv(x, "add_mean", CHANNELS, side=1), 1 / LEVELS)
        return undo_normalise(x, RGB_MEAN)


@dataclass(frozen=True)
class MSRResNet:
    """SRResNet without batch normalisation, added to the enlarged picture.

    Source: Ledig et al. 2017, SRResNet, arXiv:1609.04802; Wang et al. 2018, ESRGAN,
    arXiv:1809.00219, sec. 4.1, as published with its programs.
    """

    name: ClassVar[str] = "MSRResNet"
    stride: ClassVar[int] = 1
    blocks: int
    filters: int
    scale: int

    @classmethod
    def from_weights(cls, weights: Weights, choices: Choices) -> "MSRResNet":
        """Return the sizes of a network."""
        del choices
        filters, inputs = weights.shape("conv_first.weight", 4)[:2]
        check_channels(inputs, weights.shape("conv_last.weight", 4)[0])
        first = weights.shape("upconv1.weight", 4)[0]
        scale = shuffled_scale("upconv1.weight", first, filters)
        scale *= 2 if "upconv2.weight" in weights else 1
        return cls(count(weights.tensors, r"body\.(\d+)\."), filters, scale)

    def upscale(self, net: LayerBuilder, lr: Feature) -> Feature:
        """Add the layers of the network."""
        x = leaky_relu(net.conv(lr, "conv_first", self.filters), SLIGHTLY_LEAKY)
        x = residual_chain(net, x, self.blocks, 1.0)
        for index in range(1, self.scale // 2 + 1):
            x = net.conv_before_shuffle(x, f"upconv{index}", self.filters, 2)
            x = leaky_relu(x, SLIGHTLY_LEAKY)
        x = leaky_relu(net.conv(x, "conv_hr", self.filters), SLIGHTLY_LEAKY)
        return add(net.conv(x, "conv_last", CHANNELS), enlarge_smoothly(lr, self.scale))


Architecture = RRDBNet | SRVGGNetCompact | SPAN | EDSR | MSRResNet


def residual_chain(net: LayerBuilder, x: Feature, blocks: int, share: float) -> Feature:
    """Add blocks of convolution - ReLU - convolution; `share` of each is added to its input."""
    for index in range(blocks):
        y = leaky_relu(net.conv(x, f"body.{index}.conv1", x.channels), 0)
        x = add(x, net.conv(y, f"body.{index}.conv2", x.channels), share)
    return x


def merge_branches(
    weights: Weights, name: str, inputs: int, filters: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of one convolution that computes two branches of SPAN.

    One branch has kernels of 1 x 1, 3 x 3 and 1 x 1 pixels, without anything between them; the
    other one has a kernel of 1 x 1. The sums are computed in double precision.
    """
    widened = weights.shape(f"{name}.conv.0.weight", 4)[0]
    between = weights.shape(f"{name}.conv.1.weight", 4)[0]
    shapes = {
        "conv.0": (widened, inputs, 1, 1),
        "conv.1": (between, widened, 3, 3),
        "conv.2": (filters, between, 1, 1),
        "sk": (filters, inputs, 1, 1),
    }
    kernels, biases = zip(
        *(
            (
                weights.take(f"{name}.{branch}.weight", *shape).astype(np.float64),
                weights.take(f"{name}.{branch}.bias", shape[0]).astype(np.float64),
            )
            for branch, shape in shapes.items()
        ),
        strict=True,
    )
    first, middle, last, skip = kernels
    kernel = np.einsum("om,mnyx,ni->oiyx", last[..., 0, 0], middle, first[..., 0, 0])
    kernel[:, :, 1, 1] += skip[..., 0, 0]
    bias = last[..., 0, 0] @ (np.einsum("mnyx,n->m", middle, biases[0]) + biases[1])
    bias += biases[2] + biases[3]
    return kernel.astype(np.float32), bias.astype(np.float32)


def count(names: Iterable[str], pattern: str) -> int:
    """Return one more than the largest number that a pattern finds in names; 0 if none."""
    matches = (re.match(pattern, name) for name in names)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def check_channels(inputs: int, outputs: int = CHANNELS) -> None:
    """Raise ConversionFailed unless a network maps colour to colour."""
    if (inputs, outputs) != (CHANNELS, CHANNELS):
        raise ConversionFailed(
            f"The network must map {CHANNELS} channels to {CHANNELS}. "
            f"Received: {inputs} to {outputs}"
        )


def shuffled_scale(name: str, outputs: int, channels: int) -> int:
    """Return the factor with which outputs of a convolution are shuffled to channels.

    Raises:
        ConversionFailed: if there is none.
    """
    factor = isqrt(outputs // channels)
    if factor < 1 or outputs != channels * factor**2:
        raise ConversionFailed(
            f"`{name}` must have {channels} times a square number of filters. Received: {outputs}"
        )
    return factor
