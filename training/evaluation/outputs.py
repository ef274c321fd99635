"""Outputs to compare on test pictures: where they come from, and pictures of them side by side.

An output is the SR of a test picture by a model, by interpolation, by a running service, or
by another system whose files are in a folder. A contact sheet shows LR, all outputs and HR.

A test set has clean LR and, if it has a folder `LRwild`, wild LR: blurred, noisy, compressed, as
`python -m training degrade` makes it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from matplotlib.figure import Figure

from core.errors import SuperResolutionError
from core.images import SUFFIXES, decode_image, decode_rgb, encode_png, resize_bicubic
from core.media.render import upscale_to_stream
from core.model.tiles import Box
from core.model.upscaler import Upscaler, load_upscaler
from core.options import AUTO, PICTURE_OPTIONS, OutputOptions
from core.picture import Picture
from core.pixels import LEVELS
from training import CommandFailed

WILD = " wild"  # end of the names of test sets with wild LR
WINDOW = 256  # LR px
REQUEST_TIMEOUT_S = 600

DPI = 100  # of the canvas: positions in pixels are inches times this
CAPTION_PX = 36  # height of two lines of text
COLUMN_GAP_PX = 4  # to the right of a picture and below it
MIN_ZOOM = 3  # also keeps columns wide enough for their captions
CROP_PX = 96  # SR px, side of the square that is enlarged
CROP_STEP_PX = 16  # SR px between the squares that are tried
BACKGROUND = 255  # level


@dataclass(frozen=True)
class TestPicture:
    """A picture of a test set: LR to upscale, and HR to compare with."""

    __test__ = False  # pytest would take it for a test, because of its name

    test_set: str
    lr_path: Path
    hr_path: Path

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return self.hr_path.stem

    def decode_lr(self) -> np.ndarray:
        """Return LR, (H, W, 3) uint8."""
        return decode_file(self.lr_path)

    def decode_hr(self) -> np.ndarray:
        """Return HR, (4H, 4W, 3) uint8."""
        return decode_file(self.hr_path)


def decode_file(path: Path) -> np.ndarray:
    """Return the colour of a picture, (H, W, 3) uint8.

    Raises:
        CommandFailed: if it cannot be decoded; the message names the file.
        OSError: if it cannot be read.
    """
    try:
        return decode_rgb(path.read_bytes())
    except SuperResolutionError as error:
        raise CommandFailed(f"{path} cannot be decoded. {error}") from None


Output = Callable[[TestPicture], np.ndarray]
"""A test picture -> SR, (4H, 4W, 3) uint8, as an 8-bit PNG holds it."""


def list_test_sets(folder: Path) -> list[Path]:
    """Return every test set in a folder, the smallest first."""
    test_sets = [path.parent for path in folder.glob("*/HR")]
    return sorted(test_sets, key=lambda test_set: len(list_test_pictures(test_set)))


def list_wild_pictures(test_set: Path) -> list[TestPicture]:
    """Return the pictures of a folder with `HR/<name>.png` and `LRwild/<name>.*`, by name.

    They belong to another test set, whose name ends with `WILD`. There may be none.
    """
    files = {path.stem: path for path in test_set.glob("LRwild/*") if is_picture(path)}
    name = f"{test_set.name}{WILD}"
    return [
        TestPicture(name, files[hr_path.stem], hr_path)
        for hr_path in sorted(test_set.glob("HR/*.png"))
        if hr_path.stem in files
    ]


def is_picture(path: Path) -> bool:
    """Return whether a file has the suffix of a picture."""
    return path.suffix.lower() in SUFFIXES


def list_test_pictures(test_set: Path) -> list[TestPicture]:
    """Return the pictures of a folder with `HR/<name>.png` and `LRx4/<name>.png`, by name."""
    return [
        TestPicture(test_set.name, test_set / "LRx4" / hr_path.name, hr_path)
        for hr_path in sorted(test_set.glob("HR/*.png"))
    ]


def bicubic(picture: TestPicture) -> np.ndarray:
    """Upscale a picture by bicubic interpolation, the baseline."""
    lr = picture.decode_lr()
    height, width = lr.shape[:2]
    return resize_bicubic(lr, 4 * height, 4 * width)


def through_core(card_path: Path, **options: str) -> Output:
    """Return the output of a frozen graph, run and encoded as the service does it.

    Args:
        card_path: card of the graph.
        **options: options as in a request, for example `detail`; those left out have their
            default values.
    """
    return through_upscaler(load_for_measuring(card_path), **options)


def through_upscaler(upscaler: Upscaler, **options: str) -> Output:
    """Return the output of an upscaler; see `through_core`."""
    output_options = read_options(options)

    def upscale(picture):
        lr = decode_image(picture.lr_path.read_bytes())
        return decode_rgb(b"".join(upscale_to_stream(upscaler, lr, output_options)))

    return upscale


def read_options(texts: Mapping[str, str]) -> OutputOptions:
    """Return the options of a request for a picture, from texts by their names."""
    values = {
        option.attribute: option.parse(texts[option.name])
        for option in PICTURE_OPTIONS
        if option.name in texts
    }
    return OutputOptions(**values)


def restored_through_core(card_path: Path, strengths: Iterable[str]) -> dict[str, Output]:
    """Return the outputs of a graph by the value of `restore`; the graph is loaded once."""
    upscaler = load_for_measuring(card_path)
    return {strength: through_upscaler(upscaler, restore=strength) for strength in strengths}


def load_for_measuring(card_path: Path) -> Upscaler:
    """Load a frozen graph in float32.

    The service may compute in bfloat16; figures of weights must not depend on the processor.
    """
    return load_upscaler(card_path, window=WINDOW, threads=0, precision="float32")


def through_service(url: str, **options: str) -> Output:
    """Return the output of a running service, for example at `http://127.0.0.1:5000`.

    Args:
        url: address of the service.
        **options: options of the requests, for example `restore`.
    """

    def upscale(picture):
        files = {"image": picture.lr_path.read_bytes()}
        answer = requests.post(
            f"{url}/model/predict", files=files, data=options, timeout=REQUEST_TIMEOUT_S
        )
        answer.raise_for_status()
        return decode_rgb(answer.content)

    return upscale


def from_folder(folder: Path) -> Output:
    """Return the output of another system, in files `<folder>/<set>/<name>.png`."""

    def read(picture):
        return decode_file(folder / picture.test_set / picture.hr_path.name)

    return read


def list_peers(folder: Path, test_set: str) -> list[Path]:
    """Return the folders of other systems' outputs that contain a test set, given its name."""
    return sorted(path.parent for path in folder.glob(f"*/{test_set}"))


def compare(card_path: Path, picture: TestPicture) -> bytes:
    """Return a PNG of bicubic interpolation, the model's output and HR, side by side."""
    return side_by_side(bicubic(picture), through_core(card_path)(picture), picture.decode_hr())


def compare_restored(card_path: Path, lr_path: Path, shown: Box) -> bytes:
    """Return a PNG of bicubic interpolation, SR without restoring and with it, side by side.

    Args:
        card_path: card of the graph.
        lr_path: the picture, which is upscaled as a whole.
        shown: the part of LR that is shown.

    Raises:
        ValueError: if the picture does not contain this part.
    """
    picture = TestPicture("", lr_path, lr_path)
    height, width = picture.decode_lr().shape[:2]
    if shown != shown.grown(0, height, width) or min(shown.height, shown.width) < 1:
        raise ValueError(
            f"Part must lie in the picture of {width} x {height} pixels. Received: left "
            f"{shown.left}, top {shown.top}, right {shown.right}, bottom {shown.bottom}"
        )
    restored = restored_through_core(card_path, ("0", AUTO))
    outputs = (bicubic, *restored.values())
    return side_by_side(*(shown.scaled(4).crop(output(picture)) for output in outputs))


def side_by_side(*pictures: np.ndarray) -> bytes:
    """Return a PNG of pictures of one height, (H, W, 3) uint8."""
    return encode_png(Picture(np.concatenate(pictures, axis=1)))


def write_sheet(
    path: Path,
    picture: TestPicture,
    upscaled: Mapping[str, np.ndarray],
    captions: Mapping[str, str],
) -> None:
    """Write a contact sheet of LR, every output and HR; see `write_columns`.

    Args:
        path: file to write; its folder is created.
        picture: the test picture.
        upscaled: SR by the name of its output, (4H, 4W, 3) uint8.
        captions: text under the name of an output, for example its figures.
    """
    hr = picture.decode_hr()
    lr = picture.decode_lr().repeat(4, axis=0).repeat(4, axis=1)
    write_columns(path, {"LR": lr, **upscaled, "HR": hr}, find_busiest_square(hr), captions)


def write_columns(
    path: Path,
    shown: Mapping[str, np.ndarray],
    corner: tuple[int, int],
    captions: Mapping[str, str],
) -> None:
    """Write a contact sheet with a column per picture as a PNG.

    The upper row shows whole pictures, pixel for pixel. The lower row shows a square, enlarged
    without smoothing.

    Args:
        path: file to write; its folder is created.
        shown: pictures of the same size by name, (H, W, 3) uint8.
        corner: top and left of the square, px.
        captions: text under the name of a picture, for example its figures.
    """
    top, left = corner
    zoom = max(MIN_ZOOM, next(iter(shown.values())).shape[1] // CROP_PX)
    columns = [
        make_column(pixels, pixels[top : top + CROP_PX, left : left + CROP_PX], zoom)
        for pixels in shown.values()
    ]
    sheet = np.concatenate(columns, axis=1)
    texts = [f"{name}\n{captions.get(name, '')}" for name in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_with_captions(path, sheet, texts, columns[0].shape[1])


def find_busiest_square(hr: np.ndarray) -> tuple[int, int]:
    """Return top and left of the square of `CROP_PX` with the strongest gradients, HR px."""
    luma = hr.astype(np.float32).mean(axis=-1)
    energy = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    tops = range(0, max(1, energy.shape[0] - CROP_PX), CROP_STEP_PX)
    lefts = range(0, max(1, energy.shape[1] - CROP_PX), CROP_STEP_PX)
    return max(
        ((top, left) for top in tops for left in lefts),
        key=lambda corner: energy[
            corner[0] : corner[0] + CROP_PX, corner[1] : corner[1] + CROP_PX
        ].mean(),
    )


def make_column(whole: np.ndarray, square: np.ndarray, zoom: int) -> np.ndarray:
    """Return a whole picture above an enlarged square, padded to the same width."""
    enlarged = square.repeat(zoom, axis=0).repeat(zoom, axis=1)
    width = max(whole.shape[1], enlarged.shape[1]) + COLUMN_GAP_PX
    return np.concatenate([pad(part, width) for part in (whole, enlarged)])


def pad(pixels: np.ndarray, width: int) -> np.ndarray:
    """Return a picture with background to its right up to `width`, and below it."""
    height = pixels.shape[0] + COLUMN_GAP_PX
    padded = np.full((height, width, 3), BACKGROUND, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded


def save_with_captions(path: Path, sheet: np.ndarray, texts: list[str], column_px: int) -> None:
    """Save an array pixel for pixel, with two lines of text above each column."""
    height, width = sheet.shape[0] + CAPTION_PX, sheet.shape[1]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(sheet / LEVELS, origin="upper")
    for index, text in enumerate(texts):
        x, y = index * column_px / width, (sheet.shape[0] + 6) / height
        figure.text(x, y, text, fontsize=9, family="monospace", parse_math=False)
    figure.savefig(path, dpi=DPI)
