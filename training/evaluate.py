"""Measure a model on test sets, through the same code or the same server as its users.

A test set is a folder with `LRx4/*.png` and `HR/*.png` of the same names.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import requests
from tqdm import tqdm

from core.card import read_card
from core.images import Picture, decode_image, encode_png, resize_bicubic
from core.upscaler import load_upscaler
from training.assets import save_card
from training.metrics import psnr_y, ssim_y

EncodedUpscaler = Callable[[bytes], bytes]
"""Bytes of a LR file -> bytes of a PNG."""

Figures = dict[str, float]
FIRST_MARK = "<!-- quality: written by python -m training evaluate -->"
LAST_MARK = "<!-- end of quality -->"
TILE = 256  # LR px
PATIENCE_S = 600  # with one request


def through_core(card_path: Path) -> EncodedUpscaler:
    """The frozen graph, as the service runs it."""
    upscaler = load_upscaler(card_path, tile=TILE, threads=0)
    return lambda data: encode_png(upscaler.upscale_picture(decode_image(data)).picture)


def through_service(url: str) -> EncodedUpscaler:
    """A running service, for example at `http://127.0.0.1:5000`."""

    def upscale(data):
        answer = requests.post(f"{url}/model/predict", files={"image": data}, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.content

    return upscale


def bicubic(data: bytes) -> bytes:
    """The yardstick: classical interpolation."""
    lr = decode_image(data).pixels
    height, width = lr.shape[:2]
    return encode_png(Picture(resize_bicubic(lr, 4 * height, 4 * width)))


def evaluate(upscale: EncodedUpscaler, test_set: Path) -> Figures:
    """Mean figures over the pictures of a test set, on 8-bit PNG output."""
    figures = [
        measure(decode_image(upscale(lr_path.read_bytes())).pixels, read_hr(test_set, lr_path.name))
        for lr_path in tqdm(sorted((test_set / "LRx4").glob("*.png")), desc=test_set.name)
    ]
    return {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}


def read_hr(test_set: Path, name: str) -> np.ndarray:
    return decode_image((test_set / "HR" / name).read_bytes()).pixels


def measure(sr: np.ndarray, hr: np.ndarray) -> Figures:
    return {"psnr_y_db": psnr_y(sr, hr), "ssim_y": ssim_y(sr, hr)}


def evaluate_card(
    card_path: Path, test_sets: Path, url: str | None
) -> dict[str, dict[str, Figures]]:
    """Measure a model and bicubic interpolation on every test set, and note it in the card.

    Args:
        card_path: card of the model; its `quality` is rewritten.
        test_sets: folder of test sets.
        url: a running service to measure through; None to measure through `core`.
    """
    methods = {
        "bicubic": bicubic,
        "model": through_service(url) if url else through_core(card_path),
    }
    quality = {
        test_set.name: {
            name: {k: round(v, 4) for k, v in evaluate(upscale, test_set).items()}
            for name, upscale in methods.items()
        }
        for test_set in list_test_sets(test_sets)
    }
    save_card(card_path, replace(read_card(card_path), quality=quality))
    return quality


def list_test_sets(folder: Path) -> list[Path]:
    """Every test set in a folder, the smallest first."""
    return sorted(
        (path.parent for path in folder.glob("*/HR")),
        key=lambda test_set: len(list(test_set.glob("HR/*.png"))),
    )


def write_into(document: Path, table: str) -> None:
    """Put a table between the two marks of a Markdown document."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(FIRST_MARK)
    _, after = rest.split(LAST_MARK)
    document.write_text(f"{before}{FIRST_MARK}\n{table}{LAST_MARK}{after}", encoding="utf-8")


def as_table(quality: dict[str, dict[str, Figures]]) -> str:
    """Markdown, one line a test set and method."""
    lines = ["| test set | output | PSNR-Y dB | SSIM-Y |", "|---|---|---|---|"]
    for test_set, methods in quality.items():
        for method, figures in methods.items():
            psnr, ssim = figures["psnr_y_db"], figures["ssim_y"]
            lines.append(f"| {test_set} | {method} | {psnr:.2f} | {ssim:.4f} |")
    return "\n".join(lines) + "\n"
