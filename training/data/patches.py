"""Training patches: aligned random crops of pairs, mirrored and rotated at random.

The seed and the step alone determine a batch, so there is no random state to save: a
resumed run gets exactly the batches that an uninterrupted run gets.

A teacher, another network that is to be learned from, may be too slow to run in every step. So
it upscales a number of patches once, and its SR is kept in a cache, a folder with:

- `patches.csv`: a row for each patch: its file, where it was cut from, hashes of LR and HR.
- `lr/`: the degraded patches, PNG.
- `sr/`: the teacher's SR of each, a file of the same name but for the suffix.
- `cache.json`: what determines the patches.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.files import atomic_write
from core.images import SUFFIXES, decode_rgb, encode_png
from core.model.tiles import Box
from core.picture import Picture
from core.pixels import unit_from_uint8
from training import CommandFailed
from training.data.degradation import AnyDegradation, crop_lr
from training.data.photos import Pair, read_table
from training.models.networks import SCALE

PREPARED_AHEAD = 8  # number of batches drawn while the network computes
CACHE, PATCHES = "cache.json", "patches.csv"
LR_FOLDER, SR_FOLDER = "lr", "sr"
PATCH_COLUMNS = ("file", "pair", "top", "left", "lr_sha256", "hr_sha256")
CLEAN_LEVELS = 4.0  # root mean square up to which LR counts as clean: HR teaches it better
TEACHER_STREAM = 1  # part of the seed, so that patches differ from those of the first steps
MAX_DRAWS = 100  # after which a clean patch is taught all the same


class PatchSampler:
    """Draws batches of (LR, HR) patches; every LR pixel is equally likely.

    Args:
        pairs: photographs; those smaller than a patch are ignored.
        patch: side of an LR patch, px.
        batch: patches in a batch.
        seed: together with the step, it determines a batch.
        degradation: how LR is made from HR; None for the LR of the pairs.

    Raises:
        CommandFailed: if all photographs are smaller than a patch.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        patch: int,
        batch: int,
        seed: int,
        degradation: AnyDegradation | None = None,
    ) -> None:
        self.pairs = [pair for pair in pairs if min(pair.lr.shape[:2]) >= patch]
        if not self.pairs:
            raise CommandFailed(
                f"At least one photograph must be {SCALE * patch} px high and wide. "
                f"Received: {len(pairs)} photographs, all smaller."
            )
        sizes = np.array([pair.lr.shape[0] * pair.lr.shape[1] for pair in self.pairs])
        self.weights = sizes / sizes.sum()
        self.patch, self.batch, self.seed = patch, batch, seed
        self.degradation = degradation

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch of a step: LR (B, h, w, 3) and HR (B, 4h, 4w, 3), unit float32."""
        patches = self.draw_patches(self.batch, np.random.default_rng((self.seed, step)))
        lr, hr = (np.stack(side) for side in zip(*patches, strict=True))
        return unit_from_uint8(lr), unit_from_uint8(hr)

    def draw_patches(self, count: int, rng: np.random.Generator) -> list[tuple]:
        """Return LR (h, w, 3) and HR (4h, 4w, 3) of `count` patches, uint8."""
        chosen = rng.choice(len(self.pairs), count, p=self.weights)
        return [self._draw_one(self.pairs[index], rng) for index in chosen]

    def draw_degraded(self, rng: np.random.Generator) -> tuple[int, Box, np.ndarray]:
        """Draw a patch that is not clean, if there is a degradation.

        Returns:
            The index of its pair, its box in LR px, and LR (h, w, 3) uint8.
        """
        for _ in range(MAX_DRAWS):
            index = int(rng.choice(len(self.pairs), p=self.weights))
            pair = self.pairs[index]
            box = self._draw_box(pair, rng)
            lr = crop_lr(pair, box, self.degradation, rng)
            difference = lr - box.crop(pair.lr).astype(np.float32)
            if self.degradation is None or np.sqrt(np.mean(difference**2)) >= CLEAN_LEVELS:
                break
        return index, box, lr

    def batches(self, first_step: int):
        """Yield batches from `first_step` on, endlessly; a thread draws them ahead."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            ahead = [pool.submit(self.draw, first_step + k) for k in range(PREPARED_AHEAD)]
            step = first_step + PREPARED_AHEAD
            while True:
                ahead.append(pool.submit(self.draw, step))
                step += 1
                yield ahead.pop(0).result()

    def _draw_box(self, pair, rng):
        height, width = pair.lr.shape[:2]
        top = int(rng.integers(height - self.patch + 1))
        left = int(rng.integers(width - self.patch + 1))
        return Box(top, left, top + self.patch, left + self.patch)

    def _draw_one(self, pair, rng):
        box = self._draw_box(pair, rng)
        turns, mirrored = rng.integers(4), rng.integers(2)
        lr, hr = crop_lr(pair, box, self.degradation, rng), box.scaled(SCALE).crop(pair.hr)
        return orient(lr, turns, mirrored), orient(hr, turns, mirrored)


class TaughtSampler(PatchSampler):
    """Draws batches of which a share has a teacher's SR as target; the others have HR.

    Args:
        cache: folder that `fill_cache` filled with patches of the same pairs.
        share: share of the patches that have the teacher's SR as target.
        **options: arguments of `PatchSampler`.

    Raises:
        CommandFailed: if a file of the cache is missing or changed, or if the pairs or the
            patches are not those that it was filled from.
    """

    def __init__(self, pairs: Sequence[Pair], *, cache: Path, share: float, **options) -> None:
        super().__init__(pairs, **options)
        self.share = share
        self._cache, self._rows = cache, read_patches(cache)
        self._sr = find_outputs(cache, self._rows)
        for row in self._rows:
            if int(row["pair"]) >= len(self.pairs) or hash_of(self._hr(row)) != row["hr_sha256"]:
                raise CommandFailed(
                    f"{cache} must be filled from these photographs, with the same `patch` and "
                    f"`sizes`. Received: another HR for {row['file']}."
                )

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the batch of a step: LR, HR and target, unit float32; see `PatchSampler.draw`."""
        rng = np.random.default_rng((self.seed, step))
        taught = int(rng.binomial(self.batch, self.share))
        patches = [self._draw_taught(rng) for _ in range(taught)]
        if taught < self.batch:
            others = self.draw_patches(self.batch - taught, rng)
            patches += [(lr, hr, hr) for lr, hr in others]
        lr, hr, target = (np.stack(side) for side in zip(*patches, strict=True))
        return unit_from_uint8(lr), unit_from_uint8(hr), unit_from_uint8(target)

    def _hr(self, row):
        top, left = int(row["top"]), int(row["left"])
        box = Box(top, left, top + self.patch, left + self.patch).scaled(SCALE)
        return box.crop(self.pairs[int(row["pair"])].hr)

    def _draw_taught(self, rng):
        row = self._rows[rng.integers(len(self._rows))]
        turns, mirrored = rng.integers(4), rng.integers(2)
        hr = self._hr(row)
        lr = decode_rgb((self._cache / LR_FOLDER / row["file"]).read_bytes())
        path = self._sr[Path(row["file"]).stem]
        sr = decode_rgb(path.read_bytes())
        if sr.shape != hr.shape:
            raise CommandFailed(
                f"{path} must be {SCALE} times as high and wide as LR, {hr.shape[:2]}. "
                f"Received: {sr.shape[:2]}"
            )
        return tuple(orient(pixels, turns, mirrored) for pixels in (lr, hr, sr))


def fill_cache(
    cache: Path,
    sampler: PatchSampler,
    count: int,
    origin: Mapping,
    teacher: Callable[[np.ndarray], np.ndarray] | None,
) -> None:
    """Draw patches and let a teacher upscale them; a cache that is partly filled is continued.

    The index of a patch and the seed of the sampler determine it. A row is written after its
    files, so a process that is killed leaves no row without files.

    Args:
        cache: folder to fill.
        sampler: draws the patches.
        count: number of patches that the cache is to hold.
        origin: what determines the patches and the teacher, in JSON's types.
        teacher: LR (h, w, 3) uint8 -> SR (4h, 4w, 3) uint8; None if `sr/` is filled by others.

    Raises:
        CommandFailed: if the cache was begun with another origin.
    """
    check_origin(cache, origin)
    done = len(read_patches(cache))
    with (cache / PATCHES).open("a", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, PATCH_COLUMNS, lineterminator="\n")
        if table.tell() == 0:
            writer.writeheader()
        for index in tqdm(range(done, count), initial=done, total=count, unit="patch"):
            rng = np.random.default_rng((sampler.seed, index, TEACHER_STREAM))
            pair, box, lr = sampler.draw_degraded(rng)
            name = f"{index:06}.png"
            data = encode_png(Picture(lr))
            write_whole(cache / LR_FOLDER / name, data)
            if teacher is not None:
                write_whole(cache / SR_FOLDER / name, encode_png(Picture(teacher(lr))))
            hr = box.scaled(SCALE).crop(sampler.pairs[pair].hr)
            row = (name, pair, box.top, box.left, sha256(data), hash_of(hr))
            writer.writerow(dict(zip(PATCH_COLUMNS, row, strict=True)))
            table.flush()


def check_origin(cache: Path, origin: Mapping) -> None:
    """Write what determines the patches of a cache, or compare it with what it began with."""
    path = cache / CACHE
    before = json.loads(path.read_text()) if path.exists() else origin
    if before != origin:
        changed = [key for key in origin if origin[key] != before.get(key)]
        raise CommandFailed(
            f"{cache} must hold patches of this recipe, photographs and teacher. "
            f"Received: a cache with another {', '.join(changed)}."
        )
    write_whole(path, (json.dumps(origin, indent=2) + "\n").encode())


def read_patches(cache: Path) -> list[dict[str, str]]:
    """Return the rows of a cache, after a check of the hash of each LR file.

    A last line that was not written completely is removed from the table.

    Raises:
        CommandFailed: if an LR file is missing or changed.
    """
    path = cache / PATCHES
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        write_whole(path, text[: text.rfind("\n") + 1].encode())
    rows = read_table(path, PATCH_COLUMNS) if "\n" in text else []
    for row in rows:
        file = cache / LR_FOLDER / row["file"]
        if not file.exists() or sha256(file.read_bytes()) != row["lr_sha256"]:
            raise CommandFailed(
                f"{file} must be as `teach` wrote it. Received: a file that is missing or changed."
            )
    return rows


def find_outputs(cache: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, Path]:
    """Return the file of the teacher's SR for each patch, by the name without suffix.

    Raises:
        CommandFailed: if the cache is empty, or SR of a patch is missing.
    """
    folder = cache / SR_FOLDER
    files = folder.iterdir() if folder.exists() else ()
    outputs = {path.stem: path for path in files if path.suffix.lower() in SUFFIXES}
    missing = [row["file"] for row in rows if Path(row["file"]).stem not in outputs]
    if not rows or missing:
        raise CommandFailed(
            f"{folder} must hold the teacher's SR of every patch in {cache / LR_FOLDER}. "
            f"Received: {len(outputs)} files; {len(missing)} of {len(rows)} patches lack one."
        )
    return outputs


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_of(pixels: np.ndarray) -> str:
    """Return the SHA-256 of the levels of a picture, (H, W, 3) uint8, in hexadecimal."""
    return sha256(np.ascontiguousarray(pixels).tobytes())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def orient(pixels: np.ndarray, turns: int, mirrored: int) -> np.ndarray:
    """Rotate pictures (..., H, W, C) by quarter turns, then mirror them if asked for."""
    turned = np.rot90(pixels, turns, axes=(-3, -2))
    return turned[..., ::-1, :] if mirrored else turned


def orient_back(pixels: np.ndarray, turns: int, mirrored: int) -> np.ndarray:
    """Undo `orient`."""
    turned = pixels[..., ::-1, :] if mirrored else pixels
    return np.rot90(turned, -turns, axes=(-3, -2))
