"""Run our network and the original's in ONNX Runtime and OpenVINO.

Both networks start as frozen TensorFlow graphs. TensorFlow upscales a sample, and the output of
an engine is compared with that. The packages are those of benchmarks/requirements.txt;
functions that need them are called in their own process, by an interpreter that has them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import make_noise
from benchmarks.network import time_network
from benchmarks.original import SCALE
from core.model.card import graph_path, read_card
from core.model.tiles import Network, WindowSizes
from core.pixels import Uint8Array

OPSET = 18  # of ONNX
SAMPLE_SIZE = (70, 50)  # width, height, px


class Unavailable(Exception):
    """The engine does not support this on this machine."""


@dataclass(frozen=True)
class ExportedNetwork:
    """Files of a network from LR (1, H, W, 3) to SR, both uint8, for the engines.

    Attributes:
        graph: frozen TensorFlow graph.
        onnx: the same in ONNX.
        sample: `.npz` with `lr`, and `sr` by TensorFlow.
        input_tensor: name in both.
        output_tensor: name in both.
        windows: sides of the usual and the large windows, LR px; empty for the whole picture
            at once.
        halo: LR px around the core of a tile.
    """

    graph: str
    onnx: str
    sample: str
    input_tensor: str
    output_tensor: str
    windows: Sequence[int]
    halo: int


def locate_ours(card_path: Path, folder: Path, windows: WindowSizes) -> ExportedNetwork:
    """Return the files of our network; the graph exists already."""
    card = read_card(card_path)
    graph = graph_path(card_path, card)
    ends = card.input_tensor, card.output_tensor
    return ExportedNetwork(str(graph), *converted_paths(folder, "ours"), *ends, windows, card.halo)


def locate_original(folder: Path) -> ExportedNetwork:
    """Return the files of the original's network; `write_original` writes the graph."""
    graph = str(folder / "original.pb")
    return ExportedNetwork(graph, *converted_paths(folder, "original"), "lr:0", "sr:0", (), 0)


def converted_paths(folder: Path, name: str) -> tuple[str, str]:
    """Return the paths of the ONNX file and of the sample."""
    return str(folder / f"{name}.onnx"), str(folder / f"{name}.npz")


def write_original(graph: str) -> None:
    """Write the frozen graph of the original's network."""
    from benchmarks.original_network import save_frozen

    save_frozen(Path(graph))


def write_sample(exported: dict[str, Any]) -> None:
    """Upscale the sample with TensorFlow, and write both."""
    network = ExportedNetwork(**exported)
    lr = make_noise(*SAMPLE_SIZE, seed=1)
    np.savez(network.sample, lr=lr, sr=load_tensorflow(network)(lr))


def load_tensorflow(network: ExportedNetwork) -> Network:
    """Load a network in TensorFlow."""
    from core.model.graph import tf

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(read_graph(network.graph), name="")
    run = tf.compat.v1.Session(graph=graph).make_callable(
        network.output_tensor, feed_list=[network.input_tensor]
    )
    return lambda lr: run(lr[None])[0]


def read_graph(path: str) -> Any:
    """Read a frozen TensorFlow graph."""
    from core.model.graph import tf

    return tf.compat.v1.GraphDef.FromString(Path(path).read_bytes())


def write_onnx(exported: dict[str, Any]) -> None:
    """Convert a frozen graph to ONNX; needs tf2onnx."""
    import tf2onnx

    network = ExportedNetwork(**exported)
    tf2onnx.convert.from_graph_def(
        read_graph(network.graph),
        input_names=[network.input_tensor],
        output_names=[network.output_tensor],
        opset=OPSET,
        output_path=network.onnx,
    )


def load_onnxruntime(network: ExportedNetwork, precision: str, threads: int) -> Network:
    """Load a network in ONNX Runtime, which computes in the precision of the graph, float32."""
    import onnxruntime

    if precision != "float32":
        raise Unavailable(f"no {precision}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        network.onnx, options, providers=["CPUExecutionProvider"]
    )
    return lambda lr: session.run(None, {network.input_tensor: lr[None]})[0][0]


OPENVINO_PRECISION = {"float32": "f32", "bfloat16": "bf16"}
OPENVINO_CAPABILITY = {"float32": "FP32", "bfloat16": "BF16"}


def load_openvino(network: ExportedNetwork, precision: str, threads: int) -> Network:
    """Load a network in OpenVINO."""
    import openvino

    core = openvino.Core()
    if OPENVINO_CAPABILITY[precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable(f"no {precision} on this processor")
    options = {
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(network.onnx, "CPU", options)
    return lambda lr: model(lr[None])[0][0]


LOADERS: dict[str, Callable[[ExportedNetwork, str, int], Network]] = {
    "ONNX Runtime": load_onnxruntime,
    "OpenVINO": load_openvino,
}


def time_engine(
    exported: dict[str, Any],
    engine: str,
    precision: str,
    threads: int,
    width: int,
    height: int,
    repetitions: dict[str, Any],
) -> dict[str, Any]:
    """Return times on one picture, ms, and the difference from TensorFlow, levels."""
    network = ExportedNetwork(**exported)
    run = LOADERS[engine](network, precision, threads)
    difference = largest_difference(run, network.sample)
    times = time_network(tile_like_service(run, network), width, height, repetitions)
    return {"network_ms": times, "difference_levels": difference}


def tile_like_service(run: Network, network: ExportedNetwork) -> Network:
    """Return a network that tiles a picture as its service does."""
    if not network.windows:
        return run

    def upscale(lr: Uint8Array) -> Uint8Array:
        height, width, channels = lr.shape
        sr = np.empty((SCALE * height, SCALE * width, channels), np.uint8)
        for row in WindowSizes(*network.windows).plan(height, width, network.halo):
            for tile in row:
                tile.core.scaled(SCALE).crop(sr)[:] = tile.upscale(lr, run, SCALE)
        return sr

    return upscale


def largest_difference(run: Network, sample: str) -> int:
    """Return the largest difference between a network and TensorFlow on the sample, levels."""
    expected: dict[str, Uint8Array] = dict(np.load(sample))
    return int(np.abs(run(expected["lr"]).astype(int) - expected["sr"]).max())
