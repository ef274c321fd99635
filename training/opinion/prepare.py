"""Prepare a trial: check the outputs, crop and rename them, and draw the order of each rater.

The pictures get random names, no metadata, and no compression, so that all versions of a picture
have the same number of bytes: interpolated pictures compress better than photographs.
"""

import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.files import private_folder, sweep_private_folders
from core.images.png import SIGNATURE, PngChunk, PngLayout
from core.model.tiles import Box
from training import CommandFailed
from training.evaluation.outputs import TestPicture, decode_file, list_test_pictures
from training.opinion.design import REPEATED_SHARE, Plan, draw_orders
from training.opinion.trial import (
    ANCHORS,
    FIRST,
    HR,
    NEAREST,
    PICTURES,
    SECOND,
    Design,
    Example,
    Key,
    Trial,
    Version,
    picture_path,
    write_trial,
)

MOST_RATERS = 1000  # each has an order of all questions, which the server keeps in memory
LEAST_PICTURES = 3  # to rate; with fewer, versions of one picture would follow each other
NAMED = 5  # at most so many problems in a message
IDENTIFIER_BYTES = 8

CONSENT = """\
You help to find out which pictures look good. Taking part is voluntary. You can stop at any time \
and continue later, or delete your answers, without giving a reason.
Stored are: your answers and how long each took, the kind of screen, distance and light that you \
choose on the next page, and how finely your screen shows pictures. Not stored are: your name, \
your address, cookies, or anything else about you or your device.
The answers are used to compare methods that enlarge pictures. Results are published without \
anything that identifies you."""

Pixels = dict[str, np.ndarray]
"""Versions of a picture by label, (H, W, 3) uint8."""


@dataclass(frozen=True)
class Preparation:
    """What to prepare a trial from.

    Attributes:
        trial: folder to write; it must not exist or be empty.
        test_sets: folder of test sets.
        sets: names of the test sets to use.
        outputs: folders of outputs by label, `<folder>/<set>/<name>.png` or, with one test set,
            `<folder>/<name>.png`.
        design: what a rater is asked.
        raters: greatest number of raters.
        pictures: number of pictures to rate, drawn at random; None for all.
        examples: number of pictures for practice, which are not rated.
        anchors: number of pictures whose anchors are shown among the outputs.
        repeats: number of questions that are asked twice.
        screen: greatest width and height of a picture, px; larger ones are cropped.
        seed: the same seed gives the same trial; None for a random one.
        consent: text file that replaces the text that raters agree to; None for none.
    """

    trial: Path
    test_sets: Path
    sets: Sequence[str]
    outputs: Mapping[str, Path]
    design: Design
    raters: int
    pictures: int | None
    examples: int
    anchors: int
    repeats: int
    screen: tuple[int, int]
    seed: int | None = None
    consent: Path | None = None

    def run(self) -> str:
        """Write the trial, and return a summary.

        Raises:
            CommandFailed: if an option, a file or a size is wrong; nothing is written then.
            OSError: if the trial cannot be written; nothing is left of it then.
        """
        self._check_options()
        consent = CONSENT if self.consent is None else read_consent(self.consent)
        seed = secrets.randbits(64) if self.seed is None else self.seed
        rng = np.random.default_rng(seed)
        practice, rated = self._draw_pictures(rng)
        problems = list(filter(None, map(self._problem_of, practice + rated)))
        if problems:
            more = f" And {len(problems) - NAMED} more." if len(problems) > NAMED else ""
            raise CommandFailed(" ".join(problems[:NAMED]) + more)

        trial = self.trial.resolve()
        sweep_private_folders(trial.parent)
        with private_folder(trial.parent) as unfinished:
            summary = self._write(unfinished / trial.name, practice, rated, consent, seed, rng)
            (unfinished / trial.name).rename(trial)
        return summary

    def _write(self, folder, practice, rated, consent, seed, rng):
        """Write the trial to a new folder, and return the summary."""
        (folder / PICTURES).mkdir(parents=True)
        identifiers, key, size = self._write_pictures(folder, practice, rated, seed, rng)
        anchored = rng.choice(len(rated), self.anchors, replace=False).tolist()
        of_rated = identifiers[len(practice) :]
        plan = Plan(self.design, of_rated, key.outputs, anchored, self.repeats)
        orders = tuple(map(tuple, draw_orders(plan, self.raters, rng)))
        examples = make_examples(self.design, identifiers[: len(practice)])
        trial = Trial(self.design, consent, *size, examples, orders)
        write_trial(folder, trial, key)
        return (
            f"{len(rated)} pictures, {len(self.outputs)} outputs, {self.raters} raters at most, "
            f"{trial.question_count} questions each, at most {size[1]} x {size[0]} px\n"
        )

    def _write_pictures(self, folder, practice, rated, seed, rng):
        """Write all versions of all pictures.

        Returns:
            For each picture the identifiers of its versions by label, the key, and the greatest
            height and width, px.
        """
        identifiers, versions, sizes = [], {}, []
        for picture in tqdm(practice + rated, desc="pictures", unit="picture"):
            shown = decode_anchors(picture)
            if picture in rated:
                shown |= self._decode_outputs(picture)
            box = crop_box(*shown[HR].shape[:2], self.screen)
            names = draw_identifiers(shown, rng)
            for label, name in names.items():
                versions[name] = Version(f"{picture.test_set}/{picture.name}", label)
                encoded = encode_stored_png(box.crop(shown[label]))
                picture_path(folder, name).write_bytes(encoded)
            identifiers.append(names)
            sizes.append((box.height, box.width))
        return identifiers, Key(seed, tuple(self.outputs), versions), tuple(map(max, *sizes))

    def _check_options(self):
        if self.trial.exists() and (not self.trial.is_dir() or any(self.trial.iterdir())):
            raise CommandFailed(f"TRIAL must be a new or an empty folder. Received: {self.trial}.")
        if len(self.outputs) < 2:
            raise CommandFailed(f"A trial needs two outputs. Received: {', '.join(self.outputs)}.")
        if self.raters > MOST_RATERS:
            raise CommandFailed(f"There can be {MOST_RATERS} raters. Received: {self.raters}.")
        names = [(self.test_sets / name).resolve().name for name in self.sets]
        if len(set(names)) < len(names):
            raise CommandFailed(f"Names of test sets must differ. Received: {', '.join(names)}.")
        reserved = [
            label
            for label in self.outputs
            if label in ANCHORS or not label.strip() or not label.isprintable()
        ]
        if reserved:
            raise CommandFailed(
                "A label must be printable, not empty, and not that of an anchor "
                f"({', '.join(ANCHORS)}). Received: {reserved[0]!r}."
            )

    def _draw_pictures(self, rng) -> tuple[list[TestPicture], list[TestPicture]]:
        """Return the pictures for practice and those to rate, in random order."""
        found = []
        for name in self.sets:
            pictures = list_test_pictures(self.test_sets / name)
            if not pictures:
                folder = self.test_sets / name / HR
                raise CommandFailed(f"{folder} must hold PNG files. Received: none.")
            found += pictures
        rated = len(found) - self.examples if self.pictures is None else self.pictures
        if rated < LEAST_PICTURES or self.examples + rated > len(found):
            raise CommandFailed(
                f"There must be {LEAST_PICTURES} pictures to rate or more, and those for practice. "
                f"Received: {len(found)} pictures, of which {self.examples} are for practice and "
                f"{rated} to rate."
            )
        if self.anchors > rated:
            raise CommandFailed(
                f"Anchors (--anchors) must be of at most {rated} pictures. "
                f"Received: {self.anchors}."
            )
        count = len(self.outputs)
        conditions = count if self.design is Design.ABSOLUTE else count * (count - 1) // 2
        most = int(conditions * rated * REPEATED_SHARE)
        if self.repeats > most:
            raise CommandFailed(
                f"At most {most} questions, a third of all, can be repeated (--repeats). "
                f"Received: {self.repeats}."
            )
        drawn = [found[index] for index in rng.permutation(len(found))]
        return drawn[: self.examples], drawn[self.examples : self.examples + rated]

    def _decode_outputs(self, picture) -> Pixels:
        paths = {
            label: output_path(folder, picture, self.sets) for label, folder in self.outputs.items()
        }
        return {label: decode_file(path) for label, path in paths.items()}

    def _problem_of(self, picture) -> str | None:
        """Return what is wrong with the versions of a picture, or None."""
        name = f"{picture.test_set}/{picture.name}"
        try:
            shown = decode_anchors(picture) | self._decode_outputs(picture)
        except FileNotFoundError as error:
            return f"{error.filename} must exist, as {name} does in HR. Received: no such file."
        except CommandFailed as error:
            return str(error)
        height, width = shown[HR].shape[:2]
        for label, pixels in shown.items():
            if pixels.shape != shown[HR].shape:
                what = "LR, enlarged by a whole factor," if label == NEAREST else label
                return (
                    f"{what} of {name} must have the size of HR, {width} x {height}. "
                    f"Received: {pixels.shape[1]} x {pixels.shape[0]}."
                )
        return None


def read_consent(path: Path) -> str:
    """Return the text that raters agree to.

    Raises:
        CommandFailed: if the file holds no text.
    """
    try:
        text = path.read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} must be text in UTF-8. Received: {error}.") from None
    if not text:
        raise CommandFailed(f"{path} must hold the text that raters agree to. Received: none.")
    return text


def decode_anchors(picture: TestPicture) -> Pixels:
    """Return LR, enlarged by repeating pixels, and HR."""
    lr, hr = picture.decode_lr(), picture.decode_hr()
    factor = hr.shape[0] // lr.shape[0]
    return {NEAREST: lr.repeat(factor, axis=0).repeat(factor, axis=1), HR: hr}


def output_path(folder: Path, picture: TestPicture, sets: Sequence[str]) -> Path:
    """Return the file of an output; the folder of its test set is optional if there is one."""
    in_set = folder / picture.test_set / picture.hr_path.name
    return in_set if len(sets) > 1 or in_set.parent.is_dir() else folder / picture.hr_path.name


def crop_box(height: int, width: int, screen: tuple[int, int]) -> Box:
    """Return the middle of a picture that fits on a screen, given as width and height in px.

    The middle is not chosen by content, which could favour an output.

    >>> crop_box(500, 300, (400, 400))
    Box(top=50, left=0, bottom=450, right=300)
    """
    shown_height, shown_width = min(height, screen[1]), min(width, screen[0])
    top, left = (height - shown_height) // 2, (width - shown_width) // 2
    return Box(top, left, top + shown_height, left + shown_width)


def draw_identifiers(labels, rng: np.random.Generator) -> dict[str, str]:
    """Return a random name for each label."""
    return {label: rng.bytes(IDENTIFIER_BYTES).hex() for label in labels}


def encode_stored_png(pixels: np.ndarray) -> bytes:
    """Encode pixels as a PNG without compression and metadata.

    The number of bytes depends on height and width only.

    Args:
        pixels: sRGB, (H, W, 3) uint8 in [0, 255].

    Source: Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/, sec. 11.2;
    RFC 1951, sec. 3.2.4 (stored blocks).
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # a row begins with its filter type: none
    rows[:, 1:] = pixels.reshape(height, -1)
    chunks = (
        PngLayout(height, width, channels=3).header,
        PngChunk(b"IDAT", zlib.compress(rows.tobytes(), 0)),
        PngChunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(chunk.encode() for chunk in chunks)


def make_examples(design: Design, identifiers: Sequence[Mapping[str, str]]) -> tuple[Example, ...]:
    """Return the questions for practice, with their answers.

    Raters of scores see the nearest neighbour (1) and HR (5) of pictures that are not rated, as
    in Ledig et al. 2017; raters of pairs see both, HR first and second in turn.

    Source: Ledig et al. 2017, arXiv:1609.04802, MOS testing.
    """
    examples = []
    for index, names in enumerate(identifiers):
        if design is Design.ABSOLUTE:
            examples += [Example((names[NEAREST],), 1), Example((names[HR],), 5)]
        else:
            shown = (names[NEAREST], names[HR])
            is_first = index % 2 == 0
            examples.append(
                Example(shown[::-1] if is_first else shown, FIRST if is_first else SECOND)
            )
    return tuple(examples)
