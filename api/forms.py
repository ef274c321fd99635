"""How the caller of a request wants the picture: form fields, and the Accept header.

The one file that a request carries.

How the caller of `POST /model/jobs` wants the result: form fields.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

from flask import request
from flask_restx.reqparse import RequestParser
from werkzeug.datastructures import FileStorage

from api.errors import LONGEST_QUOTE, InvalidField, InvalidUpload
from core.images import OUTPUT_FORMATS
from core.media.medium import FRAME, PALETTES, OutputOptions
from core.media.render import PNG, PictureOptions
from core.model.upscaler import FULL_DETAIL
from core.video import CODECS
from core.video import FORMATS as VIDEOS


def read_upload(field: str, kind: str = "a picture") -> FileStorage:
    """The one file in a field, at its beginning; large ones are on disk.

    Args:
        field: of the form.
        kind: what it must be, for messages.

    Raises:
        InvalidUpload: if there is none, more than one, or an empty one.
    """
    files = request.files.getlist(field)
    if len(files) != 1:
        raise InvalidUpload(
            f"Request must be multipart/form-data with one file in the field `{field}`. "
            f"Received: {describe_request(field, len(files))}."
        )
    file = files[0]
    if not file.stream.read(1):
        raise InvalidUpload(f"The file in the field `{field}` must be {kind}. Received: 0 bytes.")
    file.stream.seek(0)
    return file


def describe_request(field: str, count: int) -> str:
    """What came instead of one file."""
    if count:
        return f"{count} files"
    if request.mimetype != "multipart/form-data":
        return f"Content-Type {request.mimetype!r}"
    if field in request.form:
        return f"a text in the field `{field}`"
    names = sorted(str(name) for name in {*request.files, *request.form})  # None without one
    return f"the fields {names}" if names else "no fields"


T = TypeVar("T")

SRGB, KEEP, DROP = "srgb", "keep", "drop"
HIGHEST_QUALITY = 100
MOST_DIGITS = 9  # what is longer takes Python long to read, or is not read at all

MEDIA_TYPES = {name: f"image/{name}" for name in OUTPUT_FORMATS}
ALIASES = {"jpg": "jpeg"}


class DocumentedDetail(float):
    """The type of `detail` for the OpenAPI document; `number` reads it."""

    __schema__: ClassVar = {"type": "number", "minimum": 0, "maximum": FULL_DETAIL}


class DocumentedQuality(int):
    """The type of `quality`, likewise; `whole_number` reads it."""

    __schema__: ClassVar = {"type": "integer", "minimum": 1, "maximum": HIGHEST_QUALITY}


def add_wishes(parser: RequestParser) -> None:
    """Document the fields, for Swagger."""
    add = partial(parser.add_argument, location="form")
    add(
        "detail",
        type=DocumentedDetail,
        default=FULL_DETAIL,
        help="How much texture is made up, from 0 (faithful, soft) to 1 (photo-realistic).",
    )
    add("format", choices=OUTPUT_FORMATS, default=PNG, help="Of the answer.")
    add(
        "quality",
        type=DocumentedQuality,
        help=f"From 1 to {HIGHEST_QUALITY}, of formats that lose something.",
    )
    add(
        "profile",
        choices=(SRGB, KEEP),
        default=SRGB,
        help="Answer in sRGB, or in the colour profile that the picture came in.",
    )
    add(
        "metadata",
        choices=(DROP, KEEP),
        default=DROP,
        help="Whether EXIF and XMP go with the answer. They may say where it was taken.",
    )


def read_wish(*, has_note: bool) -> PictureOptions:
    """What the fields of the request ask for; the usual, where they are not there.

    Args:
        has_note: whether files say that their detail is synthetic.

    Raises:
        InvalidField: if one is given twice, as a file, or is none of what it may be.
    """
    return PictureOptions(
        format=read_field("format", one_of(OUTPUT_FORMATS, ALIASES), accepted_format()),
        quality=read_field("quality", whole_number(1, HIGHEST_QUALITY), None),
        detail=read_field("detail", number, FULL_DETAIL),
        keeps_profile=read_field("profile", one_of((SRGB, KEEP)), SRGB) == KEEP,
        keeps_metadata=read_field("metadata", one_of((DROP, KEEP)), DROP) == KEEP,
        has_note=has_note,
    )


def accepted_format() -> str:
    """The format of the one image type in Accept, if it is just one; else PNG."""
    images = [
        media_type for media_type in request.accept_mimetypes.values() if "image/" in media_type
    ]
    for name, media_type in MEDIA_TYPES.items():
        if images == [media_type]:
            return name
    return PNG


def read_field(name: str, parse: Callable[[str, str], T], default: T) -> T:
    """The value of a form field.

    Args:
        name: of the field.
        parse: name and text to value; raises InvalidField.
        default: if the field is not there.
    """
    texts = request.form.getlist(name)
    if name in request.files:
        raise InvalidField(f"`{name}` must be a text. Received: a file.")
    if len(texts) > 1:
        raise InvalidField(f"`{name}` must be given once. Received: {len(texts)} fields.")
    return parse(name, texts[0].strip()) if texts else default


def number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidField(f"`{name}` must be a number. Received: {quote(text)}") from None


def whole_number(least: int, most: int) -> Callable[[str, str], int]:
    """A parser of whole numbers of a range."""

    def parse(name: str, text: str) -> int:
        is_short = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
        if not (is_short and least <= int(text) <= most):
            raise InvalidField(
                f"`{name}` must be a whole number from {least} to {most}. Received: {quote(text)}"
            )
        return int(text)

    return parse


def one_of(
    choices: tuple[str, ...], aliases: dict[str, str] | None = None
) -> Callable[[str, str], str]:
    """A parser of a choice, in any case."""

    def parse(name: str, text: str) -> str:
        word = (aliases or {}).get(text.lower(), text.lower())
        if word not in choices:
            raise InvalidField(
                f"`{name}` must be one of {', '.join(choices)}. Received: {quote(text)}"
            )
        return word

    return parse


def quote(text: str) -> str:
    return repr(text[:LONGEST_QUOTE])


ON, OFF = "on", "off"
SWITCH = (ON, OFF)

ANIMATIONS = ("gif", "apng")
FORMATS = tuple(dict.fromkeys((*OUTPUT_FORMATS, *ANIMATIONS, *VIDEOS)))

FIELDS = (
    "detail",
    "format",
    "codec",
    "quality",
    "coherence",
    "palette",
    "dither",
    "profile",
    "metadata",
)

ONLY_OF = {"codec": VIDEOS, "palette": ("gif",), "dither": ("gif",)}
"""Formats in which a field means something."""


def add_job_wishes(parser: RequestParser) -> None:
    """Document the fields, for Swagger."""
    add = partial(parser.add_argument, location="form")
    add(
        "detail",
        type=DocumentedDetail,
        default=FULL_DETAIL,
        help="How much texture is made up, from 0 (faithful, soft) to 1 (photo-realistic).",
    )
    add("format", choices=FORMATS, help="Of the result; that of a clip, or PNG, without it.")
    add("codec", choices=CODECS, help="Of a video.")
    add(
        "quality",
        type=DocumentedQuality,
        help=f"From 1 to {HIGHEST_QUALITY}, of formats that lose something.",
    )
    add("coherence", choices=SWITCH, default=ON, help="Whether frames agree with those before.")
    add("palette", choices=PALETTES, default=FRAME, help="Of a GIF: for each frame, or for all.")
    add("dither", choices=SWITCH, default=ON, help="Whether a GIF's colours are mixed.")
    add("profile", choices=(SRGB, KEEP), default=SRGB, help="Of pictures, as for /model/predict.")
    add("metadata", choices=(DROP, KEEP), default=DROP, help="Of pictures, likewise.")


def read_job_wish(*, has_note: bool) -> OutputOptions:
    """What the fields of the request ask for; the usual, where they are not there.

    Args:
        has_note: whether files say that their detail is synthetic.

    Raises:
        InvalidField: if one is not known, given twice, as a file, none of what it may be,
            or does not go with the format.
    """
    check_names()
    wish = OutputOptions(
        format=read_field("format", one_of(FORMATS, ALIASES), None),
        codec=read_field("codec", one_of(CODECS), None),
        quality=read_field("quality", whole_number(1, HIGHEST_QUALITY), None),
        detail=read_field("detail", number, FULL_DETAIL),
        is_coherent=read_field("coherence", one_of(SWITCH), ON) == ON,
        palette=read_field("palette", one_of(PALETTES), FRAME),
        is_dithered=read_field("dither", one_of(SWITCH), ON) == ON,
        has_note=has_note,
        keeps_profile=read_field("profile", one_of((SRGB, KEEP)), SRGB) == KEEP,
        keeps_metadata=read_field("metadata", one_of((DROP, KEEP)), DROP) == KEEP,
    )
    check_agreement(wish.format)
    return wish


def check_names() -> None:
    """Raise InvalidField if there is a field that means nothing here."""
    unknown = sorted(str(name) for name in request.form if name not in FIELDS)
    if unknown:
        raise InvalidField(
            f"Fields must be among file, {', '.join(FIELDS)}. Received: {quote(unknown[0])}"
        )


def check_agreement(output_format: str | None) -> None:
    """Raise InvalidField if a field means nothing in the format asked for."""
    for name, formats in ONLY_OF.items():
        if name in request.form and output_format is not None and output_format not in formats:
            raise InvalidField(
                f"`{name}` must come with a `format` of {', '.join(formats)}, or without one. "
                f"Received: {output_format}"
            )
