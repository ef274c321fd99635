"""Export a trained network as a frozen graph with its card, and import one back.

`freeze` writes the averaged weights of a run as a graph of constants, with its card.
The graph maps uint8 to uint8: conversion to the unit range, clipping and rounding are
part of it, so that no caller can get them wrong.

`thaw` does the reverse: it writes the weights of a frozen graph as a run that other
runs can start from. Only the network's weights come back; a run that starts from them
builds a new optimizer.

The graph of a restorer has two more properties. It mirrors pictures up to multiples of the
stride, so any size is accepted. Its kernels are constants of half precision, which a Cast
converts once when the graph is loaded: the file is half as large.

Both need Keras' TensorFlow backend. Training from a thawed run works on any backend.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from core.errors import GraphMismatch
from core.model.card import (
    ModelCard,
    faithful_path,
    graph_path,
    read_card,
    read_verified_graph,
    write_card,
)
from core.model.graph import FrozenGraph
from core.model.interpolation import (
    InterpolatedGraph,
    VerifiedGraph,
    read_ends,
    read_tuned_ends,
)
from core.pixels import LEVELS, uint8_from_unit, unit_from_uint8
from training import CommandFailed
from training.data.photos import count_licences, manifest_sha256, read_manifest, split_photos
from training.halo import measure_halo, measure_restorer_halo
from training.loop.recipe import Recipe, describe_tuned, describe_weights
from training.loop.run import (
    CHECKPOINT,
    ORIGIN,
    RECIPE,
    TUNED_EMA,
    build_network,
    find_teacher,
    load_checkpoint,
    read_ancestors,
    save_checkpoint,
    write_json,
)
from training.loop.validation import read_networks
from training.models.networks import (
    SCALE,
    TAIL,
    count_parameters,
    served_generator,
    trained_tail,
)
from training.models.restorer import restore

INPUT, OUTPUT = "lr", "sr"  # names of the graph's tensors
RESTORED = "restored"  # name of the output of a restorer's graph
HALF = "half"  # prefix of the names of constants in half precision
SUMS = "SHA256SUMS"

PARITY_SHAPE = (37, 53, 3)  # of the LR picture on which graph and Keras model are compared
PARITY_LEVELS = 1  # difference allowed: both round, and they sum in different orders

# Names of the operations that read a layer's weights, as `freeze` leaves them in a graph.
KERNEL = re.compile(
    r"/(?P<layer>\w+?)(_\d+)?/(convolution|conv_transpose)/ReadVariableOp/resource$"
)
BIAS = re.compile(r"/(?P<layer>\w+?)(_\d+)?/Reshape/ReadVariableOp/resource$")


class ParityError(CommandFailed):
    """The frozen graph does not compute what the Keras model computes."""


def freeze(
    recipe: Recipe,
    run_folder: Path,
    photos_folder: Path,
    card_path: Path,
    version: str,
    faithful: str | None = None,
    restorer: str | None = None,
    *,
    restored: str | None = None,
    is_tuned: bool = False,
) -> ModelCard:
    """Write the averaged weights of a run as a graph of constants, with its card.

    Nothing is written if one of the checks fails.

    Args:
        recipe: recipe of the run.
        run_folder: folder with the run's checkpoint.
        photos_folder: collection that the run was trained on; the card counts it.
        card_path: JSON file to write; the graph goes beside it.
        version: version of the weights.
        faithful: name of a card in the same folder whose graph is served at `detail` 0;
            None if this graph is served alone.
        restorer: name of the card of the restorer that is used with this graph; None for none.
        restored: name of a card in the same folder whose graph is served at `restore` 1; None if
            this graph is served there, too.
        is_tuned: whether to export the SR network that the run of a restorer tuned along,
            instead of the restorer.

    Returns:
        The card, without measured quality.

    Raises:
        CommandFailed: if the run tuned no SR network and `is_tuned`.
        ParityError: if the graph differs from the Keras model by more than one level.
        GraphMismatch: if `faithful` or `restored` does not exist or has another architecture, or
            if only one of the two graphs at `restore` 0 and 1 names a faithful one.
    """
    ancestors = read_ancestors(run_folder)
    origin = {"ancestors": ancestors} | read_networks(run_folder)
    teacher = find_teacher(recipe.as_dict(), ancestors)
    if is_tuned:
        origin["tuned_with"] = recipe.as_dict()
        recipe = replace(recipe, restorer=None, restoring=None)
    step, weights = load_averages(run_folder, TUNED_EMA if is_tuned else "ema")
    keras.mixed_precision.set_global_policy("float32")
    network = build_network(recipe.as_dict())
    network.set_weights(weights if recipe.restorer is None else in_half_precision(weights))
    graph_def = freeze_network(network, recipe)
    card = make_card(
        recipe, network, graph_def, step, photos_folder, card_path.stem, version, teacher
    )
    links = {"faithful": faithful, "restorer": restorer, "restored": restored}
    card = replace(card, training=card.training | origin, **links)
    if is_tuned:
        card = replace(card, description=describe_tuned(card.training["photographs"]))
    graph = FrozenGraph(card, graph_def)
    check_parity(network, graph, card.stride)
    other_halo = check_interpolation(card_path, card, graph_def)
    measure = measure_halo if recipe.restorer is None else measure_restorer_halo
    card = replace(card, halo=max(measure(card, graph), other_halo))
    card_path.parent.mkdir(parents=True, exist_ok=True)
    graph_path(card_path, card).write_bytes(graph_def)
    save_card(card_path, card)
    return card


def load_averages(run_folder: Path, group: str) -> tuple[int, list[np.ndarray]]:
    """Return the step and a group of averaged weights; CommandFailed if there is no such group."""
    step, groups = load_checkpoint(run_folder / CHECKPOINT, [group])
    if not groups[group]:
        raise CommandFailed(
            f"{run_folder} must hold a run whose recipe has a `generator_rate` above 0. "
            "Received: a run that tunes no SR network."
        )
    return step, groups[group]


def freeze_network(network: keras.Model, recipe: Recipe) -> bytes:
    """Return the serialised graph of a generator or a restorer."""
    if recipe.restorer is None:
        return frozen_graph_def(served_generator(network, recipe.generator), OUTPUT)
    stride = recipe.restorer.stride
    graph_def = frozen_graph_def(partial(run_padded, network, stride), RESTORED)
    return with_half_precision(graph_def)


def frozen_graph_def(network: Callable, output: str) -> bytes:
    """Return a serialised graph, uint8 to uint8, with constants for the variables.

    Args:
        network: Keras model or function, from unit float32 to unit float32.
        output: name of the output tensor.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, INPUT)])
    def run(lr):
        result = network(tf.cast(lr, tf.float32) / LEVELS, training=False)
        levels = tf.round(tf.clip_by_value(result * LEVELS, 0, LEVELS))
        return tf.identity(tf.cast(levels, tf.uint8), output)

    frozen = convert_variables_to_constants_v2(run.get_concrete_function())
    return frozen.graph.as_graph_def().SerializeToString(deterministic=True)


def run_padded(restorer: keras.Model, stride: int, lr, **options):
    """Restore LR (B, H, W, 3) of any size; see `pad_to_stride`."""
    height, width = (tf.shape(lr)[axis] for axis in (1, 2))
    padded = mirror(mirror(lr, height, stride, axis=1), width, stride, axis=2)
    return restorer(padded, **options)[:, :height, :width]


def mirror(pixels, length, stride: int, axis: int):
    """Extend an axis of a length by its mirror image to a multiple of `stride`."""
    positions = tf.range(length + -length % stride) % (2 * length)
    return tf.gather(pixels, tf.minimum(positions, 2 * length - 1 - positions), axis=axis)


def in_half_precision(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Round kernels to half precision; biases stay as they are. All are float32."""
    return [w.astype(np.float16).astype(np.float32) if w.ndim == 4 else w for w in weights]


def with_half_precision(graph_def: bytes) -> bytes:
    """Return a graph whose kernels are constants of half precision, each followed by a Cast.

    The Cast has the name that the constant had. Values must be those of `in_half_precision`.
    """
    before, after = tf.compat.v1.GraphDef.FromString(graph_def), tf.compat.v1.GraphDef()
    after.versions.CopyFrom(before.versions)
    after.library.CopyFrom(before.library)
    for node in before.node:
        if node.op == "Const" and KERNEL.search(node.name):
            value = tf.make_ndarray(node.attr["value"].tensor).astype(np.float16)
            half = tf.compat.v1.NodeDef(name=f"{HALF}/{node.name}", op="Const")
            half.attr["dtype"].type = tf.float16.as_datatype_enum
            half.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
            cast = tf.compat.v1.NodeDef(name=node.name, op="Cast", input=[half.name])
            cast.attr["SrcT"].type = tf.float16.as_datatype_enum
            cast.attr["DstT"].type = tf.float32.as_datatype_enum
            after.node.extend([half, cast])
        else:
            after.node.append(node)
    return after.SerializeToString(deterministic=True)


def make_card(recipe, network, graph_def, step, photos_folder, name, version, teacher) -> ModelCard:
    """Return the card of a graph, without measured halo and quality."""
    trained_on, validated_with = split_photos(read_manifest(photos_folder))
    architecture = recipe.restorer or recipe.generator
    return ModelCard(
        name=name,
        version=version,
        description=describe_weights(recipe, len(trained_on), teacher),
        scale=SCALE if recipe.restorer is None else 1,
        input_tensor=f"{INPUT}:0",
        output_tensor=f"{OUTPUT if recipe.restorer is None else RESTORED}:0",
        input_range=(0, LEVELS),
        output_range=(0, LEVELS),
        radius=architecture.radius,
        halo=architecture.radius,
        parameters=count_parameters(network),
        mflop_per_lr_pixel=round(architecture.mflop_per_lr_pixel, 3),
        sha256=hashlib.sha256(graph_def).hexdigest(),
        license="Apache-2.0",
        stride=1 if recipe.restorer is None else recipe.restorer.stride,
        recipe=recipe.as_dict(),
        training={
            "steps": step,
            "photographs": len(trained_on),
            "validation_photographs": len(validated_with),
            "licences": count_licences(trained_on),
            "manifest_sha256": manifest_sha256(photos_folder),
            "teacher": teacher,
        },
    )


def save_card(path: Path, card: ModelCard) -> None:
    """Write a card and update `SHA256SUMS` in its folder."""
    write_card(path, card)
    files = sorted(p for p in path.parent.iterdir() if p.suffix in (".json", ".pb"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (path.parent / SUMS).write_text("".join(lines))


def check_parity(network: keras.Model, graph: FrozenGraph, stride: int) -> None:
    """Raise ParityError unless graph and Keras model agree on noise, the hardest picture."""
    lr = np.random.default_rng(0).integers(0, LEVELS + 1, PARITY_SHAPE, np.uint8)
    expected = uint8_from_unit(run_model(network, lr, stride))
    difference = int(np.abs(graph(lr).astype(int) - expected.astype(int)).max())
    if difference > PARITY_LEVELS:
        raise ParityError(
            f"Graph and Keras model must agree within {PARITY_LEVELS} level. "
            f"Received: a difference of {difference} levels."
        )


def run_model(network: keras.Model, lr: np.ndarray, stride: int) -> np.ndarray:
    """Return what a Keras model makes of LR, (H, W, 3) uint8: unit float32, not clipped."""
    if stride > 1:
        return restore(network, lr, stride)
    return np.asarray(network(unit_from_uint8(lr)[None]))[0]


def check_interpolation(card_path: Path, card: ModelCard, graph_def: bytes) -> int:
    """Return the largest halo of the graphs that a graph is interpolated with, 0 without any.

    Raises:
        GraphMismatch: if they cannot be interpolated.
    """
    other_path = faithful_path(card_path, card)
    own = VerifiedGraph(card, graph_def)
    ends = [own] if other_path is None else [*read_ends(other_path)[-1:], own]
    ends += read_tuned_ends(card_path, card, len(ends))
    if len(ends) > 1:
        InterpolatedGraph(ends)
    return max((end.card.halo for end in ends if end is not own), default=0)


def thaw(card_path: Path, run_folder: Path) -> None:
    """Write the weights of a frozen graph as the checkpoint of a run, to start others from.

    Args:
        card_path: card of a graph that `freeze` wrote; of a generator or a restorer.
        run_folder: folder to write; it is created if it does not exist.

    Raises:
        GraphMismatch: if the graph does not match its card, lacks a layer of the architecture
            that the card states, or was imported.
        ParityError: if the weights found do not compute what the graph computes.
    """
    card = read_card(card_path)
    if card.architecture:
        raise GraphMismatch(
            f"{card_path} must be the card of a network trained here. "
            f"Received: an imported {card.architecture['name']}"
        )
    graph_def = read_verified_graph(card_path, card)
    keras.mixed_precision.set_global_policy("float32")
    generator = build_network(card.recipe)
    set_weights(generator, graph_def)
    check_parity(generator, FrozenGraph(card, graph_def), card.stride)
    run_folder.mkdir(parents=True, exist_ok=True)
    groups = {"ema": generator.get_weights()}
    save_checkpoint(run_folder / CHECKPOINT, card.training["steps"], groups)
    write_json(run_folder / RECIPE, card.recipe)
    write_json(run_folder / ORIGIN, card.training.get("ancestors", []))


def set_weights(network: keras.Model, graph_def: bytes) -> None:
    """Give every layer of a network its kernel and bias from a frozen graph."""
    constants = read_constants(graph_def)
    for layer in network.layers:
        if layer.weights:
            try:
                weights = [constants[KERNEL][layer.name], constants[BIAS][layer.name]]
                is_rearranged = layer.name == TAIL and weights[0].shape != layer.kernel.shape
                layer.set_weights(trained_tail(*weights) if is_rearranged else weights)
            except (KeyError, ValueError) as error:
                raise GraphMismatch(
                    f"The graph must have the weights of layer `{layer.name}`. Received: {error!r}"
                ) from error


def read_constants(graph_def: bytes) -> dict[re.Pattern, dict[str, np.ndarray]]:
    """Return the kernels and the biases of a frozen graph, each by the name of its layer."""
    found: dict[re.Pattern, dict[str, np.ndarray]] = {KERNEL: {}, BIAS: {}}
    for node in tf.compat.v1.GraphDef.FromString(graph_def).node:
        for pattern, arrays in found.items():
            match = pattern.search(node.name)
            if match and node.op == "Const":
                array = tf.make_ndarray(node.attr["value"].tensor)
                arrays[match["layer"]] = array.astype(np.float32)
    return found
