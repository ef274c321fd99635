import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training.convert import ConversionFailed
from training.convert.weights import read_weights

torch = pytest.importorskip("torch", reason="only `make test-import` installs PyTorch")
safetensors = pytest.importorskip("safetensors.torch")

STATE = {
    "a.weight": torch.arange(24, dtype=torch.float32).reshape(4, 6) / 10,
    "a.bias": torch.ones(4),
}


def check_is_state(path, atol=0.0):
    read = read_weights(path).tensors
    assert read.keys() == STATE.keys()
    for name, array in read.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, STATE[name].numpy(), atol=atol)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".PTH", ".safetensors"])
def test_tensors_of_both_formats_are_read(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    (safetensors.save_file if suffix == ".safetensors" else torch.save)(STATE, path)
    check_is_state(path)


def test_legacy_files_are_read(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    check_is_state(path)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"params": state},
        lambda state: {"params": dict.fromkeys(state, torch.zeros(1)), "params_ema": state},
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"x": torch.zeros(2)}},
        lambda state: {"model": {"params": state}},
        lambda state: {"anything": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.netG.{n}": t for n, t in state.items()}},
        lambda state: state | {"steps": 3},
        lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()},
    ],
)
def test_what_training_programs_put_around_tensors_is_removed(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "net.pth")
    check_is_state(tmp_path / "net.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_of_other_precisions_become_float32(tmp_path, dtype, suffix):
    state = {name: tensor.to(dtype) for name, tensor in STATE.items()}
    path = tmp_path / f"net{suffix}"
    (safetensors.save_file if suffix == ".safetensors" else torch.save)(state, path)
    check_is_state(path, atol=0.01)


class Intruder:
    """What a hostile pickle does when it is loaded: write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "was here")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, is_zip):
    intruder = Intruder(tmp_path / "proof")
    path = tmp_path / "net.pth"
    torch.save({"a": intruder}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ConversionFailed, match="must hold tensors only.*Received: a reference to"):
        read_weights(path)
    assert not (tmp_path / "proof").exists()
    pickle.loads(pickle.dumps(intruder))
    assert (tmp_path / "proof").exists()  # the pickle is one that works


def written(tmp_path, data, name="net.pth"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def saved(state=STATE):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_refused(tmp_path, share, suffix):
    whole = saved() if suffix == ".pth" else safetensors.save(STATE)
    path = written(tmp_path, whole[: int(share * len(whole))], f"net{suffix}")
    with pytest.raises(ConversionFailed, match="must be a") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_longer_than_its_file_is_refused(tmp_path):
    data = struct.pack("<Q", 2 << 30) + b"{}"
    with pytest.raises(ConversionFailed, match="Received: a header of 2,147,483,648 bytes"):
        read_weights(written(tmp_path, data, "net.safetensors"))


def test_tensors_beyond_the_end_of_a_safetensors_file_are_refused(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[900000,900000],"data_offsets":[0,3240000000000]}}'
    data = struct.pack("<Q", len(header)) + header + bytes(16)
    with pytest.raises(ConversionFailed, match="must be a safetensors file"):
        read_weights(written(tmp_path, data, "net.safetensors"))


def test_compressed_records_are_refused(tmp_path):
    data = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(1_000_000)}))) as stored,
        zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for record in stored.namelist():
            packed.writestr(record, stored.read(record))
    with pytest.raises(ConversionFailed, match="must store its records uncompressed"):
        read_weights(written(tmp_path, data.getvalue()))


def test_a_small_storage_seen_as_a_huge_tensor_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1 << 30)}, tmp_path / "net.pth")
    assert (tmp_path / "net.pth").stat().st_size < 10_000
    with pytest.raises(ConversionFailed, match="at most 200,000,000 weights"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = STATE | {"a.bias": torch.tensor([1.0, value], dtype=torch.float64)}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ConversionFailed, match=r"`a.bias` must be finite"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "dictionary of tensors. Received: list"),
        ({}, "dictionary of tensors. Received: dict"),
        ({"a": 3}, "dictionary of tensors. Received: dict"),
        ({"params": {"params": {"params": {"params": {"params": STATE}}}}}, "Received: dict"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "real numbers. Received: torch.complex64"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "dense tensor"),
        ({"a": torch.zeros(2, device="meta")}, "on meta"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ConversionFailed, match=message):
        read_weights(tmp_path / "net.pth")


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ConversionFailed, match=r"suffixes .pth.*Received: `.onnx`"):
        read_weights(written(tmp_path, b"x", "net.onnx"))


def test_random_bytes_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for length in (1, 100, 5000):
        for suffix in (".pth", ".safetensors"):
            path = written(tmp_path, rng.bytes(length), f"net{suffix}")
            with pytest.raises(ConversionFailed, match="must be a"):
                read_weights(path)
