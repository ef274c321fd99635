import sys

import numpy as np
import pytest

import training.__main__ as program
import training.convert.importer as importer
from core.model.card import graph_path, read_card, read_verified_graph
from core.model.graph import load_graph
from core.model.tiles import plan_tiles
from core.model.upscaler import load_upscaler
from core.picture import Picture
from tests.support import numpy_networks as networks
from tests.support.numpy_networks import random_state
from tests.support.stand_ins import noise
from training.convert import ConversionFailed
from training.convert.importer import ImportRequest, import_network
from training.convert.reference import import_spandrel, modules_replaced

torch = pytest.importorskip("torch", reason="only `make test-import` installs PyTorch")
pytest.importorskip("safetensors")
import_spandrel()
from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.SPAN import SPAN  # noqa: E402
from spandrel.architectures.SwinIR import SwinIR  # noqa: E402

OPTIONS = {"in_nc": 3, "num_filters": 16}


def as_tensors(state):
    return {name: torch.from_numpy(array) for name, array in state.items()}


STATES = {
    "rrdb": lambda: ESRGAN(num_blocks=3, **OPTIONS).state_dict(),
    "rrdb-x2": lambda: ESRGAN(num_blocks=2, scale=2, **OPTIONS).state_dict(),
    "rrdb-unshuffled": lambda: ESRGAN(
        num_blocks=2, num_filters=16, in_nc=12, shuffle_factor=2
    ).state_dict(),
    "rrdb-growth": lambda: as_tensors(random_state(networks.rrdb_shapes())),
    "srvgg": lambda: Compact(num_feat=16, num_conv=5).state_dict(),
    "srvgg-x2": lambda: Compact(num_feat=16, num_conv=3, upscale=2).state_dict(),
    "srvgg-relu": lambda: Compact(num_feat=16, num_conv=3, act_type="relu").state_dict(),
    "srvgg-leaky": lambda: Compact(num_feat=16, num_conv=3, act_type="leakyrelu").state_dict(),
    "span": lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=12).state_dict(),
    "span-x2": lambda: SPAN(
        num_in_ch=3, num_out_ch=3, feature_channels=12, upscale=2, norm=False
    ).state_dict(),
    "edsr": lambda: as_tensors(random_state(networks.edsr_shapes(blocks=3, filters=12))),
    "edsr-x2": lambda: as_tensors(random_state(networks.edsr_shapes(scale=2))),
    "msr": lambda: as_tensors(random_state(networks.msr_shapes(blocks=3, filters=12))),
}
CHOICES = {"srvgg-relu": {"activation": "relu"}, "srvgg-leaky": {"activation": "leakyrelu"}}
WINDOWS = (64, 96, 128)


def request(folder, state, name="net", **changes):
    file = folder / "net.pth"
    torch.save({"params": state}, file)
    values = {"file": file, "card": folder / "models" / f"{name}.json", "name": name}
    return ImportRequest(**(values | {"licence": "MIT"} | changes))


@pytest.mark.parametrize("case", STATES)
def test_networks_of_reference_definitions_are_imported_and_tiled_exactly(tmp_path, case):
    torch.manual_seed(0)
    choices = importer.Choices(**CHOICES.get(case, {}))
    card = import_network(request(tmp_path, STATES[case](), choices=choices))
    assert card.agreement_db["float32"] >= 60
    path = tmp_path / "models" / "net.json"
    assert read_card(path) == card
    assert card.scale == (2 if "x2" in case or "unshuffled" in case else 4)
    assert card.halo <= card.radius + card.stride
    lr = Picture(noise(141, 155, seed=5))
    whole = load_graph(path, precision="float32")(lr.pixels).astype(int)
    for window in WINDOWS:
        upscaler = load_upscaler(path, window=window, threads=2, precision="float32")
        assert len(plan_tiles(141, 155, window=window, halo=card.halo)) > 1
        assert np.abs(upscaler.upscale(lr).pixels - whole).max() <= 1


@pytest.fixture(scope="module")
def small():
    """The tensors of a small network."""
    torch.manual_seed(0)
    return Compact(num_feat=8, num_conv=2).state_dict()


def test_a_card_states_where_its_network_comes_from(tmp_path, small):
    source = "https://example.org/net.pth"
    asked = request(tmp_path, small, licence="BSD-3-Clause", source=source, restores=True)
    card = import_network(asked)
    assert (card.license, card.source, card.restores) == ("BSD-3-Clause", source, True)
    assert card.architecture == {
        "name": "SRVGGNetCompact",
        "convolutions": 2,
        "filters": 8,
        "scale": 4,
        "activation": "prelu",
    }
    assert card.parameters == sum(tensor.numel() for tensor in small.values())
    assert card.source_sha256 == importer.hashlib.sha256(asked.file.read_bytes()).hexdigest()
    assert card.version == card.source_sha256[:12]
    assert card.quality == {}
    read_verified_graph(asked.card, card)


def test_16_bits_and_float_levels_are_kept(tmp_path, small):
    asked = request(tmp_path, small)
    import_network(asked)
    graph = load_graph(asked.card, precision="float32")
    lr = noise(9, 12)
    deep = graph(lr.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - graph(lr)).max() <= 0.51
    assert np.abs(graph(lr.astype(np.float32)) - graph(lr)).max() <= 0.51


def test_nothing_is_written_if_graph_and_reference_differ(tmp_path, small, monkeypatch):
    def other(_network):
        return lambda lr: np.zeros((4 * lr.shape[0], 4 * lr.shape[1], 3), np.float32)

    monkeypatch.setattr(importer, "load_reference", other)
    with pytest.raises(ConversionFailed, match="must agree by 60 dB"):
        import_network(request(tmp_path, small))
    assert not (tmp_path / "models").exists()


def test_kernels_stay_in_single_precision_if_half_would_change_levels(tmp_path, small, monkeypatch):
    half = import_network(request(tmp_path, small, "half"))
    monkeypatch.setattr(importer, "MAX_HALF_DIFFERENCE", 0.0)
    single = import_network(request(tmp_path, small, "single"))
    assert single.agreement_db["float32"] > half.agreement_db["float32"] >= 60
    sizes = [graph_path(tmp_path / "models" / "x", c).stat().st_size for c in (half, single)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["../net", "a/b", "", "-net", ".net", "nét", "a" * 65, "a\n"])
def test_odd_names_are_refused(tmp_path, small, name):
    with pytest.raises(ConversionFailed, match="--name must have up to 64 letters"):
        import_network(request(tmp_path, small, card=tmp_path / "c.json", name=name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": " "}, "--licence must be a line"),
        ({"licence": "a\nb"}, "--licence must be a line"),
        ({"source": "javascript:alert(1)"}, "--source must be a URL"),
        ({"source": "https://x y"}, "--source must be a URL"),
    ],
)
def test_odd_texts_are_refused(tmp_path, small, changes, message):
    with pytest.raises(ConversionFailed, match=message):
        import_network(request(tmp_path, small, **changes))


def test_an_existing_card_is_replaced_only_on_request(tmp_path, small):
    asked = request(tmp_path, small)
    before = import_network(asked)
    with pytest.raises(ConversionFailed, match="must not exist, unless --replace"):
        import_network(asked)
    other = request(tmp_path, small, card=tmp_path / "models" / "other.json")
    with pytest.raises(ConversionFailed, match=r"Received: .*net\.pb"):  # same name, other card
        import_network(other)
    assert import_network(request(tmp_path, small, is_replacing=True)) == before


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # of the definition of SwinIR
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SwinIR(embed_dim=12, depths=[2], num_heads=[2], window_size=4).state_dict(),
            "must hold RRDBNet .* or MSRResNet. Received: tensors of SwinIR",
        ),
        (lambda: {"a.weight": torch.zeros(3)}, "Received: tensors of an unknown architecture"),
        (
            lambda: {"a.weight": torch.zeros(3), "a.running_mean": torch.zeros(3)},
            "with batch normalisation",
        ),
    ],
)
def test_other_architectures_are_refused_by_name(tmp_path, make, message):
    with pytest.raises(ConversionFailed, match=message) as caught:
        import_network(request(tmp_path, make()))
    assert "\n" not in str(caught.value)


def test_the_command_prints_what_it_imported(tmp_path, small, monkeypatch, capsys):
    asked = request(tmp_path, small)
    words = ["training", "import", asked.file, asked.card, "--name", "net", "--licence", "MIT"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    program.main()
    assert capsys.readouterr().out.startswith("net: SRVGGNetCompact of scale 4\n")
    with pytest.raises(SystemExit, match="python -m training: CARD and its graph must not exist"):
        program.main()


def test_replaced_modules_come_back():
    import json

    with modules_replaced(("json",)):
        assert sys.modules["json"] is not json
    assert sys.modules["json"] is json
