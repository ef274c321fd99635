"""From a training run to the frozen graph and its card in assets/.

The frozen graph takes and gives uint8: the conversion to the unit range, clipping
and rounding are part of it, so no caller can get them wrong. Freezing runs on Keras'
TensorFlow backend.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from core.card import ModelCard, faithful_path, graph_path, read_card, read_verified_graph
from core.graph import FrozenGraph
from core.interpolation import InterpolatedGraph
from core.pixels import LEVELS, uint8_from_unit, unit_from_uint8
from training.assets import save_card
from training.checkpoint import load_checkpoint
from training.errors import CommandFailed
from training.halo import measure_halo
from training.networks import SCALE, build_generator, count_parameters
from training.photos import count_licences, manifest_sha256, read_manifest, split_photos
from training.recipe import Recipe
from training.run import CHECKPOINT, read_ancestors
from training.serving import served_generator

INPUT, OUTPUT = "lr", "sr"
PARITY_SHAPE = (37, 53, 3)  # of the picture on which graph and Keras model are compared
PARITY_LEVELS = 1  # by which they may differ: both round, and sum in different orders


class NotEqual(CommandFailed):
    """The frozen graph does not compute what the Keras model computes."""


def freeze(
    recipe: Recipe,
    run_folder: Path,
    photos_folder: Path,
    card_path: Path,
    version: str,
    faithful: str | None = None,
) -> ModelCard:
    """Write the averaged weights of a run as a graph of constants, and its card.

    Args:
        recipe: of the run.
        run_folder: where its checkpoint is.
        photos_folder: what it was trained on; the card counts it.
        card_path: JSON file to write; the graph lies beside it.
        version: of the weights.
        faithful: name of a card in the same folder, whose graph is the other end of the
            knob `detail`; None for no knob.

    Raises:
        NotEqual: if the graph differs from the Keras model by more than one level;
            nothing is written then.
        GraphMismatch: if `faithful` is not there or of another architecture; likewise.
    """
    step, groups = load_checkpoint(run_folder / CHECKPOINT, ["ema"])
    keras.mixed_precision.set_global_policy("float32")
    generator = build_generator(recipe.generator)
    generator.set_weights(groups["ema"])
    graph_def = frozen_graph_def(served_generator(generator, recipe.generator))
    card = describe(recipe, generator, graph_def, step, photos_folder, card_path.stem, version)
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
    """The generator with constants for variables, uint8 to uint8, serialised."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, INPUT)])
    def upscale(lr):
        sr = generator(tf.cast(lr, tf.float32) / LEVELS, training=False)
        levels = tf.round(tf.clip_by_value(sr * LEVELS, 0, LEVELS))
        return tf.identity(tf.cast(levels, tf.uint8), OUTPUT)

    frozen = convert_variables_to_constants_v2(upscale.get_concrete_function())
    return frozen.graph.as_graph_def().SerializeToString(deterministic=True)


def check_parity(generator: keras.Model, graph: FrozenGraph) -> None:
    """Raise NotEqual unless graph and model agree on noise, the hardest picture."""
    lr = np.random.default_rng(0).integers(0, LEVELS + 1, PARITY_SHAPE, np.uint8)
    expected = uint8_from_unit(np.asarray(generator(unit_from_uint8(lr)[None]))[0])
    difference = int(np.abs(graph(lr).astype(int) - expected.astype(int)).max())
    if difference > PARITY_LEVELS:
        raise NotEqual(
            f"Graph and Keras model must agree within {PARITY_LEVELS} level. "
            f"Received: a difference of {difference} levels."
        )


def check_interpolation(card_path: Path, card: ModelCard, graph_def: bytes) -> None:
    """Raise GraphMismatch unless there is a network of every detail, if there is a knob."""
    other_path = faithful_path(card_path, card)
    if other_path is not None:
        faithful = read_verified_graph(other_path, read_card(other_path))
        InterpolatedGraph(card, faithful=faithful, detailed=graph_def)


def describe(recipe, generator, graph_def, step, photos_folder, name, version) -> ModelCard:
    """The card of a graph, all but its measured quality."""
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
    """What the weights are and what they were trained on, in one sentence."""
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
