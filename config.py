"""Settings: every number and path of the service, read once from the environment."""

import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "ENHANCER_"
ROOT = Path(__file__).resolve().parent

TRUE_WORDS = ("true", "yes", "on", "1")
FALSE_WORDS = ("false", "no", "off", "0", "")

LAST_PORT = 65535
LEAST_KEY_LENGTH = 16
HIDDEN = "(secret)"  # what is told of a secret

HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
ORIGIN = re.compile(r"https?://([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?")
KEY = re.compile(r"[!-~]+")  # what a header can carry as it is
RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
REDIS = re.compile(r"rediss?://\S+")
STORAGE = re.compile(r"memory://|rediss?://\S+")


class InvalidSetting(ValueError):
    """A setting is not what it must be; the message names it."""


@dataclass(frozen=True)
class Rule:
    """What a value must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def at_least(least: float) -> Rule:
    return Rule(f"at least {least:g}", lambda value: value >= least)


def between(least: float, most: float) -> Rule:
    return Rule(f"from {least:g} to {most:g}", lambda value: least <= value <= most)


def above(bound: float) -> Rule:
    return Rule(f"above {bound:g}", lambda value: value > bound)


def one_of(*words: str) -> Rule:
    return Rule(f"one of {', '.join(words)}", lambda value: value in words)


def is_host(text: str) -> bool:
    """True for an IP address or a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return HOST_NAME.fullmatch(text) is not None
    return True


def are_keys(keys: tuple[str, ...]) -> bool:
    return all(len(key) >= LEAST_KEY_LENGTH and KEY.fullmatch(key) for key in keys)


def are_origins(origins: tuple[str, ...]) -> bool:
    return all(ORIGIN.fullmatch(origin) for origin in origins)


HOST = Rule("an IP address or a host name", is_host)
KEYS = Rule(
    f"a comma-separated list of keys, each of {LEAST_KEY_LENGTH} or more visible ASCII characters",
    are_keys,
)
ORIGINS = Rule("a comma-separated list of origins such as https://example.org", are_origins)
RATE_LIMIT = Rule(
    "empty, or a number per second, minute, hour or day, such as 60/minute",
    lambda text: not text or RATE.fullmatch(text) is not None,
)
RATE_LIMIT_STORAGE = Rule(
    "memory:// or the address of a Redis server, such as redis://localhost:6379",
    lambda text: STORAGE.fullmatch(text) is not None,
)

QUEUE_URL = Rule(
    "empty or the address of a Redis server, such as redis://localhost:6379/0",
    lambda text: not text or REDIS.fullmatch(text) is not None,
)


def setting(
    default: Any,
    description: str,
    rule: Rule | None = None,
    *,
    env: str = "",
    secret: bool = False,
) -> Any:
    """A field of Settings with its documentation and its rule."""
    metadata = {"description": description, "rule": rule, "env": env, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """Settings of the service; each can be set by `ENHANCER_<FIELD>` in upper case."""

    host: str = setting("0.0.0.0", "address to listen on", HOST)
    port: int = setting(5000, "port to listen on", between(1, LAST_PORT))
    card: Path = setting(ROOT / "assets" / "srgan.json", "card of the model to serve")
    max_pixels: int = setting(4_000_000, "pixels of an accepted picture", at_least(1))
    max_side: int = setting(16_000, "longest side of an accepted picture, pixels", at_least(1))
    max_frames: int = setting(1000, "frames or pages of an accepted picture", at_least(1))
    max_upload_bytes: int = setting(32 * 1024 * 1024, "bytes of an accepted request", at_least(1))
    window: int = setting(
        128, "height and width of a tile with its halo at most, pixels", at_least(64)
    )
    large_window: int = setting(
        192, "likewise, of pictures that need at most nine such tiles", at_least(64)
    )
    precision: str = setting(
        "auto",
        "float32, bfloat16, or auto: by what the processor has",
        one_of("float32", "bfloat16", "auto"),
    )
    inference_threads: int = setting(0, "threads of the network, 0 for one per core", at_least(0))
    workers: int = setting(1, "server processes, each with a copy of the model", at_least(1))
    request_threads: int = setting(96, "requests read or answered at once", at_least(1))
    queue: int = setting(64, "pictures that may wait for memory", at_least(0))
    memory_mb: int = setting(0, "for all pictures at once; 0 for what is free", at_least(0))
    deadline_s: int = setting(300, "time in which a picture must be finished", at_least(1))
    decoders: int = setting(
        2, "processes that decode pictures; 0 to decode in the server process", at_least(0)
    )
    decoder_memory_mb: int = setting(
        0, "that each of them may take; 0 for what the largest picture may need", at_least(0)
    )
    decode_timeout_s: float = setting(20.0, "time in which a picture must be decoded", above(0))
    read_timeout_s: float = setting(
        30.0, "time in which a request must arrive, from its first byte", above(0)
    )
    write_timeout_s: float = setting(
        30.0, "time after which a caller who takes nothing of an answer is left", above(0)
    )
    drain_s: float = setting(
        0.0, "when stopped, time not ready but still accepting requests", at_least(0)
    )
    graceful_timeout_s: int = setting(
        60, "then, time to finish those that were accepted", at_least(1)
    )
    api_keys: tuple[str, ...] = setting(
        (),
        "comma-separated keys, of which a request must carry one; empty for none",
        KEYS,
        secret=True,
    )
    rate_limit: str = setting(
        "", "requests of one key or address, such as 60/minute; empty for no limit", RATE_LIMIT
    )
    rate_limit_storage: str = setting(
        "memory://",
        "where they are counted: each process for itself, or a Redis server",
        RATE_LIMIT_STORAGE,
        secret=True,
    )
    proxies: int = setting(0, "reverse proxies in front that are trusted", at_least(0))
    jobs_folder: str = setting(
        "", "folder of jobs; empty for one of this user and port among temporary files"
    )
    jobs_disk_mb: int = setting(4000, "that files of jobs may take there", at_least(1))
    jobs_queue: int = setting(100, "jobs that may wait", at_least(0))
    job_expiry_s: int = setting(
        86_400, "time after which a job that has ended is deleted, with its result", at_least(1)
    )
    queue_url: str = setting(
        "",
        "Redis server by which jobs are computed on several machines; empty for in this server",
        QUEUE_URL,
        secret=True,
    )
    storage_url: str = setting(
        "", "then, files of jobs: a folder that all machines see, or s3://bucket/folder"
    )
    max_job_bytes: int = setting(
        256 * 1024 * 1024, "bytes of an accepted request for a job", at_least(1)
    )
    max_clip_s: float = setting(600.0, "seconds that a clip may last", above(0))
    max_clip_frames: int = setting(
        20_000, "frames of a clip, or pictures of an archive", at_least(1)
    )
    job_watchers: int = setting(
        64, "callers who may follow the events of jobs at once", at_least(1)
    )
    log_format: str = setting("json", "json or text, one line each", one_of("json", "text"))
    log_level: str = setting(
        "info",
        "debug, info, warning or error",
        one_of("debug", "info", "warning", "error"),
    )
    synthetic_note: bool = setting(True, "whether files say that their detail is synthetic")
    no_page: bool = setting(
        False, "whether the page for browsers, at /app/, is left out", env="DISABLE_WEB_APP"
    )
    no_jobs: bool = setting(False, "whether jobs, at /model/jobs, are left out", env="DISABLE_JOBS")
    cors: bool = setting(False, "whether pages of any origin may call", env="CORS_ENABLE")
    cors_origins: tuple[str, ...] = setting(
        (), "comma-separated origins whose pages may call", ORIGINS
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value, rule = getattr(self, f.name), f.metadata["rule"]
            if rule is not None and not rule.holds(value):
                raise InvalidSetting(
                    f"{variable_name(f)} must be {rule.words}. Received: {received(f, value)}"
                )
        if self.queue_url and not self.storage_url:
            raise InvalidSetting(
                "ENHANCER_STORAGE_URL must be set where ENHANCER_QUEUE_URL is: all machines must "
                "see the files of jobs. Received: ''"
            )
        if self.cors and self.cors_origins:
            raise InvalidSetting(
                "ENHANCER_CORS_ORIGINS must be empty where CORS_ENABLE lets any origin call. "
                f"Received: {as_text(self.cors_origins)}"
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

    def lines(self, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
        """`NAME=value (where from)` of each setting; of a secret, only whether it is set."""
        for f in fields(self):
            name, value = variable_name(f), getattr(self, f.name)
            hidden = f.metadata["secret"] and value != f.default
            origin = "environment" if name in environ else "default"
            yield f"{name}={HIDDEN if hidden else as_text(value)} ({origin})"


def describe_settings() -> Iterator[tuple[str, str, str, str]]:
    """Yield environment variable, type, default and help text of every setting."""
    for f in fields(Settings):
        kind = "list" if f.type == tuple[str, ...] else getattr(f.type, "__name__", str(f.type))
        value: Any = f.default
        default = as_text(value.relative_to(ROOT) if isinstance(value, Path) else value)
        yield variable_name(f), kind.lower(), default, f.metadata["description"]


def variable_name(f: Any) -> str:
    """Environment variable of a field of Settings."""
    return str(f.metadata["env"] or PREFIX + f.name.upper())


def received(f: Any, value: Any) -> str:
    """A refused value as a message may show it."""
    if f.metadata["secret"]:
        return HIDDEN
    return repr(value) if isinstance(value, str) else as_text(value)


def as_text(value: Any) -> str:
    """A value as the environment would give it.

    >>> as_text((1.5, True)), as_text(0.0), as_text(False)
    ('1.5,true', '0', 'false')
    """
    if isinstance(value, tuple):
        return ",".join(as_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parse(name: str, text: str, wanted: Any) -> Any:
    parse = {bool: _boolean, int: _integer, float: _number}.get(wanted)
    if parse is not None:
        return parse(name, text)
    if wanted == tuple[str, ...]:
        return tuple(item.strip() for item in text.split(",")) if text.strip() else ()
    return wanted(text)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidSetting(f"{name} must be a whole number. Received: {text!r}") from None


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidSetting(f"{name} must be a number. Received: {text!r}")
    return number


def _boolean(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise InvalidSetting(f"{name} must be true or false. Received: {text!r}")
    return word in TRUE_WORDS
