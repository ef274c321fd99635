import os
import subprocess
import sys

import keras
import pytest

import core.runtime.machine
from config import ROOT
from training.loop.train import share_batches, use_precision

TWO_DEVICES = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}


@pytest.fixture(autouse=True)
def same_policy_afterwards():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(
    ("cpu_info", "policy"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n", "mixed_bfloat16"),
        ("processor : 0\nflags\t\t: fpu amx_bf16\n", "mixed_bfloat16"),
        ("processor : 0\nflags\t\t: fpu avx2\nbugs : avx512_bf16\n", "float32"),
        (None, "float32"),
    ],
)
def test_precision_follows_the_processor(monkeypatch, tmp_path, cpu_info, policy):
    path = tmp_path / "cpuinfo"
    if cpu_info is not None:
        path.write_text(cpu_info)
    monkeypatch.setattr(core.runtime.machine, "CPU_INFO", path)
    assert use_precision("auto") == policy
    assert keras.mixed_precision.global_policy().name == policy


def test_an_accelerator_computes_in_bfloat16(monkeypatch, tmp_path):
    monkeypatch.setattr(core.runtime.machine, "CPU_INFO", tmp_path / "nowhere")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert use_precision("auto") == "mixed_bfloat16"


def test_a_recipe_may_insist_on_a_precision():
    assert use_precision("mixed_bfloat16") == "mixed_bfloat16"


def test_another_backend_than_jax_does_all_on_one_device():
    assert share_batches(7) == 1


def in_a_process_of_two_devices(code):
    command = [sys.executable, "-c", code]
    environ = os.environ | TWO_DEVICES | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_batch_that_cannot_be_divided_is_refused():
    ended = in_a_process_of_two_devices(
        "from training.loop.train import share_batches\n"
        "assert share_batches(4) == 2\n"
        "share_batches(3)\n"
    )
    assert "multiple of the number of devices, 2. Received: 3" in ended.stderr
