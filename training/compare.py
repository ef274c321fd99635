"""One picture for the eye: bicubic interpolation, the model, the original."""

from pathlib import Path

import numpy as np

from core.images import encode_png
from core.picture import Picture
from training.outputs import TestPicture, bicubic, through_core


def compare(card_path: Path, picture: TestPicture) -> bytes:
    """PNG of three pictures of the same size, side by side."""
    shown = [bicubic(picture), through_core(card_path)(picture), picture.decode_hr()]
    return encode_png(Picture(np.concatenate(shown, axis=1)))
