"""Recognises a network by the names and shapes of its tensors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from training.convert import ConversionFailed
from training.convert.architectures import (
    EDSR,
    SPAN,
    Architecture,
    Choices,
    MSRResNet,
    RRDBNet,
    SRVGGNetCompact,
    count,
)
from training.convert.builder import Weights

SCALES = (2, 4)
"""Scales that the service takes: a pass of a network enlarges by a power of two."""

ACCEPTED = "RRDBNet (ESRGAN, Real-ESRGAN), SRVGGNetCompact, SPAN, EDSR or MSRResNet"

PARAMETER = r"\.(weight|bias)"


@dataclass(frozen=True)
class Pattern:
    """Names of the tensors of an architecture.

    Attributes:
        architecture: its class.
        sign: matches names that no other architecture has.
        names: matches all names.
    """

    architecture: type[Architecture]
    sign: str
    names: str


PATTERNS = (
    Pattern(
        RRDBNet,
        r"body\.\d+\.rdb\d\.",
        rf"(conv_(first|body|up\d|hr|last)|body\.\d+\.rdb[123]\.conv[1-5]){PARAMETER}",
    ),
    Pattern(
        SPAN,
        r"block_\d\.c\d_r\.",
        rf"((conv_[12]|block_[1-6]\.c[123]_r)\.(sk|eval_conv|conv\.[012])|conv_cat|upsampler\.0)"
        rf"{PARAMETER}|no_norm",
    ),
    Pattern(
        EDSR,
        r"conv_after_body\.|upsample\.\d\.",
        rf"(conv_(first|after_body|last)|body\.\d+\.conv[12]|upsample\.[02]|(sub|add)_mean)"
        rf"{PARAMETER}",
    ),
    Pattern(
        MSRResNet,
        r"upconv\d\.|body\.\d+\.conv1\.",
        rf"(conv_(first|hr|last)|body\.\d+\.conv[12]|upconv[12]){PARAMETER}",
    ),
    Pattern(SRVGGNetCompact, r"body\.0\.weight", rf"body\.\d+{PARAMETER}"),
)

SPELLINGS: dict[str, tuple[tuple[str, str], ...]] = {
    # RRDBNet of BSRGAN and RealSR, and MSRResNet of the same time
    r"RRDB_trunk\.|recon_trunk\.": (
        (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
        (r"recon_trunk\.", "body."),
        (r"trunk_conv\.", "conv_body."),
        (r"HRconv\.", "conv_hr."),
    ),
    r"RRDB_trunk\.": ((r"upconv(\d)\.", r"conv_up\1."),),
    # EDSR as its authors published it
    r"body\.\d+\.body\.[02]\.(weight|bias)$": (
        (r"head\.0\.", "conv_first."),
        (r"body\.(\d+)\.body\.0\.", r"body.\1.conv1."),
        (r"body\.(\d+)\.body\.2\.", r"body.\1.conv2."),
        (r"body\.\d+\.(?=weight|bias)", "conv_after_body."),
        (r"tail\.0\.", "upsample."),
        (r"tail\.1\.", "conv_last."),
    ),
}
"""Patterns of names, and how the tensors of files that have such names are renamed."""

FIRST_ESRGAN = r"model\.1\.sub\.\d+\.RDB\d\.conv\d\.0\."
"""Names in the first published ESRGAN, which number its layers."""


@dataclass(frozen=True)
class Recognised:
    """A network whose architecture is known.

    Attributes:
        architecture: its sizes and layers.
        weights: its tensors, by the names that the architecture uses.
    """

    architecture: Architecture
    weights: Weights


def recognise(tensors: Mapping[str, np.ndarray], choices: Choices) -> Recognised | None:
    """Return the network that has some tensors; None if it is not one that can be converted.

    Args:
        tensors: float32 arrays in the layout of PyTorch, by their names in the file.
        choices: what tensors do not show.

    Raises:
        ConversionFailed: if the architecture can be converted, but not this network: tensors are
            missing, its scale is not in `SCALES`, or it does not map colour to colour.
    """
    renamed = renamed_tensors(tensors)
    for pattern in PATTERNS:
        is_complete = all(re.fullmatch(pattern.names, name) for name in renamed)
        if is_complete and any_match(pattern.sign, renamed):
            weights = Weights({new: tensors[old] for new, old in renamed.items()}, renamed)
            architecture = pattern.architecture.from_weights(weights, choices)
            check_scale(architecture)
            return Recognised(architecture, weights)
    return None


def check_scale(architecture: Architecture) -> None:
    """Raise ConversionFailed unless the service takes the scale of a network."""
    if architecture.scale not in SCALES:
        raise ConversionFailed(
            f"The network must enlarge by {' or '.join(map(str, SCALES))}. "
            f"Received: {architecture.name} of scale {architecture.scale}"
        )


def renamed_tensors(names: Iterable[str]) -> dict[str, str]:
    """Return the names in a file by the names that the architectures use."""
    names = list(names)
    rules = [rule for sign, rules in SPELLINGS.items() if any_match(sign, names) for rule in rules]
    if any_match(FIRST_ESRGAN, names):
        rules += rules_of_first_esrgan(names)
    return {rename(name, rules): name for name in names}


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return a name after the first rule whose pattern its beginning matches."""
    for pattern, replacement in rules:
        renamed, found = re.subn(f"^{pattern}", replacement, name)
        if found:
            return renamed
    return name


def rules_of_first_esrgan(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return how the numbered layers of the first ESRGAN are renamed.

    After the blocks there are three layers for each enlargement, and two convolutions with an
    activation between them.
    """
    doublings = (count(names, r"model\.(\d+)\.") - 5) // 3
    return [
        (r"model\.0\.", "conv_first."),
        (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
        (r"model\.1\.sub\.\d+\.(?=weight|bias)", "conv_body."),
        *((rf"model\.{3 * index}\.", f"conv_up{index}.") for index in range(1, doublings + 1)),
        (rf"model\.{3 * doublings + 2}\.", "conv_hr."),
        (rf"model\.{3 * doublings + 4}\.", "conv_last."),
    ]


def any_match(pattern: str, names: Iterable[str]) -> bool:
    """Return whether the beginning of a name matches a pattern."""
    return any(re.match(pattern, name) for name in names)
