"""From a frozen graph back to a run: published weights as a place to begin.

What comes back are the generator's weights and nothing else: a run that begins with
them builds up its optimizer anew. Thawing runs on Keras' TensorFlow backend, training
from the thawed run on any.
"""

import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from core.card import read_card, read_verified_graph
from core.errors import GraphMismatch
from core.graph import FrozenGraph
from training.checkpoint import save_checkpoint
from training.freeze import check_parity
from training.networks import Architecture, build_generator
from training.run import CHECKPOINT, ORIGIN, RECIPE, write_json
from training.serving import TAIL, trained_tail

KERNEL = re.compile(r"/(?P<layer>\w+?)(_\d+)?/convolution/ReadVariableOp/resource$")
BIAS = re.compile(r"/(?P<layer>\w+?)(_\d+)?/Reshape/ReadVariableOp/resource$")


def thaw(card_path: Path, run_folder: Path) -> None:
    """Write the weights of a frozen graph as the checkpoint of a run, to start others from.

    Args:
        card_path: of the graph, which must be one that `freeze` wrote.
        run_folder: where the checkpoint goes; it is made if it is not there.

    Raises:
        GraphMismatch: if the graph is not the one of its card, or has not the layers of
            the architecture that the card states.
        NotEqual: if the weights that were found do not compute what the graph computes.
    """
    card = read_card(card_path)
    graph_def = read_verified_graph(card_path, card)
    keras.mixed_precision.set_global_policy("float32")
    generator = build_generator(Architecture(**card.recipe["generator"]))
    set_weights(generator, graph_def)
    check_parity(generator, FrozenGraph(card, graph_def))
    run_folder.mkdir(parents=True, exist_ok=True)
    steps = card.training["steps"]
    save_checkpoint(run_folder / CHECKPOINT, steps, {"ema": generator.get_weights()})
    write_json(run_folder / RECIPE, card.recipe)
    write_json(run_folder / ORIGIN, card.training.get("ancestors", []))


def set_weights(generator: keras.Model, graph_def: bytes) -> None:
    """Give every layer of a generator its kernel and bias in a frozen graph."""
    constants = read_constants(graph_def)
    for layer in generator.layers:
        if layer.weights:
            try:
                weights = [constants[KERNEL][layer.name], constants[BIAS][layer.name]]
                layer.set_weights(trained_tail(*weights) if layer.name == TAIL else weights)
            except (KeyError, ValueError) as error:
                raise GraphMismatch(
                    f"The graph must have the weights of layer `{layer.name}`. Received: {error!r}"
                ) from error


def read_constants(graph_def: bytes) -> dict[re.Pattern, dict[str, np.ndarray]]:
    """The kernels and the biases in a frozen graph, each by the name of its layer."""
    found: dict[re.Pattern, dict[str, np.ndarray]] = {KERNEL: {}, BIAS: {}}
    for node in tf.compat.v1.GraphDef.FromString(graph_def).node:
        for pattern, arrays in found.items():
            match = pattern.search(node.name)
            if match and node.op == "Const":
                arrays[match["layer"]] = tf.make_ndarray(node.attr["value"].tensor)
    return found
