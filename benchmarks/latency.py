"""Time of one request after another: what a client waits for."""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import requests

from benchmarks.plan import Rhythm
from benchmarks.timing import repeat
from core.images import encode_png
from core.picture import Picture
from core.pixels import Uint8Array

PATIENCE_S = 600  # with one request

OK, REFUSED = "200", "503"


class Answer(NamedTuple):
    """What came of one request."""

    status: str
    """Of HTTP, or the name of the error that left none."""
    end_to_end_ms: float
    """From before the upload to the last byte of the answer."""
    network_ms: float | None
    """What the server says of it; None if it does not."""
    retry_after_s: float
    """When a refused client should come back."""


class UnexpectedAnswer(Exception):
    """A picture was not upscaled."""

    def __init__(self, status: str) -> None:
        super().__init__(f"Status must be {OK}. Received: {status}")
        self.status = status


def measure_end_to_end(url: str, width: int, height: int, rhythm: Rhythm) -> list[Answer]:
    """Post the same picture again and again.

    Raises:
        UnexpectedAnswer: if the status is not 200.
    """
    picture = make_picture(width, height)

    def upscale() -> Answer:
        answer = post(url, picture)
        if answer.status != OK:
            raise UnexpectedAnswer(answer.status)
        return answer

    return repeat(upscale, rhythm)


def post(url: str, picture: bytes) -> Answer:
    """Post an encoded picture and read the whole answer."""
    started = time.perf_counter()
    try:
        response = requests.post(
            f"{url}/model/predict", files={"image": picture}, timeout=PATIENCE_S
        )
        status, headers = str(response.status_code), response.headers
    except requests.RequestException as error:
        status, headers = type(error).__name__, {}
    end_to_end_ms = 1000 * (time.perf_counter() - started)
    return Answer(status, end_to_end_ms, inference_ms(headers), retry_after_s(headers))


def inference_ms(headers: Mapping[str, str]) -> float | None:
    """The network's time as `Server-Timing` has it, ms.

    >>> inference_ms({"Server-Timing": "decode;dur=1.2, inference;dur=34.5"})
    34.5
    """
    found = re.search(r"\binference;dur=([\d.]+)", headers.get("Server-Timing", ""))
    return float(found[1]) if found else None


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds until the next try; 1 where the server names none."""
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 1.0


def make_picture(width: int, height: int, *, seed: int = 0) -> bytes:
    """Noise as PNG, the hardest picture to encode."""
    return encode_png(Picture(make_noise(width, height, seed=seed)))


def make_noise(width: int, height: int, *, seed: int = 0) -> Uint8Array:
    """(height, width, 3) uint8 in [0, 255]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
