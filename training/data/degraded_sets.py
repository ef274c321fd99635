"""Sets of degraded pictures as files, made from a folder of HR, and sheets that show them.

The seed and the name of a file determine what happens to it, so a set can be made again, and a
picture does not change when others are added. `degradation.csv` states what was drawn.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.files import atomic_write
from core.images import SUFFIXES, decode_rgb, encode_png
from core.model.tiles import Box
from core.picture import Picture
from training import CommandFailed
from training.data.degradation import DegradationMix, apply_all, crop_lr
from training.data.distortions import Compression, Distortion
from training.data.photos import Pair, make_pair, write_table
from training.models.networks import SCALE

TABLE = "degradation.csv"
COLUMNS = ("file", "hr", "process", "distortions")
SHEET_PATCHES = 64
SHEET_COLUMNS = 8
SHEET_SIDE = 40  # LR px, side of a patch in a sheet
NUMBER_BYTES = 8  # of a file name's hash, which is part of the seed


def degrade_folder(source: Path, target: Path, mix: DegradationMix, seed: int) -> int:
    """Write LR of every picture in a folder, a quarter of its size, and the table.

    LR is a JPEG or a WebP if compression was drawn as the last distortion, else a PNG. The
    name of the file is that of HR with another suffix.

    Args:
        source: folder of HR; files of other kinds are ignored.
        target: folder to write; it is created if it does not exist.
        mix: processes to draw from.
        seed: together with the name of a file, it determines the distortions.

    Returns:
        Number of pictures.

    Raises:
        CommandFailed: if there is no picture, or if two have the same name but for the suffix.
    """
    rows = []
    for path in tqdm(list_pictures(source), unit="picture"):
        rng = generator_for(path.name, seed)
        hr = make_pair(decode_rgb(path.read_bytes())).hr
        process = mix.choose(rng)
        distortions = process.draw(*hr.shape[:2], rng)
        suffix, data = encode(hr, distortions)
        name = f"{path.stem}{suffix}"
        with atomic_write(target / name) as partial:
            partial.write_bytes(data)
        drawn = "; ".join(str(distortion) for distortion in distortions)
        rows.append({"file": name, "hr": path.name, "process": process.name, "distortions": drawn})
    write_table(target / TABLE, COLUMNS, rows)
    return len(rows)


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder by name; see `degrade_folder` for the errors."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    stems = {path.stem for path in paths}
    if not paths or len(stems) < len(paths):
        raise CommandFailed(
            f"{folder} must hold pictures, each with a name of its own but for the suffix. "
            f"Received: {len(paths)} pictures with {len(stems)} names."
        )
    return paths


def generator_for(name: str, seed: int) -> np.random.Generator:
    """Return a source of random numbers that the seed and a file's name determine."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng((seed, int.from_bytes(digest[:NUMBER_BYTES], "big")))


def encode(hr: np.ndarray, distortions: Sequence[Distortion]) -> tuple[str, bytes]:
    """Degrade HR, (4H, 4W, 3) uint8, and return the suffix and the bytes of the LR file.

    If the last distortion is a compression, the file itself is that compression.
    """
    *before, last = distortions
    if isinstance(last, Compression):
        return last.suffix, last.encode(apply_all(hr, before))
    return ".png", encode_png(Picture(apply_all(hr, distortions)))


def write_sheet_of_degradations(path: Path, source: Path, mix: DegradationMix, seed: int) -> None:
    """Write a PNG of 64 degraded patches, each beside its HR, both of the size of HR.

    Args:
        path: file to write.
        source: folder of HR; the patches come from its pictures in turn.
        mix: processes to draw from.
        seed: determines patches and distortions.
    """
    rng = np.random.default_rng(seed)
    paths = list_pictures(source)[:SHEET_PATCHES]
    pairs = [make_pair(decode_rgb(picture.read_bytes())) for picture in paths]
    cells = [draw_cell(pairs[n % len(pairs)], mix, rng) for n in range(SHEET_PATCHES)]
    rows = [
        np.concatenate(cells[start : start + SHEET_COLUMNS], axis=1)
        for start in range(0, SHEET_PATCHES, SHEET_COLUMNS)
    ]
    with atomic_write(path) as partial:
        partial.write_bytes(encode_png(Picture(np.concatenate(rows))))


def draw_cell(pair: Pair, mix: DegradationMix, rng: np.random.Generator) -> np.ndarray:
    """Return a degraded patch of a pair, enlarged without smoothing, and HR to its right."""
    height, width = pair.lr.shape[:2]
    top, left = (int(rng.integers(max(side - SHEET_SIDE, 0) + 1)) for side in (height, width))
    box = Box(top, left, min(top + SHEET_SIDE, height), min(left + SHEET_SIDE, width))
    lr = crop_lr(pair, box, mix, rng).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    cell = np.zeros((SCALE * SHEET_SIDE, 2 * SCALE * SHEET_SIDE, 3), np.uint8)
    cell[: lr.shape[0], : lr.shape[1]] = lr
    hr = box.scaled(SCALE).crop(pair.hr)
    cell[: hr.shape[0], SCALE * SHEET_SIDE : SCALE * SHEET_SIDE + hr.shape[1]] = hr
    return cell
