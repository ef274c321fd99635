"""Conversion from arrays to graphs: needs neither PyTorch nor spandrel."""

import re

import numpy as np
import pytest

from core.model.graph import FrozenGraph
from tests.support import numpy_networks as networks
from tests.support.numpy_networks import random_state
from tests.support.stand_ins import make_card, noise
from training.convert import ConversionFailed, weights
from training.convert.architectures import Choices
from training.convert.builder import build_graph
from training.convert.recognition import recognise

RRDB = random_state(networks.rrdb_shapes())
UNSHUFFLED = random_state(networks.rrdb_shapes(blocks=1, inputs=12))
SRVGG = random_state(networks.srvgg_shapes())
STEEP = SRVGG | {"body.3.weight": np.linspace(-0.5, 1.5, 6, dtype=np.float32)}
PLAIN_SRVGG = random_state(networks.srvgg_shapes(scale=2, activation="relu"))
SPAN = networks.span_state()
SPAN_X2 = networks.span_state(scale=2) | {"no_norm": np.zeros(1, np.float32)}
EDSR = random_state(networks.edsr_shapes())
EDSR_X2 = random_state(networks.edsr_shapes(scale=2))
MSR = random_state(networks.msr_shapes())

CASES = {
    "RRDBNet": (RRDB, {}, networks.rrdb, {}),
    "RRDBNet x2": (
        random_state(networks.rrdb_shapes(blocks=1, doublings=1)),
        {},
        networks.rrdb,
        {"blocks": 1, "doublings": 1},
    ),
    "RRDBNet after unshuffling": (UNSHUFFLED, {}, networks.rrdb, {"blocks": 1, "stride": 2}),
    "SRVGGNetCompact": (SRVGG, {}, networks.srvgg, {}),
    "SRVGGNetCompact with slopes beyond 0 and 1": (STEEP, {}, networks.srvgg, {}),
    "SRVGGNetCompact x2 with ReLU": (
        PLAIN_SRVGG,
        {"activation": "relu"},
        networks.srvgg,
        {"scale": 2, "activation": "relu"},
    ),
    "SRVGGNetCompact x2 with leaky ReLU": (
        PLAIN_SRVGG,
        {"activation": "leakyrelu"},
        networks.srvgg,
        {"scale": 2, "activation": "leakyrelu"},
    ),
    "SPAN": (SPAN, {}, networks.span, {}),
    "SPAN x2": (SPAN_X2, {}, networks.span, {"scale": 2}),
    "EDSR": (EDSR, {"residual_scale": 0.1}, networks.edsr, {"share": 0.1}),
    "EDSR x2": (EDSR_X2, {}, networks.edsr, {}),
    "MSRResNet": (MSR, {}, networks.msr, {}),
    "MSRResNet x2": (
        random_state(networks.msr_shapes(scale=2)),
        {},
        networks.msr,
        {"scale": 2},
    ),
}


def converted(state, *, in_half=False, **choices):
    """Return the architecture of a network, what was built, and the loaded graph."""
    network = recognise(state, Choices(**choices))
    built = build_graph(network.architecture, network.weights, in_half=in_half)
    card = make_card(scale=network.architecture.scale, stride=network.architecture.stride)
    return network.architecture, built, FrozenGraph(card, built.graph_def)


@pytest.mark.parametrize("case", CASES)
def test_graphs_compute_what_the_networks_compute(case):
    state, choices, reference, options = CASES[case]
    architecture, _, graph = converted(state, **choices)
    assert case.split()[0] == architecture.name
    lr = noise(7, 10).astype(np.float32)
    expected = np.clip(reference(state, lr / 255, **options) * 255, 0, 255)
    assert expected.std() > 5
    np.testing.assert_allclose(graph(lr), expected, atol=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (7, 9), (8, 10)])
def test_pictures_are_reflected_to_multiples_of_the_stride(size):
    architecture, _, graph = converted(UNSHUFFLED)
    assert (architecture.scale, architecture.stride) == (2, 2)
    lr = noise(*size)
    even = np.pad(lr, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="reflect")
    whole = graph(even)[: 2 * size[0], : 2 * size[1]]
    np.testing.assert_array_equal(graph(lr), whole)


@pytest.mark.parametrize(
    ("case", "radius"),
    [
        # head, 15 per block, end of the trunk; the finer grids add 1/2 + 3/4 of a pixel
        ("RRDBNet", 1 + 2 * 15 + 1 + 2),
        # the block of 2 x 2 pixels, the coarse grid, the grid of LR; 3/2 of a pixel
        ("RRDBNet after unshuffling", 1 + 2 * (1 + 15 + 1) + 1 + 2),
        ("SRVGGNetCompact", 5),
        ("SPAN", 21),
        ("EDSR", 1 + 2 * 2 + 1 + 2),
    ],
)
def test_radius_follows_from_the_layers(case, radius):
    state, choices, _, _ = CASES[case]
    _, built, graph = converted(state, **choices)
    assert built.radius == radius
    side = 2 * radius + 5
    lr = noise(side, side).astype(np.float32)
    changed = lr.copy()
    changed[:, -1] = 255 - changed[:, -1]
    scale = graph.card.scale
    differences = np.abs(graph(lr) - graph(changed))
    assert differences[:, : scale * (side - 1 - radius)].max() == 0


def test_arithmetic_is_that_of_the_convolutions():
    _, built, _ = converted(SRVGG)
    multiply_adds = 9 * (3 * 6 + 3 * 6 * 6 + 6 * 48)
    assert built.mflop == pytest.approx(2 * multiply_adds / 1e6)


def test_kernels_of_half_precision_take_half_the_bytes():
    _, whole, graph = converted(RRDB)
    _, half, smaller = converted(RRDB, in_half=True)
    kernels = sum(array.size for name, array in RRDB.items() if name.endswith("weight"))
    assert len(whole.graph_def) - len(half.graph_def) > kernels
    lr = noise(7, 10)
    assert np.abs(graph(lr).astype(int) - smaller(lr)).max() <= 1


def test_merged_kernels_of_span_are_taken_as_they_are():
    _, built, graph = converted(SPAN)
    merged = {name: array for name, array in SPAN.items() if ".sk." not in name}
    merged = {name: array for name, array in merged.items() if ".conv." not in name}
    _, other, plain = converted(merged)
    assert other.radius == built.radius
    lr = noise(7, 10)
    assert not np.array_equal(graph(lr), plain(lr))  # random ones do not repeat the branches


def old_esrgan(name):
    """Return the name that the first ESRGAN gave a tensor of an RRDBNet of 2 blocks, x4."""
    layers = {"conv_first": 0, "conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
    layer, _, kind = name.rpartition(".")
    if layer in layers:
        return f"model.{layers[layer]}.{kind}"
    if layer == "conv_body":
        return f"model.1.sub.2.{kind}"
    return re.sub(r"body\.(\d)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0", name)


def bsrgan(name):
    name = name.replace("body.", "RRDB_trunk.").replace("rdb", "RDB")
    name = name.replace("conv_RRDB_trunk", "trunk_conv").replace("conv_up", "upconv")
    return name.replace("conv_hr", "HRconv")


def old_msr(name):
    return name.replace("body.", "recon_trunk.").replace("conv_hr", "HRconv")


def old_edsr(name):
    name = re.sub(r"body\.(\d)\.conv1", r"body.\1.body.0", name)
    name = re.sub(r"body\.(\d)\.conv2", r"body.\1.body.2", name)
    name = name.replace("conv_after_body", "body.2").replace("conv_first", "head.0")
    return name.replace("upsample", "tail.0").replace("conv_last", "tail.1")


@pytest.mark.parametrize(
    ("state", "spell"), [(RRDB, old_esrgan), (RRDB, bsrgan), (MSR, old_msr), (EDSR, old_edsr)]
)
def test_other_spellings_give_the_same_graph(state, spell):
    other = {spell(name): array for name, array in state.items()}
    assert other.keys() != state.keys()
    assert converted(other)[1] == converted(state)[1]


def test_the_mean_shift_of_edsr_is_taken_from_its_tensors():
    identity = np.eye(3, dtype=np.float32)[..., None, None]
    mean = 255 * networks.RGB_MEAN.astype(np.float32)
    shifts = {"sub_mean.bias": -mean, "add_mean.bias": mean}
    shifts |= {f"{name}_mean.weight": identity for name in ("sub", "add")}
    other = {old_edsr(name): array for name, array in EDSR.items()} | shifts
    lr = noise(7, 10).astype(np.float32)
    np.testing.assert_allclose(converted(other)[2](lr), converted(EDSR)[2](lr), atol=0.01)


def without(state, *names):
    return {name: array for name, array in state.items() if name not in names}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(RRDB, "conv_hr.bias"), "must have the tensor `conv_hr.bias`"),
        (dict(list(RRDB.items())[30:]), "must have the tensor `body.0.rdb1.conv1.weight`"),
        (RRDB | {"conv_hr.weight": RRDB["conv_up1.bias"]}, r"`conv_hr.weight` must have the shape"),
        (
            RRDB | {"body.1.rdb2.conv3.weight": np.zeros((4, 99, 3, 3), np.float32)},
            r"`body.1.rdb2.conv3.weight` must have the shape \[4, 14, 3, 3\]. "
            r"Received: \[4, 99, 3, 3\]",
        ),
        (SRVGG | {"body.0.weight": np.zeros(5, np.float32)}, "must have 4 axes"),
        (SRVGG | {"body.1.bias": np.zeros(6, np.float32)}, "Received also: body.1.bias"),
        (random_state(networks.srvgg_shapes(scale=3)), "SRVGGNetCompact of scale 3"),
        (random_state(networks.srvgg_shapes(scale=1)), "SRVGGNetCompact of scale 1"),
        (random_state(networks.edsr_shapes(scale=3)), "EDSR of scale 3"),
        (random_state(networks.rrdb_shapes(doublings=3)), "RRDBNet of scale 8"),
        (random_state(networks.rrdb_shapes(inputs=48)), "RRDBNet of scale 1"),
        (random_state(networks.rrdb_shapes(inputs=1, outputs=1)), "Received: 1 to 1"),
        (random_state(networks.rrdb_shapes(inputs=4, outputs=4)), "Received: 4 to 4"),
        (random_state(networks.rrdb_shapes(inputs=4)), "Received: 4 to 3"),
        (random_state(networks.srvgg_shapes(inputs=1)), "Received: 1 to "),
        (PLAIN_SRVGG, "--activation must be stated"),
        (
            SRVGG | {"body.8.weight": np.zeros((47, 6, 3, 3), np.float32)},
            "must have 3 times a square number of filters. Received: 47",
        ),
    ],
)
def test_networks_that_cannot_be_converted_are_refused_precisely(state, message):
    with pytest.raises(ConversionFailed, match=message):
        converted(state)


@pytest.mark.parametrize(
    "names",
    [[], ["layers.0.attention.qkv.weight"], [*RRDB, "body.0.rdb1.conv1x1.weight"], ["body.weight"]],
)
def test_other_tensors_are_not_recognised(names):
    assert recognise(dict.fromkeys(names, np.zeros((3, 3, 3, 3))), Choices()) is None


def test_missing_packages_are_named(tmp_path, monkeypatch):
    (tmp_path / "net.pth").write_bytes(b"x")
    monkeypatch.setattr(weights, "PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(
        ConversionFailed, match="requirements-import.txt. Received: no no_such_package"
    ):
        weights.read_weights(tmp_path / "net.pth")
