"""Targets of damaged files: decoders in processes, or a running server."""

import io
from collections.abc import Callable
from typing import NamedTuple

import requests

from config import Settings
from core.errors import SuperResolutionError
from core.images import Limits
from core.sandbox.decoder import SandboxedDecoder, decoding_bytes
from core.sandbox.process import WorkerDied

REQUEST_TIMEOUT_S = 330  # longer than the deadline of the server

HARM = {WorkerDied: "crash", TimeoutError: "timeout", MemoryError: "memory"}
"""Harm from which the sandbox protects the service, by the cause of its error."""


class Outcome(NamedTuple):
    """The outcome of a file.

    Attributes:
        name: a status, or the name of an error.
        is_offence: whether it is a fault, even if the service survived it.
    """

    name: str
    is_offence: bool


Target = Callable[[bytes], Outcome]


class DecoderTarget:
    """Reads the header of a file and decodes it, as the service does."""

    def __init__(self, decoders: SandboxedDecoder, limits: Limits) -> None:
        self._decoders = decoders
        self._limits = limits

    def __call__(self, data: bytes) -> Outcome:
        file = io.BytesIO(data)
        try:
            self._decoders.read_header(file, self._limits)
            self._decoders.decode(file, self._limits)
        except SuperResolutionError as error:
            harm = HARM.get(type(error.__cause__))
            return Outcome(harm or type(error).__name__, harm is not None)
        except Exception as error:
            return Outcome(type(error).__name__, True)
        return Outcome("decoded", False)


class ServerTarget:
    """Posts a file to a server."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/model/predict"
        self._session = requests.Session()

    def __call__(self, data: bytes) -> Outcome:
        try:
            answer = self._session.post(self._url, files={"image": data}, timeout=REQUEST_TIMEOUT_S)
        except requests.RequestException as error:
            return Outcome(type(error).__name__, True)
        return Outcome(str(answer.status_code), answer.status_code >= 500)


def default_decoders() -> DecoderTarget:
    """Return decoders with the default settings of the service."""
    settings = Settings()
    memory_bytes = decoding_bytes(settings.max_pixels)
    decoders = SandboxedDecoder(1, memory_bytes=memory_bytes, wall_s=settings.decode_timeout_s)
    return DecoderTarget(decoders, Limits(settings.max_pixels, settings.max_side))
