"""Where upscaled test pictures come from: models, interpolation, folders of files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests

from core.images import decode_image, decode_rgb, resize_bicubic
from core.rendering import Rendering, Wish
from core.upscaler import Upscaler, load_upscaler

WINDOW = 256  # LR px
PATIENCE_S = 600  # with one request


@dataclass(frozen=True)
class TestPicture:
    """A picture of a test set: what is upscaled, and what should come out."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    test_set: str
    lr_path: Path
    hr_path: Path

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return self.hr_path.stem

    def decode_lr(self) -> np.ndarray:
        return decode_rgb(self.lr_path.read_bytes())

    def decode_hr(self) -> np.ndarray:
        return decode_rgb(self.hr_path.read_bytes())


Output = Callable[[TestPicture], np.ndarray]
"""A test picture -> SR, (4H, 4W, 3) uint8, as an 8-bit PNG holds it."""


def list_test_pictures(test_set: Path) -> list[TestPicture]:
    """Pictures of a folder with `HR/<name>.png` and `LRx4/<name>.png`, by name."""
    return [
        TestPicture(test_set.name, test_set / "LRx4" / hr_path.name, hr_path)
        for hr_path in sorted(test_set.glob("HR/*.png"))
    ]


def list_test_sets(folder: Path) -> list[Path]:
    """Every test set in a folder, the smallest first."""
    test_sets = [path.parent for path in folder.glob("*/HR")]
    return sorted(test_sets, key=lambda test_set: len(list_test_pictures(test_set)))


def bicubic(picture: TestPicture) -> np.ndarray:
    """The yardstick: classical interpolation."""
    lr = picture.decode_lr()
    height, width = lr.shape[:2]
    return resize_bicubic(lr, 4 * height, 4 * width)


def load_for_measuring(card_path: Path) -> Upscaler:
    """A frozen graph in float32.

    The service may compute in bfloat16; figures of weights must not depend on the processor.
    """
    return load_upscaler(card_path, window=WINDOW, threads=0, precision="float32")


def through_core(card_path: Path) -> Output:
    """A frozen graph, run and encoded as the service does it."""
    upscaler = load_for_measuring(card_path)

    def upscale(picture):
        lr = decode_image(picture.lr_path.read_bytes())
        return decode_rgb(b"".join(Rendering(upscaler, lr, Wish()).parts()))

    return upscale


def through_service(url: str) -> Output:
    """A running service, for example at `http://127.0.0.1:5000`."""

    def upscale(picture):
        files = {"image": picture.lr_path.read_bytes()}
        answer = requests.post(f"{url}/model/predict", files=files, timeout=PATIENCE_S)
        answer.raise_for_status()
        return decode_rgb(answer.content)

    return upscale


def from_folder(folder: Path) -> Output:
    """What another system made: `<folder>/<set>/<name>.png`."""

    def read(picture):
        path = folder / picture.test_set / picture.hr_path.name
        return decode_rgb(path.read_bytes())

    return read


def list_peers(folder: Path, test_set: Path) -> list[Path]:
    """Folders of other systems' outputs that have this test set."""
    return sorted(path.parent for path in folder.glob(f"*/{test_set.name}"))
