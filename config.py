"""Settings: every number and path of the service, read once from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "ENHANCER_"
ROOT = Path(__file__).resolve().parent

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0", "")


class InvalidSetting(ValueError):
    """A setting is not what it must be; the message names it."""


def setting(
    default: Any,
    description: str,
    *,
    at_least: int | None = None,
    one_of: tuple[str, ...] | None = None,
    env: str = "",
) -> Any:
    """A field of Settings with its documentation and its allowed values."""
    metadata = {"description": description, "at_least": at_least, "one_of": one_of, "env": env}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Settings of the service; each can be set by `ENHANCER_<FIELD>` in upper case."""

    host: str = setting("0.0.0.0", "address to listen on")
    port: int = setting(5000, "port to listen on", at_least=1)
    card: Path = setting(ROOT / "assets" / "srgan.json", "card of the model to serve")
    max_pixels: int = setting(4_000_000, "pixels of an accepted picture", at_least=1)
    max_side: int = setting(16_000, "longest side of an accepted picture, pixels", at_least=1)
    max_upload_bytes: int = setting(32 * 1024 * 1024, "bytes of an accepted request", at_least=1)
    window: int = setting(128, "height and width of a tile with its halo, pixels", at_least=64)
    precision: str = setting(
        "auto",
        "float32, bfloat16, or auto: by what the processor has",
        one_of=("float32", "bfloat16", "auto"),
    )
    inference_threads: int = setting(0, "threads of the network, 0 for one per core", at_least=0)
    workers: int = setting(1, "server processes, each with a copy of the model", at_least=1)
    request_threads: int = setting(96, "requests read or answered at once", at_least=1)
    queue: int = setting(64, "pictures that may wait for memory", at_least=0)
    memory_mb: int = setting(0, "for all pictures at once; 0 for what is free", at_least=0)
    deadline_s: int = setting(300, "time in which a picture must be finished", at_least=1)
    graceful_timeout_s: int = setting(60, "time to finish requests when stopped", at_least=1)
    synthetic_note: bool = setting(True, "whether files say that their detail is synthetic")
    no_page: bool = setting(
        False, "whether there is no page at /app/", env="DISABLE_WEB_APP"
    )
    cors: bool = setting(False, "whether pages of any origin may call", env="CORS_ENABLE")

    def __post_init__(self) -> None:
        for f in fields(self):
            value, at_least = getattr(self, f.name), f.metadata["at_least"]
            if at_least is not None and value < at_least:
                raise InvalidSetting(
                    f"{variable_name(f)} must be at least {at_least}. Received: {value}"
                )
            if f.metadata["one_of"] and value not in f.metadata["one_of"]:
                raise InvalidSetting(
                    f"{variable_name(f)} must be one of {', '.join(f.metadata['one_of'])}. "
                    f"Received: {value!r}"
                )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Defaults, overridden by the environment.

        Raises:
            InvalidSetting: naming the variable, the value and what was expected.
        """
        known = {variable_name(f): f for f in fields(cls)}
        unknown = sorted(n for n in environ if n.startswith(PREFIX) and n not in known)
        if unknown:
            raise InvalidSetting(
                f"Settings must be among {', '.join(known)}. Received: {', '.join(unknown)}"
            )
        given = known.keys() & environ.keys()
        return cls(**{known[n].name: _parse(n, environ[n], known[n].type) for n in given})


def variable_name(f: Any) -> str:
    """Environment variable of a field of Settings."""
    return str(f.metadata["env"] or PREFIX + f.name.upper())


def _parse(name: str, text: str, wanted: Any) -> Any:
    if wanted is bool:
        return _boolean(name, text)
    if wanted is int:
        return _integer(name, text)
    return wanted(text)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidSetting(f"{name} must be a whole number. Received: {text!r}") from None


def _boolean(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise InvalidSetting(f"{name} must be true or false. Received: {text!r}")
    return word in TRUE_WORDS
