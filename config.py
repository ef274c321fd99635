"""Read the settings of the service from the environment, and check them."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "ENHANCER_"
ROOT = Path(__file__).resolve().parent

OWN_MODELS = ROOT / "assets"
"""Folder of the cards that the service comes with."""

LAST_PORT = 65535
MOST_THREADS = 4096
MOST_PROCESSES = 256

MOST = 10**12
"""Highest count, number of bytes or of megabytes. Numbers above are mistakes, and what is computed
from them exceeds the 64 bits that the system has for limits."""

LONGEST_WAIT_S, LONGEST_EXPIRY_S = 1_000_000, 1_000_000_000
"""Longest time limit, eleven days, and longest time that a job is kept. The system waits for at
most 2**31 ms."""

LARGEST_TILE = 4096
UPSCALED_PIXELS = 16
"""Number of output pixels for each input pixel, where no size is requested."""

LEAST_KEY_LENGTH = 16
HIDDEN = "(secret)"  # shown instead of the value of a secret

ANY_HOST = "*"
"""Host that means every address of the machine, of IPv4 and of IPv6."""

HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
SIMILARITY = 0.92
"""Similarity to a name of ours from which a name without our prefix is taken for a mistake. One
letter too many or too few is above it, another word is not."""

HOST = re.compile(r"([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?")
"""A host name or address, with or without a port, as in a URL."""

ORIGIN = re.compile(f"https?://{HOST.pattern}")
PATH_PREFIX = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+){0,16}/?")
"""Segments of unreserved characters, none of which is `.` or `..` (RFC 3986, section 2.3)."""

KEY = re.compile(r"[!-~]+")  # characters that a header can carry unquoted
RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
REDIS = re.compile(r"rediss?://\S+")
MEMORY = "memory://"

PARSING_ERRORS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
}
"""What a text that cannot be parsed should have been, by pydantic's type of the error."""


KINDS = {bool: "bool", int: "int", float: "float", str: "str", tuple: "list"}
"""Type of a setting in one word, by the type of its default; others are paths."""


class InvalidSetting(ValueError):
    """Settings are wrong. The message names each of them, one a line.

    Attributes:
        rest: the settings with the default for each wrong one, so that more can be checked; None
            if there are none.
    """

    def __init__(self, message: str, rest: "Settings | None" = None) -> None:
        super().__init__(message)
        self.rest = rest


def must_be(words: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that refuses values for which `holds` is False.

    Args:
        words: what a value must be, for the message.
        holds: the test.
    """

    def check(value: Any) -> Any:
        if not holds(value):
            raise PydanticCustomError("rule", "{words}", {"words": words})
        return value

    return AfterValidator(check)


def is_address(text: str, pattern: re.Pattern[str]) -> bool:
    """Return whether a text is a URL of a server that matches a pattern.

    Parsing it here keeps the errors of libraries, which quote passwords, out of messages.
    """
    try:
        parts = urlsplit(text)
        return pattern.fullmatch(text) is not None and bool(parts.port or parts.netloc)
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Return True for an IP address, a host name and `ANY_HOST`.

    A name whose last label is a number would be taken for an IPv4 address.

    Source: WHATWG URL Standard, section 3.5, "ends in a number".
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        is_name = HOST_NAME.fullmatch(text) and not NUMBER.fullmatch(text.rpartition(".")[2])
        return text == ANY_HOST or bool(is_name)
    return True


def is_restore(text: str) -> bool:
    """Return True for a number from 0 to 1 and for `auto`."""
    try:
        return text == "auto" or 0 <= float(text) <= 1
    except ValueError:
        return False


def split_list(value: Any) -> Any:
    """Split a comma-separated text; blank text gives no items."""
    if not isinstance(value, str):
        return value
    return tuple(item.strip() for item in value.split(",")) if value.strip() else ()


def blank_is_false(value: Any) -> Any:
    """Take blank text for False, and ignore white space around the word."""
    return value.strip() or False if isinstance(value, str) else value


Switch = Annotated[bool, BeforeValidator(blank_is_false)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Processes = Annotated[int, Field(ge=1, le=MOST_PROCESSES)]
TileSide = Annotated[int, Field(ge=64, le=LARGEST_TILE)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(ge=1, le=LONGEST_WAIT_S)]
Share = Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False)]
Delay = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False)]
Restoring = Annotated[str, must_be("a number from 0 to 1, or auto", is_restore)]
Host = Annotated[str, must_be("an IP address or a host name, or * for every address", is_host)]
Keys = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(split_list),
    must_be(
        f"a comma-separated list of keys, each of {LEAST_KEY_LENGTH} or more visible ASCII "
        "characters",
        lambda keys: all(len(key) >= LEAST_KEY_LENGTH and KEY.fullmatch(key) for key in keys),
    ),
]
Origins = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(split_list),
    must_be(
        "a comma-separated list of origins such as https://example.org",
        lambda origins: all(ORIGIN.fullmatch(origin) for origin in origins),
    ),
]
RateLimit = Annotated[
    str,
    must_be(
        "empty, or a number per second, minute, hour or day, such as 60/minute",
        lambda text: not text or RATE.fullmatch(text) is not None,
    ),
]
RateLimitStorage = Annotated[
    str,
    must_be(
        "memory:// or the address of a Redis server, such as redis://localhost:6379",
        lambda text: text == MEMORY or is_address(text, REDIS),
    ),
]
PathPrefix = Annotated[
    str,
    must_be(
        "empty, or a path such as /enhancer", lambda text: PATH_PREFIX.fullmatch(text) is not None
    ),
]
QueueUrl = Annotated[
    str,
    must_be(
        "empty or the address of a Redis server, such as redis://localhost:6379/0",
        lambda text: not text or is_address(text, REDIS),
    ),
]


def setting(default: Any, description: str, *, env: str | None = None, secret: bool = False) -> Any:
    """Declare a field of `Settings`.

    Args:
        default: value if the environment does not set it.
        description: one line of help.
        env: environment variable; None for `ENHANCER_<FIELD>`.
        secret: whether its value is never shown.
    """
    return Field(
        default,
        description=description,
        validation_alias=env,
        repr=not secret,
        json_schema_extra={"secret": secret},
    )


class Settings(BaseSettings):
    """Settings of the service. Each can be set by the environment variable `ENHANCER_<FIELD>`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        loc_by_alias=False,
        populate_by_name=True,
    )

    host: Host = setting(
        ANY_HOST, "address to listen on; * for every one of IPv4 and, where there is it, IPv6"
    )
    port: Annotated[int, Field(ge=1, le=LAST_PORT)] = setting(5000, "port to listen on")
    card: Path = setting(OWN_MODELS / "srgan.json", "card of the model to serve")
    models: str = setting("", "folder with the cards of further models; empty for none")
    max_pixels: Positive = setting(48_000_000, "largest number of pixels of an input picture")
    max_frame_pixels: Positive = setting(
        4_000_000, "largest number of pixels of a frame of a clip; at most `max_pixels` count"
    )
    max_side: Positive = setting(16_000, "longest side of an input picture, in pixels")
    max_output_pixels: Count = setting(
        64_000_000, "largest number of pixels of an output picture; 0 for 16 times `max_pixels`"
    )
    max_frames: Positive = setting(1000, "largest number of frames or pages of an input picture")
    max_upload_bytes: Positive = setting(32 * 1024 * 1024, "largest request, in bytes")
    window: TileSide = setting(
        128, "largest height and width of a tile with its halo, in input pixels"
    )
    large_window: TileSide = setting(
        192, "the same for pictures that need at most nine tiles of this size"
    )
    precision: Literal["float32", "bfloat16", "auto"] = setting(
        "auto", "float32, bfloat16, or auto: bfloat16 where the processor supports it"
    )
    restore: Restoring = setting(
        "auto", "`restore` of requests that do not state it; 0 restores only on request"
    )
    inference_threads: Annotated[int, Field(ge=0, le=MOST_THREADS)] = setting(
        0, "threads of the network; 0 for one per core"
    )
    workers: Processes = setting(1, "server processes, each with its own copy of the model")
    request_threads: Threads = setting(96, "requests handled at the same time")
    queue: Count = setting(64, "pictures that may wait for memory")
    memory_mb: Count = setting(
        0, "memory for all pictures in progress, in MB; 0 for what the memory limit leaves"
    )
    deadline_s: WholeSeconds = setting(300, "time limit for a picture, in seconds")
    decoders: Annotated[int, Field(ge=0, le=MOST_PROCESSES)] = setting(
        2, "decoder processes; 0 to decode in the server process"
    )
    decoder_memory_mb: Count = setting(
        0, "memory limit of a decoder process, in MB; 0 for what the largest picture may need"
    )
    decode_timeout_s: Seconds = setting(
        20.0, "time limit for decoding a picture of up to 16 megapixels, in seconds"
    )
    read_timeout_s: Seconds = setting(
        30.0, "time limit for receiving a request, from its first byte, in seconds"
    )
    write_timeout_s: Seconds = setting(30.0, "seconds before a stalled client is disconnected")
    drain_s: Delay = setting(
        0.0, "after a stop signal, seconds to answer not ready but still accept requests"
    )
    graceful_timeout_s: WholeSeconds = setting(
        60, "after draining, seconds to finish the requests that were accepted"
    )
    api_keys: Keys = setting(
        (),
        "comma-separated API keys, one of which a request must carry; empty for none",
        secret=True,
    )
    rate_limit: RateLimit = setting(
        "", "requests allowed per key or address, such as 60/minute; empty for no limit"
    )
    rate_limit_storage: RateLimitStorage = setting(
        "memory://",
        "where requests are counted: memory:// per process, or a Redis server",
        secret=True,
    )
    proxies: Count = setting(0, "number of trusted reverse proxies in front of the service")
    path_prefix: PathPrefix = setting(
        "", "path below which clients find the service, such as /enhancer; empty for none"
    )
    jobs_folder: str = setting(
        "", "folder for the files of jobs; empty for one per user and port in the temporary folder"
    )
    jobs_disk_mb: Positive = setting(4000, "disk space for the files of jobs, in MB")
    jobs_queue: Count = setting(100, "jobs that may wait")
    jobs_share: Share = setting(
        0.2, "share of the network's time that jobs get while pictures need it; 0 for none"
    )
    job_expiry_s: Annotated[int, Field(ge=1, le=LONGEST_EXPIRY_S)] = setting(
        86_400, "seconds before an ended job and its result are deleted"
    )
    queue_url: QueueUrl = setting(
        "",
        "Redis server that distributes jobs to workers; empty to run jobs in the server",
        secret=True,
    )
    storage_url: str = setting(
        "", "with a queue, storage for the files of jobs: a shared folder, or s3://bucket/folder"
    )
    max_job_bytes: Positive = setting(256 * 1024 * 1024, "largest request for a job, in bytes")
    max_clip_s: Seconds = setting(600.0, "longest clip, in seconds")
    max_clip_frames: Positive = setting(
        20_000, "largest number of frames of a clip, or of pictures in an archive"
    )
    job_watchers: Threads = setting(64, "clients that may follow job events at the same time")
    worker_metrics_port: Annotated[int, Field(ge=0, le=LAST_PORT)] = setting(
        0, "port on which a worker on another machine answers /metrics; 0 for none"
    )
    log_format: Literal["json", "text"] = setting("json", "json or text, one record per line")
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "debug, info, warning or error"
    )
    synthetic_note: Switch = setting(
        True, "whether output files state that their detail is synthetic"
    )
    no_page: Switch = setting(
        False, "whether to leave out the web page at /app/", env="DISABLE_WEB_APP"
    )
    no_jobs: Switch = setting(False, "whether to leave out jobs at /model/jobs", env="DISABLE_JOBS")
    cors: Switch = setting(
        False, "whether web pages of any origin may call the API", env="CORS_ENABLE"
    )
    cors_origins: Origins = setting((), "comma-separated origins whose pages may call the API")

    def __init__(self, **values: Any) -> None:
        messages: list[str] = []
        try:
            super().__init__(**values)
        except ValidationError as error:
            messages += [describe_error(details) for details in error.errors()]
            wrong = {str(details["loc"][0]) for details in error.errors()}
            wrong |= {variable for name, variable in variables() if name in wrong}
            super().__init__(**{name: values[name] for name in values if name not in wrong})
        messages += self._wrong_combinations()
        if messages:
            raise InvalidSetting("\n".join(messages), self)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003, the names are those of the base class
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the constructor use its arguments only; `from_env` reads the environment."""
        return (init_settings,)

    def _wrong_combinations(self) -> Iterator[str]:
        """Yield a sentence on each pair of settings that contradict each other."""
        if self.queue_url and not self.storage_url:
            yield (
                "ENHANCER_STORAGE_URL must be set if ENHANCER_QUEUE_URL is set: all machines need "
                "access to the files of jobs. Received: ''"
            )
        if self.cors and self.cors_origins:
            yield (
                "ENHANCER_CORS_ORIGINS must be empty where CORS_ENABLE lets any origin call. "
                f"Received: {as_text(self.cors_origins)}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of an environment, with defaults for what it does not set.

        Raises:
            InvalidSetting: naming each wrong variable, its value and what was expected.
        """
        known = [variable for _, variable in variables()]
        source = EnvSettingsSource(cls)
        source.env_vars = {name.lower(): environ[name] for name in known if name in environ}
        mistakes = [describe_unknown(name, known) for name in unknown_names(environ, known)]
        try:
            settings = cls(**source())
        except InvalidSetting as error:
            raise InvalidSetting("\n".join([*mistakes, str(error)]), error.rest) from None
        if mistakes:
            raise InvalidSetting("\n".join(mistakes), settings)
        return settings

    @property
    def output_pixels(self) -> int:
        """Largest number of pixels of an output picture."""
        return self.max_output_pixels or UPSCALED_PIXELS * self.max_pixels

    @property
    def frame_pixels(self) -> int:
        """Largest number of pixels of a frame: no frame is larger than a picture may be."""
        return min(self.max_frame_pixels, self.max_pixels)

    @property
    def network_options(self) -> dict[str, Any]:
        """How networks are run: arguments of `load_upscaler` and `Serving` in `core.model`."""
        return {
            "window": self.window,
            "large_window": self.large_window,
            "threads": self.inference_threads,
            "precision": self.precision,
        }

    @property
    def models_folder(self) -> Path | None:
        """Folder of further models; None if there is none."""
        return Path(self.models) if self.models else None

    def lines(self, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
        """Yield `NAME=value (origin)` for each setting; the value of a secret is hidden."""
        for item in describe_settings():
            value = getattr(self, item.field)
            hidden = item.is_secret and as_text(value) != item.default
            origin = "environment" if item.variable in environ else "default"
            yield f"{item.variable}={HIDDEN if hidden else as_text(value)} ({origin})"


class SettingDescription(NamedTuple):
    """A setting for documentation.

    Attributes:
        variable: environment variable.
        kind: type of the value, in one word.
        default: default as the environment would give it; paths are relative to the project.
        description: one line of help.
        field: name of the field of `Settings`.
        is_secret: whether its value is never shown.
    """

    variable: str
    kind: str
    default: str
    description: str
    field: str
    is_secret: bool


def describe_settings() -> list[SettingDescription]:
    """Return a description of every setting, in the order of their declaration."""
    return [
        SettingDescription(
            variable_name(name, field),
            KINDS.get(type(field.default), "path"),
            as_text(field.default).removeprefix(f"{ROOT}/"),
            str(field.description),
            name,
            is_secret(field),
        )
        for name, field in Settings.model_fields.items()
    ]


def unknown_names(environ: Iterable[str], known: list[str]) -> list[str]:
    """Return the variables that are meant for the service but are no settings, sorted.

    They begin with its prefix, in letters of any case, or are a misspelt name. Other programs'
    variables are none of ours.
    """
    unknown = [name for name in environ if name not in known]
    return sorted(
        name
        for name in unknown
        if name.upper().startswith(PREFIX) or is_misspelt(name.upper(), known)
    )


def is_misspelt(name: str, known: list[str]) -> bool:
    """Return whether a name has the letters of a known one, or all but one of them."""
    has_the_letters = any(sorted(name) == sorted(other) for other in known)
    return has_the_letters or bool(get_close_matches(name, known, 1, SIMILARITY))


def describe_unknown(name: str, known: list[str]) -> str:
    """Return one sentence on a variable that is no setting: the nearest one, and what came."""
    upper = name.upper()
    same = [other for other in known if sorted(upper) == sorted(other)]
    if upper.startswith(PREFIX):  # which would make all names similar
        names = {other.removeprefix(PREFIX): other for other in known}
        close = get_close_matches(upper.removeprefix(PREFIX), names, 1)
        nearest = same or [names[other] for other in close]
    else:
        nearest = same or get_close_matches(upper, known, 1)
    hint = f"; the nearest is {nearest[0]}" if nearest else ""
    return f"Variable must be one of docs/configuration.md{hint}. Received: {name}"


def variables() -> Iterator[tuple[str, str]]:
    """Yield the name of each field, and its environment variable."""
    for name, field in Settings.model_fields.items():
        yield name, variable_name(name, field)


def variable_name(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a field."""
    return str(field.validation_alias or PREFIX + name.upper())


def is_secret(field: FieldInfo) -> bool:
    """Return whether the value of a field is never shown."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra["secret"])


def describe_error(details: ErrorDetails) -> str:
    """Return one sentence on a wrong setting: its name, what it must be, what came."""
    name = str(details["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return describe_unknown(name, list(Settings.model_fields))
    received = HIDDEN if is_secret(field) else show_input(details, field)
    return (
        f"{variable_name(name, field)} must be {expectation(details, field)}. Received: {received}"
    )


def expectation(details: ErrorDetails, field: FieldInfo) -> str:
    """Return what the value of a wrong setting must be."""
    context = details.get("ctx", {})
    match details["type"]:
        case "rule":
            return str(context["words"])
        case "literal_error":
            return f"one of {', '.join(field.annotation.__args__)}"  # type: ignore[union-attr]
        case "greater_than" | "greater_than_equal" | "less_than_equal":
            kinds = ("gt", "ge", "le")
            bounds = {k: getattr(m, k) for m in field.metadata for k in kinds if hasattr(m, k)}
            if "gt" in bounds:
                return f"above {bounds['gt']} and at most {bounds['le']}"
            return f"from {bounds['ge']} to {bounds['le']}"
        case kind:
            return PARSING_ERRORS.get(kind, details["msg"])


def show_input(details: ErrorDetails, field: FieldInfo) -> str:
    """Return a refused value as a message shows it: texts in quotes, numbers and lists plain."""
    value = details["input"]
    is_bound = details["type"] in ("greater_than", "greater_than_equal", "less_than_equal")
    is_quoted = (
        isinstance(value, str) and not is_bound and isinstance(field.default, str | int | float)
    )
    return repr(value) if is_quoted else as_text(value)


def as_text(value: Any) -> str:
    """Return a value as the environment would give it.

    >>> as_text((1.5, True)), as_text(0.0), as_text(False)
    ('1.5,true', '0', 'false')
    """
    if isinstance(value, tuple):
        return ",".join(as_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
