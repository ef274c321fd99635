"""ONNX Runtime and OpenVINO, running our network and the original's.

Both networks are frozen TensorFlow graphs first. What they answer on a sample is kept, and an
engine's answer is compared with it. The packages are those of benchmarks/requirements.txt;
functions that need them are called in a process of their own, by an interpreter that has them.
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
    """The engine cannot do this here."""


@dataclass(frozen=True)
class Exported:
    """A network in files that engines read; it maps LR (1, H, W, 3) to SR, both uint8.

    Attributes:
        graph: frozen TensorFlow graph.
        onnx: the same in ONNX.
        sample: `.npz` with `lr` and the `sr` that TensorFlow makes of it.
        input_tensor, output_tensor: names in both.
        windows: height and width of tiles with their halo, LR px, usual and large ones; none
            for the whole picture at once.
        halo: LR px around a core.
    """

    graph: str
    onnx: str
    sample: str
    input_tensor: str
    output_tensor: str
    windows: Sequence[int]
    halo: int


def export_ours(card_path: Path, folder: Path, windows: WindowSizes) -> Exported:
    """Where the files of our network are to be; the graph is there already."""
    card = read_card(card_path)
    graph = graph_path(card_path, card)
    ends = card.input_tensor, card.output_tensor
    return Exported(str(graph), *targets(folder, "ours"), *ends, windows, card.halo)


def export_original(folder: Path) -> Exported:
    """Where the files of the original's network are to be; `write_original` writes the graph."""
    graph = str(folder / "original.pb")
    return Exported(graph, *targets(folder, "original"), "lr:0", "sr:0", (), 0)


def targets(folder: Path, name: str) -> tuple[str, str]:
    return str(folder / f"{name}.onnx"), str(folder / f"{name}.npz")


def write_original(graph: str) -> None:
    from benchmarks.original_network import save_frozen

    save_frozen(Path(graph))


def write_sample(exported: dict[str, Any]) -> None:
    """Have TensorFlow upscale the sample."""
    network = Exported(**exported)
    lr = make_noise(*SAMPLE_SIZE, seed=1)
    np.savez(network.sample, lr=lr, sr=load_tensorflow(network)(lr))


def load_tensorflow(network: Exported) -> Network:
    from core.model.graph import tf

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(read_graph(network.graph), name="")
    run = tf.compat.v1.Session(graph=graph).make_callable(
        network.output_tensor, feed_list=[network.input_tensor]
    )
    return lambda lr: run(lr[None])[0]


def read_graph(path: str) -> Any:
    from core.model.graph import tf

    return tf.compat.v1.GraphDef.FromString(Path(path).read_bytes())


def write_onnx(exported: dict[str, Any]) -> None:
    """Convert a frozen graph; needs tf2onnx."""
    import tf2onnx

    network = Exported(**exported)
    tf2onnx.convert.from_graph_def(
        read_graph(network.graph),
        input_names=[network.input_tensor],
        output_names=[network.output_tensor],
        opset=OPSET,
        output_path=network.onnx,
    )


def load_onnxruntime(network: Exported, precision: str, threads: int) -> Network:
    """ONNX Runtime computes in the precision of the graph, float32."""
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


def load_openvino(network: Exported, precision: str, threads: int) -> Network:
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


LOADERS: dict[str, Callable[[Exported, str, int], Network]] = {
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
    rhythm: dict[str, Any],
) -> dict[str, Any]:
    """Milliseconds on one picture, and how far the sample is from TensorFlow's, levels."""
    network = Exported(**exported)
    run = LOADERS[engine](network, precision, threads)
    difference = largest_difference(run, network.sample)
    times = time_network(in_windows(run, network), width, height, rhythm)
    return {"network_ms": times, "difference_levels": difference}


def in_windows(run: Network, network: Exported) -> Network:
    """A network that sees a picture as it would in the service it comes from."""
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
    """Between what a network makes of the sample and what is kept with it, levels."""
    kept: dict[str, Uint8Array] = dict(np.load(sample))
    return int(np.abs(run(kept["lr"]).astype(int) - kept["sr"]).max())
