"""Export a trained generator as a frozen graph with its card, and import one back.

`freeze` writes the averaged weights of a run as a graph of constants, with its card.
The graph maps uint8 to uint8: conversion to the unit range, clipping and rounding are
part of it, so that no caller can get them wrong.

`thaw` does the reverse: it writes the weights of a frozen graph as a run that other
runs can start from. Only the generator's weights come back; a run that starts from them
builds a new optimizer.

Both need Keras' TensorFlow backend. Training from a thawed run works on any backend.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

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
from core.model.interpolation import InterpolatedGraph, VerifiedGraph
from core.model.tiles import Network
from core.model.upscaler import Upscaler
from core.picture import Picture
from core.pixels import LEVELS, uint8_from_unit, unit_from_uint8
from training import CommandFailed
from training.data.photos import count_licences, manifest_sha256, read_manifest, split_photos
from training.loop.recipe import Recipe
from training.loop.run import (
    CHECKPOINT,
    ORIGIN,
    RECIPE,
    load_checkpoint,
    read_ancestors,
    save_checkpoint,
    write_json,
)
from training.models.networks import (
    SCALE,
    TAIL,
    Architecture,
    build_generator,
    count_parameters,
    served_generator,
    trained_tail,
)

INPUT, OUTPUT = "lr", "sr"  # names of the graph's tensors
SUMS = "SHA256SUMS"

PARITY_SHAPE = (37, 53, 3)  # of the LR picture on which graph and Keras model are compared
PARITY_LEVELS = 1  # difference allowed: both round, and they sum in different orders

PROBE_SIDE = 160  # LR px, side of the pictures on which the halo is measured
HALO_CORE = 24  # LR px, core of the tiles while measuring: small, so there are many borders
HALO_STEP = 2  # LR px between the halos that are tried
HALO_MARGIN = 2  # LR px added to the smallest halo that is enough
HALO_LEVELS = 1  # difference allowed between tiled and untiled SR

# Names of the operations that read a layer's weights, as `freeze` leaves them in a graph.
KERNEL = re.compile(r"/(?P<layer>\w+?)(_\d+)?/convolution/ReadVariableOp/resource$")
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

    Returns:
        The card, without measured quality.

    Raises:
        ParityError: if the graph differs from the Keras model by more than one level.
        GraphMismatch: if `faithful` does not exist or has another architecture.
    """
    step, groups = load_checkpoint(run_folder / CHECKPOINT, ["ema"])
    keras.mixed_precision.set_global_policy("float32")
    generator = build_generator(recipe.generator)
    generator.set_weights(groups["ema"])
    graph_def = frozen_graph_def(served_generator(generator, recipe.generator))
    card = make_card(recipe, generator, graph_def, step, photos_folder, card_path.stem, version)
    training = card.training | {"ancestors": read_ancestors(run_folder)}
    card = replace(card, faithful=faithful, training=training)
    graph = FrozenGraph(card, graph_def)
    check_parity(generator, graph)
    check_interpolation(card_path, card, graph_def)
    card = replace(card, halo=measure_halo(card, graph))
    card_path.parent.mkdir(parents=True, exist_ok=True)
    graph_path(card_path, card).write_bytes(graph_def)
    save_card(card_path, card)
    return card


def frozen_graph_def(generator: keras.Model) -> bytes:
    """Return a serialised graph, uint8 to uint8, with constants for the variables."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, INPUT)])
    def upscale(lr):
        sr = generator(tf.cast(lr, tf.float32) / LEVELS, training=False)
        levels = tf.round(tf.clip_by_value(sr * LEVELS, 0, LEVELS))
        return tf.identity(tf.cast(levels, tf.uint8), OUTPUT)

    frozen = convert_variables_to_constants_v2(upscale.get_concrete_function())
    return frozen.graph.as_graph_def().SerializeToString(deterministic=True)


def make_card(recipe, generator, graph_def, step, photos_folder, name, version) -> ModelCard:
    """Return the card of a graph, without measured halo and quality."""
    trained_on, validated_with = split_photos(read_manifest(photos_folder))
    return ModelCard(
        name=name,
        version=version,
        description=describe_weights(recipe, len(trained_on)),
        scale=SCALE,
        input_tensor=f"{INPUT}:0",
        output_tensor=f"{OUTPUT}:0",
        input_range=(0, LEVELS),
        output_range=(0, LEVELS),
        radius=recipe.generator.radius,
        halo=recipe.generator.radius,
        parameters=count_parameters(generator),
        mflop_per_lr_pixel=round(recipe.generator.mflop_per_lr_pixel, 3),
        sha256=hashlib.sha256(graph_def).hexdigest(),
        license="Apache-2.0",
        recipe=recipe.as_dict(),
        training={
            "steps": step,
            "photographs": len(trained_on),
            "validation_photographs": len(validated_with),
            "licences": count_licences(trained_on),
            "manifest_sha256": manifest_sha256(photos_folder),
        },
    )


def describe_weights(recipe: Recipe, photographs: int) -> str:
    """Return one sentence: what the weights are, and what they were trained on."""
    losses = "with a pixel loss only (not adversarially)"
    if recipe.adversarial is not None:
        losses = "adversarially, with a content loss,"
    pictures = "clean pictures that were made smaller by bicubic interpolation"
    if recipe.degradation is not None:
        pictures = "small pictures from the wild: blurred, noisy, compressed as JPEG, or clean"
    drawings = f" and {recipe.data.drawings} drawings" if recipe.data.drawings else ""
    return (
        f"SRResNet, the generator of SRGAN, trained here {losses} on {photographs} photographs "
        f"under free licences{drawings}, for {pictures}."
    )


def save_card(path: Path, card: ModelCard) -> None:
    """Write a card and update `SHA256SUMS` in its folder."""
    write_card(path, card)
    files = sorted(p for p in path.parent.iterdir() if p.suffix in (".json", ".pb"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (path.parent / SUMS).write_text("".join(lines))


def check_parity(generator: keras.Model, graph: FrozenGraph) -> None:
    """Raise ParityError unless graph and Keras model agree on noise, the hardest picture."""
    lr = np.random.default_rng(0).integers(0, LEVELS + 1, PARITY_SHAPE, np.uint8)
    expected = uint8_from_unit(np.asarray(generator(unit_from_uint8(lr)[None]))[0])
    difference = int(np.abs(graph(lr).astype(int) - expected.astype(int)).max())
    if difference > PARITY_LEVELS:
        raise ParityError(
            f"Graph and Keras model must agree within {PARITY_LEVELS} level. "
            f"Received: a difference of {difference} levels."
        )


def check_interpolation(card_path: Path, card: ModelCard, graph_def: bytes) -> None:
    """Raise GraphMismatch unless a graph and its faithful one, if any, can be interpolated."""
    other_path = faithful_path(card_path, card)
    if other_path is not None:
        other = read_card(other_path)
        faithful = VerifiedGraph(other, read_verified_graph(other_path, other))
        InterpolatedGraph([faithful, VerifiedGraph(card, graph_def)])


def measure_halo(card: ModelCard, network: Network) -> int:
    """Return the halo, LR px, with which tiling changes no probe by more than one level.

    It is smaller than the radius: distant pixels have little weight in a trained network,
    and the outermost pixels of its radius do not change any 8-bit level.
    """
    untiled = [(probe, network(probe)) for probe in make_probes()]
    for halo in range(HALO_STEP, card.radius, HALO_STEP):
        if all(is_halo_enough(card, network, halo, lr, sr) for lr, sr in untiled):
            return min(halo + HALO_MARGIN, card.radius)
    return card.radius


def is_halo_enough(card, network, halo, lr, sr) -> bool:
    """Return whether tiles with this halo reproduce the untiled `sr` within one level."""
    upscaler = Upscaler(replace(card, halo=halo), network, window=HALO_CORE + 2 * halo)
    tiled = upscaler.upscale(Picture(lr)).pixels
    return int(np.abs(tiled.astype(int) - sr).max()) <= HALO_LEVELS


def make_probes() -> list[np.ndarray]:
    """Return the hardest pictures: noise, black and white noise, a checkerboard, fine waves."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:PROBE_SIDE, :PROBE_SIDE]
    binary = LEVELS * rng.integers(0, 2, (PROBE_SIDE, PROBE_SIDE, 1), np.uint8)
    checkerboard = (LEVELS * ((x + y) % 2)).astype(np.uint8)[..., None]
    waves = (127.5 + 127.5 * np.sin(x * y / 30)).astype(np.uint8)[..., None]
    noise = rng.integers(0, LEVELS + 1, (PROBE_SIDE, PROBE_SIDE, 3), np.uint8)
    return [noise, *(np.repeat(grey, 3, axis=2) for grey in (binary, checkerboard, waves))]


def thaw(card_path: Path, run_folder: Path) -> None:
    """Write the weights of a frozen graph as the checkpoint of a run, to start others from.

    Args:
        card_path: card of a graph that `freeze` wrote.
        run_folder: folder to write; it is created if it does not exist.

    Raises:
        GraphMismatch: if the graph does not match its card, or lacks a layer of the
            architecture that the card states.
        ParityError: if the weights found do not compute what the graph computes.
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
    """Give every layer of a generator its kernel and bias from a frozen graph."""
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
    """Return the kernels and the biases of a frozen graph, each by the name of its layer."""
    found: dict[re.Pattern, dict[str, np.ndarray]] = {KERNEL: {}, BIAS: {}}
    for node in tf.compat.v1.GraphDef.FromString(graph_def).node:
        for pattern, arrays in found.items():
            match = pattern.search(node.name)
            if match and node.op == "Const":
                arrays[match["layer"]] = tf.make_ndarray(node.attr["value"].tensor)
    return found
