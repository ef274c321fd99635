"""How the caller of `POST /model/jobs` wants the result: form fields."""

from functools import partial

from flask import request
from flask_restx.reqparse import RequestParser

from api.errors import InvalidField
from api.wishes import (
    DROP,
    HIGHEST_QUALITY,
    KEEP,
    SRGB,
    DocumentedDetail,
    DocumentedQuality,
    number,
    one_of,
    quote,
    read_field,
    whole_number,
)
from core.clips import FRAME, PALETTES, ClipWish
from core.images import OUTPUT_FORMATS
from core.upscaler import FULL_DETAIL

ON, OFF = "on", "off"
SWITCH = (ON, OFF)

VIDEOS = ("mp4", "mov", "webm", "mkv")
ANIMATIONS = ("gif", "apng")
FORMATS = tuple(dict.fromkeys((*OUTPUT_FORMATS, *ANIMATIONS, *VIDEOS)))
ALIASES = {"jpg": "jpeg"}
CODECS = ("h264", "hevc", "vp9", "av1")

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


def read_job_wish(*, has_note: bool) -> ClipWish:
    """What the fields of the request ask for; the usual, where they are not there.

    Args:
        has_note: whether files say that their detail is synthetic.

    Raises:
        InvalidField: if one is not known, given twice, as a file, none of what it may be,
            or does not go with the format.
    """
    check_names()
    wish = ClipWish(
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
