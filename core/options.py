"""Options of a result: names, allowed values, and the results that each option is for.

Options arrive as form fields (`api/forms.py`), as command line arguments (`upscale.py`) or as
the JSON of a stored job (`jobs/job.py`). All three become an `OutputOptions`. Texts of callers
are checked here and nowhere else. Only `detail` and `restore` depend on the model:
`Upscaler.check_detail` and `Upscaler.check_restore` check what it has.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from core.errors import InvalidOptions

PNG = "png"
PICTURE_FORMATS = (PNG, "jpeg", "webp", "avif")
ANIMATION_FORMATS = ("gif", "apng", "webp")
VIDEO_FORMATS = ("mp4", "mov", "webm", "mkv")
ALL_FORMATS = tuple(dict.fromkeys((*PICTURE_FORMATS, *ANIMATION_FORMATS, *VIDEO_FORMATS)))
FORMAT_ALIASES = {"jpg": "jpeg"}
CODECS = ("h264", "hevc", "vp9", "av1")

FRAME_PALETTE = "frame"
GLOBAL_PALETTE = "global"
PALETTES = (FRAME_PALETTE, GLOBAL_PALETTE)
"""Palettes of a GIF: one for each frame, or a global one for all frames."""

FULL_DETAIL = 1.0
"""Highest `detail`: the network as it is. 0 is the faithful network that its training began
with."""

AUTO: Literal["auto"] = "auto"
"""Value of `restore`: the condition of a picture decides how strongly it is restored."""

FULL_STRENGTH = 1.0
"""Highest `restore`: the network sees what the restorer returns. 0 leaves a picture as it is."""

Restore: TypeAlias = float | Literal["auto"]
"""Requested strength of restoring, in [0, 1] or `AUTO`."""

MAX_QUALITY = 100

MAX_DIGITS = 9
"""Number of digits up to which a text is read as a number. Python is slow to read long ones, or
refuses them."""

LONGEST_QUOTE = 40
"""Number of characters of a caller's text that a message repeats."""


@dataclass(frozen=True)
class OutputOptions:
    """Options of a result, whether a picture, an animation or a video.

    Attributes:
        format: output format, one of `ALL_FORMATS`; None keeps the format of a clip, and makes
            PNG of a picture.
        codec: codec of a video, one of `CODECS`; None for the default of the format.
        quality: quality of a lossy format, from 1 to 100; None for the default of the format.
        detail: how much texture the network makes up, in [0, 1].
        is_coherent: whether frames are made to agree with the frames before them.
        palette: palettes of a GIF, one of `PALETTES`.
        is_dithered: whether a GIF mixes colours from those of its palette.
        has_note: whether the file says that its detail is synthetic.
        keeps_profile: whether pictures are converted back to their input's colour profile.
        keeps_metadata: whether EXIF and XMP are copied to the pictures.
        restore: how strongly pictures are restored before they are upscaled.
        strength: what became of `restore` for all frames of a clip, in [0, 1]; None where each
            picture has its own, or where it is not decided. Callers cannot set it.
    """

    format: str | None = None
    codec: str | None = None
    quality: int | None = None
    detail: float = FULL_DETAIL
    is_coherent: bool = True
    palette: str = FRAME_PALETTE
    is_dithered: bool = True
    has_note: bool = True
    keeps_profile: bool = False
    keeps_metadata: bool = False
    restore: Restore = AUTO
    strength: float | None = None

    @property
    def picture_format(self) -> str:
        """Format of a picture: `format`, or PNG where there is none."""
        return PNG if self.format is None else self.format


class Values(NamedTuple):
    """Allowed values of an option.

    Attributes:
        type: type of the texts: `str` for words, `int` or `float` for numbers.
        parse: returns the value of a text; raises ValueError for one that is not allowed.
        expected: the allowed values in words, for messages.
        summary: the allowed values in short, for the help of the command line.
        words: allowed words; empty for numbers. Besides numbers, words may be allowed.
    """

    type: type
    parse: Callable[[str], Any]
    expected: str
    summary: str
    words: tuple[str, ...] = ()


def words(values: Mapping[str, str | bool], aliases: Mapping[str, str] | None = None) -> Values:
    """Return `Values` that are words, in any case.

    Args:
        values: value of each word.
        aliases: other spellings, which messages do not mention, and their words.
    """
    spellings = {word: word for word in values} | dict(aliases or {})

    def parse(text: str) -> str | bool:
        word = spellings.get(text.lower())
        if word is None:
            raise ValueError(text)
        return values[word]

    return Values(str, parse, f"one of {', '.join(values)}", "|".join(values), tuple(values))


def choices(allowed: Iterable[str], aliases: Mapping[str, str] | None = None) -> Values:
    """Return `Values` that are words which stand for themselves."""
    return words({word: word for word in allowed}, aliases)


def whole_number(least: int, most: int) -> Values:
    """Return `Values` that are whole numbers from `least` to `most`, in ASCII digits."""

    def parse(text: str) -> int:
        is_short = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        if not (is_short and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    return Values(int, parse, f"a whole number from {least} to {most}", f"{least}-{most}")


def share_or(word: str) -> Values:
    """Return `Values` that are numbers from 0 to 1, or a word, in any case."""

    def parse(text: str) -> float | str:
        if text.lower() == word:
            return word
        number = float(text)
        if not 0 <= number <= 1:
            raise ValueError(text)
        return number

    return Values(float, parse, f"a number from 0 to 1, or {word}", f"0-1|{word}", (word,))


def restore_text(restore: Restore, strength: float) -> str:
    """Return what became of a requested `restore`, as headers and files state it.

    >>> restore_text(AUTO, 0.62), restore_text(0.5, 0.5)
    ('0.62; auto', '0.5')
    """
    return f"{strength:g}; {AUTO}" if restore == AUTO else f"{strength:g}"


@dataclass(frozen=True)
class Option:
    """One option as callers know it.

    Attributes:
        name: name of the form field, and of the argument after its dashes.
        attribute: attribute of `OutputOptions` that holds the value.
        values: allowed values.
        help: sentence that describes the option.
        default: value as a caller would write it; None where the default depends on the file.
        formats: output formats that have the option.
        is_universal: whether every result has the option; see `check_supported`.
    """

    name: str
    attribute: str
    _: KW_ONLY
    values: Values
    help: str
    default: str | float | None = None
    formats: tuple[str, ...] = ALL_FORMATS
    is_universal: bool = True

    def parse(self, text: str) -> Any:
        """Return the value that a caller's text stands for.

        Raises:
            InvalidOptions: if it is none of the allowed values.
        """
        try:
            return self.values.parse(text)
        except ValueError:
            raise InvalidOptions(
                f"`{self.name}` must be {self.values.expected}. Received: {text[:LONGEST_QUOTE]!r}"
            ) from None

    def is_set(self, options: OutputOptions) -> bool:
        """Return whether the value differs from the default."""
        default = getattr(OutputOptions(), self.attribute)
        return bool(getattr(options, self.attribute) != default)


DETAIL = Option(
    "detail",
    "detail",
    values=Values(float, float, "a number", "0-1"),
    help="Amount of synthesised texture, from 0 (faithful, soft) to 1 (photo-realistic).",
    default=FULL_DETAIL,
)
RESTORE = Option(
    "restore",
    "restore",
    values=share_or(AUTO),
    help="How strongly blur, noise and traces of JPEG are removed before upscaling, from 0 (not "
    "at all) to 1; auto decides by the condition of the picture.",
    default=AUTO,
)
PICTURE_FORMAT = Option(
    "format",
    "format",
    values=choices(PICTURE_FORMATS, FORMAT_ALIASES),
    help="Output format.",
    default=PNG,
)
ANY_FORMAT = Option(
    "format",
    "format",
    values=choices(ALL_FORMATS, FORMAT_ALIASES),
    help="Output format. The default is the format of a clip, and PNG for pictures.",
)
QUALITY = Option(
    "quality",
    "quality",
    values=whole_number(1, MAX_QUALITY),
    help="Quality of a lossy format, from 1 to 100. The default depends on the format.",
)
CODEC = Option(
    "codec",
    "codec",
    values=choices(CODECS),
    help="Codec of a video. The default is h264, and vp9 in WebM.",
    formats=VIDEO_FORMATS,
    is_universal=False,
)
COHERENCE = Option(
    "coherence",
    "is_coherent",
    values=words({"on": True, "off": False}),
    help="Whether frames of a clip are made to agree with the frames before them.",
    default="on",
)
PALETTE = Option(
    "palette",
    "palette",
    values=choices(PALETTES),
    help="Palettes of a GIF: one for each frame, or a global one for all frames.",
    default=FRAME_PALETTE,
    formats=("gif",),
    is_universal=False,
)
DITHER = Option(
    "dither",
    "is_dithered",
    values=words({"on": True, "off": False}),
    help="Whether a GIF mixes colours from those of its palette.",
    default="on",
    formats=("gif",),
    is_universal=False,
)
PROFILE = Option(
    "profile",
    "keeps_profile",
    values=words({"srgb": False, "keep": True}),
    help="Colour profile of pictures: sRGB, or the profile of the input.",
    default="srgb",
    is_universal=False,
)
METADATA = Option(
    "metadata",
    "keeps_metadata",
    values=words({"drop": False, "keep": True}),
    help="Whether EXIF and XMP are copied to pictures. They may say where a picture was taken.",
    default="drop",
    is_universal=False,
)

PICTURE_OPTIONS = (DETAIL, RESTORE, PICTURE_FORMAT, QUALITY, PROFILE, METADATA)
"""Options of a request that is answered with a picture."""

JOB_OPTIONS = (
    DETAIL,
    RESTORE,
    ANY_FORMAT,
    CODEC,
    QUALITY,
    COHERENCE,
    PALETTE,
    DITHER,
    PROFILE,
    METADATA,
)
"""Options of a job, whose file may be a picture, an archive, an animation or a video."""


def check_format_has(names: Iterable[str], output_format: str | None) -> None:
    """Raise InvalidOptions if the output format does not have one of the options.

    Args:
        names: names of the options that the caller has set.
        output_format: requested format; None if the file decides it, so that only
            `check_supported` can tell.
    """
    if output_format is None:
        return
    given = set(names)
    for option in JOB_OPTIONS:
        if option.name in given and output_format not in option.formats:
            raise InvalidOptions(
                f"`{option.name}` must come with a `format` of {', '.join(option.formats)}, "
                f"or without one. Received: {output_format}"
            )


def check_supported(options: OutputOptions, supported: Collection[str], result: str) -> None:
    """Raise InvalidOptions if an option is set that the result does not have.

    Args:
        options: options of the result.
        supported: names of the options that the result has, beside the universal ones.
        result: the kind of result in words, such as "pictures".
    """
    for option in JOB_OPTIONS:
        if option.is_universal or option.name in supported:
            continue
        if option.is_set(options):
            raise InvalidOptions(f"`{option.name}` must be left out, for {result}. Received: one.")


def check_format(output_format: str, allowed: Collection[str], kind: str) -> None:
    """Raise InvalidOptions if a kind of file cannot become an output format.

    Args:
        output_format: requested format.
        allowed: formats that files of this kind can become.
        kind: kind of file in words, such as "pictures".
    """
    if output_format not in allowed:
        raise InvalidOptions(
            f"`format` must be one of {', '.join(allowed)}, for {kind}. Received: {output_format}"
        )
