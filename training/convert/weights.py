"""Reads the tensors of files that PyTorch or safetensors wrote, without running their code.

A file may come from anybody. So it is read as data: pickles may only name tensors, nothing is
unpacked that is larger than the file, and every size is checked before it is believed.
"""

import hashlib
import importlib.util
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.convert import ConversionFailed

SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt", ".ckpt")

PACKAGES = ("torch", "safetensors", "spandrel")
"""Packages of requirements-import.txt that this package imports."""

MAX_FILE_BYTES = 2_000_000_000
MAX_PARAMETERS = 200_000_000
"""Largest number of weights; the largest network that is known to be taken has 43 million."""

MAX_NESTING = 4
"""Largest depth of dictionaries around the tensors."""

HEADER_BYTES = 8
"""Bytes at the beginning of a safetensors file that state the length of its header."""

WRAPPERS = (
    "params_ema",
    "params-ema",
    "params",
    "model_state_dict",
    "state_dict",
    "model",
    "generator",
    "netG",
    "net",
)
"""Keys under which training programs store the tensors of a generator, averaged ones first."""

PREFIXES = ("module.", "_orig_mod.", "netG.", "generator.", "net_g.")
"""What training programs put in front of all names of a network."""


@dataclass(frozen=True)
class WeightsFile:
    """Tensors of a file.

    Attributes:
        tensors: float32 arrays in the layout of PyTorch, by name.
        sha256: of the file, in hexadecimal.
    """

    tensors: dict[str, np.ndarray]
    sha256: str


def read_weights(path: Path) -> WeightsFile:
    """Read the tensors of a network.

    Args:
        path: file of PyTorch (`.pth`) or safetensors. The tensors may be in dictionaries, and
            their names may have a prefix, as training programs write them.

    Raises:
        ConversionFailed: if the file is damaged, too large, holds anything but tensors that would
            have to be run, or if a weight is not finite.
        OSError: if the file cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConversionFailed(
            f"{path} must have at most {MAX_FILE_BYTES:,} bytes. Received: {size:,}"
        )
    data = path.read_bytes()
    if path.suffix.lower() == SAFETENSORS:
        stored = load_safetensors(path, data)
    elif path.suffix.lower() in PICKLES:
        stored = load_pickle(path, data)
    else:
        expected = ", ".join((*PICKLES, SAFETENSORS))
        raise ConversionFailed(
            f"{path} must have one of the suffixes {expected}. Received: `{path.suffix}`"
        )
    tensors = without_prefix(as_arrays(path, find_tensors(path, stored)))
    return WeightsFile(tensors, hashlib.sha256(data).hexdigest())


def load_safetensors(path: Path, data: bytes) -> Mapping[str, Any]:
    """Return the content of a safetensors file."""
    import_torch()
    from safetensors import SafetensorError
    from safetensors.torch import load

    length = int.from_bytes(data[:HEADER_BYTES], "little")
    if length > len(data) - HEADER_BYTES:
        raise ConversionFailed(
            f"{path} must be a safetensors file whose header is in the file. Received: a header of "
            f"{length:,} bytes in a file of {len(data):,}"
        )
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise damaged(path, "a safetensors file", error) from error


def load_pickle(path: Path, data: bytes) -> Any:
    """Return the content of a file of PyTorch, in which pickles may name tensors only."""
    torch = import_torch()
    check_is_not_compressed(path, data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many kinds for damaged files
        forbidden = re.search(r"GLOBAL (\S+)|global (\S+)", str(error))
        if forbidden:
            raise ConversionFailed(
                f"{path} must hold tensors only; nothing else in it is run. "
                f"Received: a reference to `{forbidden[1] or forbidden[2]}`"
            ) from error
        raise damaged(path, "a file of PyTorch", error) from error


def check_is_not_compressed(path: Path, data: bytes) -> None:
    """Raise ConversionFailed if the records of a ZIP file are larger than the file.

    PyTorch stores its records as they are, so that a larger one is not from PyTorch.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return  # a legacy file, or a damaged one
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    except zipfile.BadZipFile as error:
        raise damaged(path, "a file of PyTorch", error) from error
    if unpacked > len(data):
        raise ConversionFailed(
            f"{path} must store its records uncompressed, as PyTorch does. "
            f"Received: {unpacked:,} bytes in a file of {len(data):,}"
        )


def damaged(path: Path, kind: str, error: Exception) -> ConversionFailed:
    """Return the error for a file that cannot be read."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return ConversionFailed(f"{path} must be {kind}. Received: {reason}")


def find_tensors(path: Path, stored: Any) -> dict[str, Any]:
    """Return the tensors of a network from the dictionaries around them."""
    for _ in range(MAX_NESTING):
        if not isinstance(stored, Mapping):
            break
        inner = [stored[key] for key in WRAPPERS if isinstance(stored.get(key), Mapping)]
        only = list(stored.values()) if len(stored) == 1 else []
        inner += [value for value in only if isinstance(value, Mapping)]
        if not inner:
            tensors = {str(k): v for k, v in stored.items() if hasattr(v, "untyped_storage")}
            if tensors:
                return tensors
            break
        stored = inner[0]
    raise ConversionFailed(
        f"{path} must hold a dictionary of tensors. Received: {type(stored).__name__}"
    )


def as_arrays(path: Path, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return tensors as float32 arrays.

    Raises:
        ConversionFailed: if they are too many, of a kind that no network here has, or if one is
            not finite.
    """
    torch = import_torch()
    count = sum(tensor.numel() for tensor in tensors.values())
    if count > MAX_PARAMETERS:
        raise ConversionFailed(
            f"{path} must have at most {MAX_PARAMETERS:,} weights. Received: {count:,}"
        )
    arrays = {}
    for name, tensor in tensors.items():
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not is_plain or tensor.is_quantized or tensor.is_complex():
            raise ConversionFailed(
                f"`{name}` must be a dense tensor of real numbers. "
                f"Received: {tensor.dtype}, {tensor.layout}, on {tensor.device}"
            )
        array = tensor.detach().to(torch.float32).contiguous().numpy()
        if not np.isfinite(array).all():
            raise ConversionFailed(f"`{name}` must be finite. Received: NaN or infinity in it")
        arrays[name] = array
    return arrays


def without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tensors without what training programs put in front of all names."""
    for prefix in PREFIXES * MAX_NESTING:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors


def import_torch() -> Any:
    """Return the module `torch`.

    Raises:
        ConversionFailed: if one of `PACKAGES` is not installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConversionFailed(
            f"`import` needs {', '.join(PACKAGES)}: pip install -r requirements-import.txt. "
            f"Received: no {', no '.join(missing)}"
        )
    import torch

    return torch
