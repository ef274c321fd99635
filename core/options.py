"""Options of a result: names, allowed values, and the results that each option is for.

Options arrive as form fields (`api/forms.py`), as command line arguments (`upscale.py`) or as
the JSON of a stored job (`jobs/job.py`). All three become an `OutputOptions`. Texts of callers
are checked here and nowhere else. Only `detail` and `restore` depend on the model:
`Upscaler.check_detail` and `Upscaler.check_restore` check what it has. `ModelRegistry.find` checks
that there is a model of the name.
"""

from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias

from core.errors import InvalidOptions
from core.values import Values, choices, decimal, name, share_or, whole_number, words

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

LEAST_SCALE, MOST_SCALE = 1, 16
"""Lowest and highest factor of width and height: no pass of the network, and two passes of 4x."""

MOST_SIDE = 1_000_000
"""Highest `width` and `height`, px."""

CONTAIN = "contain"
COVER = "cover"
FITS = (CONTAIN, COVER)
"""How a result gets a wanted width and height: it fits inside, or it is cropped to fill them."""

LONGEST_MODEL_NAME = 64
"""Number of characters of the name of a model."""

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
        scale: factor of width and height, from 1 to 16; None for `width` and `height`, or for
            the factor of the network.
        width: width of the result, px; None to derive it.
        height: height of the result, px; None to derive it.
        fit: how a result gets both `width` and `height`, one of `FITS`.
        merges_undelayed: whether an image of a GIF without a delay and the next one make one
            frame, as the specification says; browsers show each.
        model: name of the model; None for the default one of the service.
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
    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: str = CONTAIN
    merges_undelayed: bool = False
    model: str | None = None

    @property
    def has_size(self) -> bool:
        """Whether a size is asked for; without one, the network decides it."""
        return any(wanted is not None for wanted in (self.scale, self.width, self.height))

    @property
    def frame_restore(self) -> Restore:
        """How strongly each frame is restored: `strength` where it is decided, else `restore`."""
        return self.restore if self.strength is None else self.strength

    @property
    def picture_format(self) -> str:
        """Format of a picture: `format`, or PNG where there is none."""
        return PNG if self.format is None else self.format


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
    values=Values(float, float, "a number", "0-1", least=0, most=FULL_DETAIL),
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
ZERO_DELAY = Option(
    "zero_delay",
    "merges_undelayed",
    values=words({"show": False, "merge": True}),
    help="Images of a GIF without delay: show each as a frame, as browsers do, or merge it with "
    "the next one, as GIF89a specifies.",
    default="show",
    formats=(*ANIMATION_FORMATS, *VIDEO_FORMATS),
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

SCALE = Option(
    "scale",
    "scale",
    values=decimal(LEAST_SCALE, MOST_SCALE),
    help="Factor of width and height, from 1 (clean only) to 16. The default is 4.",
)
WIDTH = Option(
    "width",
    "width",
    values=whole_number(1, MOST_SIDE),
    help="Width of the result in pixels, instead of `scale`.",
)
HEIGHT = Option(
    "height",
    "height",
    values=whole_number(1, MOST_SIDE),
    help="Height of the result in pixels, instead of `scale`.",
)
FIT = Option(
    "fit",
    "fit",
    values=choices(FITS),
    help="With `width` and `height`: contain fits the result inside, cover crops it to fill.",
    default=CONTAIN,
)
MODEL = Option(
    "model",
    "model",
    values=name(LONGEST_MODEL_NAME),
    help="Name of the model; /model/metadata lists all. The default is the first of them.",
)
SIZE_OPTIONS = (SCALE, WIDTH, HEIGHT, FIT)
"""Options of the size of a result."""

PICTURE_OPTIONS = (
    MODEL,
    *SIZE_OPTIONS,
    DETAIL,
    RESTORE,
    PICTURE_FORMAT,
    QUALITY,
    PROFILE,
    METADATA,
)
"""Options of a request that is answered with a picture."""

JOB_OPTIONS = (
    MODEL,
    *SIZE_OPTIONS,
    DETAIL,
    RESTORE,
    ANY_FORMAT,
    CODEC,
    QUALITY,
    COHERENCE,
    PALETTE,
    DITHER,
    ZERO_DELAY,
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


def check_size_options(options: OutputOptions) -> None:
    """Raise InvalidOptions if options of the size contradict each other."""
    sides = {"width": options.width, "height": options.height}
    given = [f"{name}={side}" for name, side in sides.items() if side is not None]
    if options.scale is not None and given:
        raise InvalidOptions(
            "`scale` must come without `width` and `height`. "
            f"Received: scale={options.scale:g}, {', '.join(given)}"
        )
    if options.fit == COVER and len(given) < len(sides):
        raise InvalidOptions(
            "`fit` must be contain unless both `width` and `height` are given. "
            f"Received: {', '.join([f'fit={options.fit}', *given])}"
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
