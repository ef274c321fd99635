"""What damaged files are thrown at: decoders in processes, or a server that is running."""

import io
from collections.abc import Callable
from typing import NamedTuple

import requests

from config import Settings
from core.errors import SuperResolutionError
from core.images import Limits
from core.sandbox.decoder import SandboxedDecoder, decoding_bytes
from core.sandbox.process import WorkerDied

PATIENCE_S = 330  # more than the server's own deadline

HARM = {WorkerDied: "crash", TimeoutError: "timeout", MemoryError: "memory"}
"""What a decoder is protected from, by the cause of the error that tells of it."""


class Outcome(NamedTuple):
    """What became of a file.

    Attributes:
        name: a status, or the kind of an error.
        is_offence: whether it should not have happened, though the service survived it.
    """

    name: str
    is_offence: bool


Target = Callable[[bytes], Outcome]


class DecoderTarget:
    """Reads headers and decodes, as the service does with its default settings."""

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
    """Posts to a server."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/model/predict"
        self._session = requests.Session()

    def __call__(self, data: bytes) -> Outcome:
        try:
            answer = self._session.post(self._url, files={"image": data}, timeout=PATIENCE_S)
        except requests.RequestException as error:
            return Outcome(type(error).__name__, True)
        return Outcome(str(answer.status_code), answer.status_code >= 500)


def default_decoders() -> DecoderTarget:
    """Decoders as the service has them without settings."""
    settings = Settings()
    memory_bytes = decoding_bytes(settings.max_pixels)
    decoders = SandboxedDecoder(1, memory_bytes=memory_bytes, wall_s=settings.decode_timeout_s)
    return DecoderTarget(decoders, Limits(settings.max_pixels, settings.max_side))
