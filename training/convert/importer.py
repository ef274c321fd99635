"""Imports a published network: file -> checked graph with its card."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from core.files import atomic_write
from core.images import decode_rgb
from core.model.card import ModelCard, graph_path, write_card
from core.model.graph import BFLOAT16, FLOAT32, FrozenGraph
from core.pixels import LEVELS, Float32Array
from core.runtime.machine import has_bfloat16
from training.convert import ConversionFailed
from training.convert.architectures import Choices
from training.convert.builder import INPUT, OUTPUT, BuiltGraph, build_graph
from training.convert.recognition import ACCEPTED, Recognised, recognise
from training.convert.reference import ReferenceNetwork, load_reference, name_architecture
from training.convert.weights import WeightsFile, read_weights
from training.halo import measure_halo_at_cut

MIN_AGREEMENT_DB = 60.0
"""PSNR between graph and reference below which nothing is written."""

MAX_HALF_DIFFERENCE = 0.25
"""Levels by which kernels of half precision may change an unrounded result."""

MIN_SQUARE_ERROR = 1e-12
"""Mean square error that is assumed at least, so that the PSNR is finite."""

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "test_examples" / "low_resolution"
PICTURES = ("astronaut.png", "food.png")
PICTURE_SHAPE = (37, 51)
"""Height and width of the pictures that both networks upscale; odd, to test all strides."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_TEXT = 300  # characters of licence and source


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and what its card states.

    Attributes:
        file: weights of PyTorch or safetensors.
        card: JSON file to write; the graph goes beside it, under the name of the network.
        name: name of the network.
        licence: of its weights.
        source: URL of its weights; None if not stated.
        restores: whether the network itself removes blur, noise and traces of compression.
        choices: properties that tensors do not show.
        is_replacing: whether an existing card and graph are replaced.
    """

    file: Path
    card: Path
    name: str
    licence: str
    source: str | None = None
    restores: bool = False
    choices: Choices = Choices()
    is_replacing: bool = False


@dataclass(frozen=True)
class ConvertedGraph:
    """A graph that agrees with its reference.

    Attributes:
        built: the graph.
        card: its card; the halo is the radius.
        graph: the graph, loaded in float32.
    """

    built: BuiltGraph
    card: ModelCard
    graph: FrozenGraph


def import_network(request: ImportRequest) -> ModelCard:
    """Convert a network, compare it with its reference, and write graph and card.

    Nothing is written if one of the checks fails.

    Raises:
        ConversionFailed: if the request or the file is not valid, the architecture is not one that
            can be converted, or graph and reference differ.
        OSError: if a file cannot be read or written.
    """
    check_request(request)
    weights = read_weights(request.file)
    network = recognise_or_refuse(weights.tensors, request.choices)
    converted = convert(request, weights, network)
    card, graph_def = converted.card, converted.built.graph_def
    halo = measure_halo_at_cut(card, converted.graph)
    card = replace(card, halo=halo)
    check_request(request)  # it took minutes
    with atomic_write(graph_path(request.card, card)) as path:
        path.write_bytes(graph_def)
    with atomic_write(request.card) as path:
        write_card(path, card)
    return card


def check_request(request: ImportRequest) -> None:
    """Raise ConversionFailed unless a request is valid, and its files may be written."""
    if not NAME.fullmatch(request.name):
        raise ConversionFailed(
            "--name must have up to 64 letters, digits, `.`, `_` and `-`, and begin with a letter "
            f"or digit. Received: {request.name!r}"
        )
    check_text("--licence", request.licence)
    if request.source is not None:
        check_text("--source", request.source)
        if not re.match(r"https?://\S+$", request.source):
            raise ConversionFailed(
                f"--source must be a URL that begins with http. Received: {request.source!r}"
            )
    if request.card.suffix != ".json":
        raise ConversionFailed(f"CARD must be a JSON file. Received: {request.card}")
    graph = request.card.with_name(f"{request.name}.pb")
    existing = [str(path) for path in (request.card, graph) if path.exists()]
    if existing and not request.is_replacing:
        raise ConversionFailed(
            f"CARD and its graph must not exist, unless --replace is given. "
            f"Received: {', '.join(existing)}"
        )


def check_text(option: str, text: str) -> None:
    """Raise ConversionFailed unless a text is a line of printable characters."""
    if not text.strip() or not text.isprintable() or len(text) > MAX_TEXT:
        raise ConversionFailed(
            f"{option} must be a line of 1 to {MAX_TEXT} printable characters. Received: {text!r}"
        )


def recognise_or_refuse(tensors: Mapping[str, np.ndarray], choices: Choices) -> Recognised:
    """Return the network that has some tensors.

    Raises:
        ConversionFailed: if it cannot be converted. The message names what it looks like.
    """
    network = recognise(tensors, choices)
    if network is not None:
        return network
    received = name_architecture(tensors)
    names = ", ".join(sorted(tensors)[:3])
    looks = f"tensors of {received}" if received else "tensors of an unknown architecture"
    if any(name.endswith("running_mean") for name in tensors):
        looks += ", with batch normalisation"
    raise ConversionFailed(f"The file must hold {ACCEPTED}. Received: {looks} ({names}, ...)")


def convert(request: ImportRequest, weights: WeightsFile, network: Recognised) -> ConvertedGraph:
    """Return the graph of a network, with kernels of half precision if they are good enough.

    Raises:
        ConversionFailed: if tensors are missing or of another shape, or if the graph differs from
            the reference.
    """
    exact = build(request, weights, network, in_half=False)
    lrs = make_pictures()
    expected = run_reference(load_reference(network), lrs)
    results = [exact.graph(lr) for lr in lrs]
    agreement = psnr_db(results, expected)
    if not agreement >= MIN_AGREEMENT_DB:
        raise ConversionFailed(
            f"Graph and reference must agree by {MIN_AGREEMENT_DB:g} dB. Received: {agreement:.1f}"
        )
    half = build(request, weights, network, in_half=True)
    in_half = [half.graph(lr) for lr in lrs]
    is_good = psnr_db(in_half, expected) >= MIN_AGREEMENT_DB
    largest = max(float(np.abs(a - b).max()) for a, b in zip(in_half, expected, strict=True))
    chosen = exact
    if is_good and largest <= MAX_HALF_DIFFERENCE:
        chosen, results = half, in_half
    agreements = {FLOAT32: round(psnr_db(results, expected), 1)}
    if has_bfloat16():
        fast = FrozenGraph(chosen.card, chosen.built.graph_def, precision=BFLOAT16)
        agreements[BFLOAT16] = round(psnr_db([fast(lr) for lr in lrs], expected), 1)
    return replace(chosen, card=replace(chosen.card, agreement_db=agreements))


def build(
    request: ImportRequest, weights: WeightsFile, network: Recognised, *, in_half: bool
) -> ConvertedGraph:
    """Return a graph with its card, loaded in float32."""
    built = build_graph(network.architecture, network.weights, in_half=in_half)
    architecture, count = network.architecture, network.weights.count
    card = ModelCard(
        name=request.name,
        version=weights.sha256[:12],
        description=f"{architecture.name} with {count:,} weights, imported from "
        f"{request.file.name}.",
        scale=architecture.scale,
        input_tensor=f"{INPUT}:0",
        output_tensor=f"{OUTPUT}:0",
        input_range=(0, LEVELS),
        output_range=(0, LEVELS),
        radius=built.radius,
        halo=built.radius,
        parameters=count,
        mflop_per_lr_pixel=round(built.mflop, 3),
        sha256=hashlib.sha256(built.graph_def).hexdigest(),
        license=request.licence,
        architecture={"name": architecture.name} | asdict(architecture),
        source=request.source,
        source_sha256=weights.sha256,
        stride=architecture.stride,
        restores=request.restores,
    )
    return ConvertedGraph(built, card, FrozenGraph(card, built.graph_def))


def make_pictures() -> list[Float32Array]:
    """Return what both networks upscale: parts of photographs, and noise. Levels, (H, W, 3)."""
    height, width = PICTURE_SHAPE
    pictures = [decode_rgb((SAMPLES / name).read_bytes())[:height, :width] for name in PICTURES]
    noise = np.random.default_rng(0).integers(0, LEVELS + 1, (height, width, 3))
    return [picture.astype(np.float32) for picture in (*pictures, noise)]


def run_reference(reference: ReferenceNetwork, lrs: list[Float32Array]) -> list[Float32Array]:
    """Return the levels of the reference, clipped but not rounded."""
    return [np.clip(reference(lr / LEVELS) * LEVELS, 0, LEVELS) for lr in lrs]


def psnr_db(results: list[Float32Array], expected: list[Float32Array]) -> float:
    """Return the PSNR of all pictures together, dB."""
    errors = [
        np.square(result.astype(np.float64) - other)
        for result, other in zip(results, expected, strict=True)
    ]
    mean_square = max(float(np.mean(errors)), MIN_SQUARE_ERROR)
    return 10 * math.log10(LEVELS**2 / mean_square)


def describe(card: ModelCard) -> str:
    """Return a few lines about an imported network."""
    agreement = ", ".join(f"{db:g} dB in {name}" for name, db in card.agreement_db.items())
    return (
        f"{card.name}: {card.architecture['name']} of scale {card.scale}\n"
        f"{card.parameters:,} weights, {card.mflop_per_lr_pixel:g} MFLOP per LR pixel\n"
        f"halo {card.halo}, radius {card.radius} LR pixels\n"
        f"agreement with the reference: {agreement}\n"
    )
