"""One picture for the eye: bicubic interpolation, the model, the original."""

from pathlib import Path

import numpy as np

from core.images import Picture, decode_image, encode_png
from training.evaluate import bicubic, through_core


def compare(card_path: Path, lr_path: Path, hr_path: Path) -> bytes:
    """PNG of three pictures of the same size, side by side.

    Args:
        card_path: card of the model.
        lr_path: the small picture.
        hr_path: the picture, four times as wide and high, that it was made from.
    """
    lr = lr_path.read_bytes()
    encoded = [bicubic(lr), through_core(card_path)(lr), hr_path.read_bytes()]
    pictures = [decode_image(data).pixels for data in encoded]
    return encode_png(Picture(np.concatenate(pictures, axis=1)))
