"""Runs networks by their reference definitions in PyTorch, to compare converted graphs with.

RRDBNet, SRVGGNetCompact and SPAN are those of spandrel. It lacks EDSR and MSRResNet, so these are
written here, by functions of PyTorch alone: they share nothing with the conversion.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from training.convert import architectures
from training.convert.architectures import RGB_MEAN, Architecture
from training.convert.recognition import Recognised
from training.convert.weights import import_torch

ReferenceNetwork = Callable[[np.ndarray], np.ndarray]
"""LR (H, W, 3) -> SR (scale*H, scale*W, 3), both float32 in unit range, not clipped."""

TORCHVISION = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)
"""Modules that spandrel imports for architectures that are not converted."""


def load_reference(network: Recognised) -> ReferenceNetwork:
    """Return the reference definition of a network, with its weights."""
    torch = import_torch()
    state = {name: torch.from_numpy(array) for name, array in network.weights.tensors.items()}
    run = REFERENCES[type(network.architecture)](network.architecture, state)

    def upscale(lr: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(lr.transpose(2, 0, 1))[None])
            return run(batch)[0].numpy().transpose(1, 2, 0)

    return upscale


def name_architecture(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Return the name of the architecture that spandrel finds in tensors; None if it finds none."""
    registry = import_spandrel().MAIN_REGISTRY
    for support in registry.architectures("detection"):
        if support.detect(dict(tensors)):
            return support.architecture.name
    return None


def import_spandrel() -> Any:
    """Return the module `spandrel`.

    It imports torchvision for two architectures that are not converted here. Builds of
    torchvision that do not fit PyTorch fail then, so it is replaced by an empty module.
    """
    import_torch()
    with modules_replaced(TORCHVISION):
        import spandrel
    return spandrel


@contextmanager
def modules_replaced(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of modules succeed in the block, with nothing in them but None."""
    replaced = {name: sys.modules[name] for name in names if name in sys.modules}
    for name in names:
        module = ModuleType(name)
        module.__path__ = []
        module.__getattr__ = lambda _: None  # type: ignore[method-assign]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(replaced)


def rrdb_net(architecture: architectures.RRDBNet, state: dict[str, Any]) -> Callable:
    """Return spandrel's RRDBNet; its dense blocks are made anew if they grow by another number."""
    import_spandrel()
    from spandrel.architectures.__arch_helpers import block
    from spandrel.architectures.ESRGAN import ESRGAN

    inputs = state["conv_first.weight"].shape[1]
    net = ESRGAN(
        in_nc=inputs,
        num_filters=architecture.filters,
        num_blocks=architecture.blocks,
        scale=2**architecture.doublings,
        shuffle_factor=architecture.stride if architecture.stride > 1 else None,
    )
    trunk = net.model[1].sub
    for index in range(architecture.blocks):
        trunk[index] = block.RRDB(architecture.filters, gc=architecture.growth)
    # Both have the same layers in the same order.
    dense = [f"rdb{block}.conv{layer}" for block in (1, 2, 3) for layer in range(1, 6)]
    order = [f"body.{index}.{name}" for index in range(architecture.blocks) for name in dense]
    ups = [f"conv_up{index}" for index in range(1, architecture.doublings + 1)]
    layers = ["conv_first", *order, "conv_body", *ups, "conv_hr", "conv_last"]
    names = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    net.load_state_dict(dict(zip(net.state_dict(), (state[n] for n in names), strict=True)))
    return net.eval()


def srvgg(architecture: architectures.SRVGGNetCompact, state: dict[str, Any]) -> Callable:
    """Return spandrel's SRVGGNetCompact."""
    import_spandrel()
    from spandrel.architectures.Compact import Compact

    net = Compact(
        num_feat=architecture.filters,
        num_conv=architecture.convolutions,
        upscale=architecture.scale,
        act_type=architecture.activation,
    )
    net.load_state_dict(state)
    return net.eval()


def span(architecture: architectures.SPAN, state: dict[str, Any]) -> Callable:
    """Return spandrel's SPAN; kernels that are merged already replace its branches."""
    import_spandrel()
    from spandrel.architectures.SPAN import SPAN

    net = SPAN(
        num_in_ch=3,
        num_out_ch=3,
        feature_channels=architecture.filters,
        upscale=architecture.scale,
        norm=architecture.is_normalised,
    ).eval()
    is_merged = "conv_1.sk.weight" not in state
    net.load_state_dict(state, strict=False)
    if is_merged:
        for module in net.modules():
            if hasattr(module, "update_params"):
                module.update_params = lambda: None
    return net


def edsr(architecture: architectures.EDSR, state: dict[str, Any]) -> Callable:
    """Return EDSR after Lim et al. 2017, fig. 3, with the mean shift of its programs."""
    torch = import_torch()
    mean = torch.tensor(RGB_MEAN).reshape(1, 3, 1, 1)

    def run(lr):
        if "sub_mean.weight" in state:
            x = convolve(state, "sub_mean", lr * 255)
        else:
            x = (lr - mean) * 255
        x = head = convolve(state, "conv_first", x)
        for index in range(architecture.blocks):
            y = torch.relu(convolve(state, f"body.{index}.conv1", x))
            x = x + convolve(state, f"body.{index}.conv2", y) * architecture.residual_scale
        x = convolve(state, "conv_after_body", x) + head
        for name in ("upsample.0", "upsample.2"):
            if f"{name}.weight" in state:
                x = torch.pixel_shuffle(convolve(state, name, x), 2)
        x = convolve(state, "conv_last", x)
        if "add_mean.weight" in state:
            return convolve(state, "add_mean", x) / 255
        return x / 255 + mean

    return run


def msr_res_net(architecture: architectures.MSRResNet, state: dict[str, Any]) -> Callable:
    """Return MSRResNet after Wang et al. 2018, sec. 4.1."""
    functional = import_torch().nn.functional

    def activate(x):
        return functional.leaky_relu(x, 0.1)

    def run(lr):
        x = activate(convolve(state, "conv_first", lr))
        for index in range(architecture.blocks):
            y = functional.relu(convolve(state, f"body.{index}.conv1", x))
            x = x + convolve(state, f"body.{index}.conv2", y)
        for name in ("upconv1", "upconv2"):
            if f"{name}.weight" in state:
                x = activate(functional.pixel_shuffle(convolve(state, name, x), 2))
        x = convolve(state, "conv_last", activate(convolve(state, "conv_hr", x)))
        base = functional.interpolate(
            lr, scale_factor=architecture.scale, mode="bilinear", align_corners=False
        )
        return x + base

    return run


def convolve(state: dict[str, Any], name: str, x):
    """Convolve (B, C, H, W) with kernel and bias of a name, zero-padded to the same size."""
    kernel = state[f"{name}.weight"]
    convolution = import_torch().nn.functional.conv2d
    return convolution(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)


REFERENCES: dict[type[Architecture], Callable[[Any, dict[str, Any]], Callable]] = {
    architectures.RRDBNet: rrdb_net,
    architectures.SRVGGNetCompact: srvgg,
    architectures.SPAN: span,
    architectures.EDSR: edsr,
    architectures.MSRResNet: msr_res_net,
}
