"""Time one request after another, as a client sees it."""

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import requests

from benchmarks.plan import Repetitions
from benchmarks.timing import repeat
from core.images import encode_png
from core.picture import Picture
from core.pixels import Uint8Array

TIMEOUT_S = 600  # for one request

OK, REFUSED = "200", "503"


class Answer(NamedTuple):
    """The outcome of one request."""

    status: str
    """HTTP status, or the name of the error if there was no answer."""
    end_to_end_ms: float
    """Time from before the upload to the last byte of the answer."""
    network_ms: float | None
    """Time in the network as the server states it; None if it does not."""
    retry_after_s: float
    """Seconds after which a refused client should retry."""


class UnexpectedAnswer(Exception):
    """A picture was not upscaled."""

    def __init__(self, status: str) -> None:
        super().__init__(f"Status must be {OK}. Received: {status}")
        self.status = status


def measure_end_to_end(url: str, width: int, height: int, repetitions: Repetitions) -> list[Answer]:
    """Post the same picture repeatedly.

    Raises:
        UnexpectedAnswer: if the status is not 200.
    """
    picture = make_picture(width, height)

    def upscale() -> Answer:
        answer = post(url, picture)
        if answer.status != OK:
            raise UnexpectedAnswer(answer.status)
        return answer

    return repeat(upscale, repetitions)


def post(url: str, picture: bytes, *, restore: float = 0.0) -> Answer:
    """Post an encoded picture, and read the whole answer. Other services ignore `restore`."""
    started = time.perf_counter()
    try:
        response = requests.post(
            f"{url}/model/predict",
            files={"image": picture},
            data={"restore": f"{restore:g}"},
            timeout=TIMEOUT_S,
        )
        status, headers = str(response.status_code), response.headers
    except requests.RequestException as error:
        status, headers = type(error).__name__, {}
    end_to_end_ms = 1000 * (time.perf_counter() - started)
    return Answer(status, end_to_end_ms, inference_ms(headers), retry_after_s(headers))


def inference_ms(headers: Mapping[str, str]) -> float | None:
    """Return the time in the network that `Server-Timing` states, ms.

    >>> inference_ms({"Server-Timing": "decode;dur=1.2, inference;dur=34.5"})
    34.5
    """
    found = re.search(r"\binference;dur=([\d.]+)", headers.get("Server-Timing", ""))
    return float(found[1]) if found else None


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds until the next try; 1 if the server states none."""
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 1.0


def make_picture(width: int, height: int, *, seed: int = 0) -> bytes:
    """Return noise as PNG, the hardest picture to encode."""
    return encode_png(Picture(make_noise(width, height, seed=seed)))


def make_noise(width: int, height: int, *, seed: int = 0) -> Uint8Array:
    """Return noise, (height, width, 3) uint8 in [0, 255]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
