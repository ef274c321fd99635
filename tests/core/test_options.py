import subprocess
import sys
from dataclasses import fields, replace

import pytest

from config import ROOT
from core.animation import OUTPUTS as ANIMATION_OUTPUTS
from core.errors import InvalidOptions
from core.images import OUTPUT_FORMATS as IMAGE_OUTPUTS
from core.options import (
    ALL_FORMATS,
    ANIMATION_FORMATS,
    ANY_FORMAT,
    CODEC,
    CODECS,
    COHERENCE,
    DETAIL,
    FIT,
    HEIGHT,
    JOB_OPTIONS,
    METADATA,
    PICTURE_FORMAT,
    PICTURE_FORMATS,
    PICTURE_OPTIONS,
    QUALITY,
    RESTORE,
    SCALE,
    VIDEO_FORMATS,
    WIDTH,
    OutputOptions,
    check_format,
    check_format_has,
    check_size_options,
    check_supported,
)
from core.video import CODECS as VIDEO_CODECS
from core.video import FORMATS as VIDEO_OUTPUTS


def test_the_formats_and_codecs_are_those_that_the_encoders_write():
    assert PICTURE_FORMATS == IMAGE_OUTPUTS
    assert VIDEO_FORMATS == VIDEO_OUTPUTS
    assert CODECS == VIDEO_CODECS
    assert {*ANIMATION_FORMATS, *VIDEO_FORMATS} == set(ANIMATION_OUTPUTS)
    assert set(ALL_FORMATS) == {*PICTURE_FORMATS, *ANIMATION_FORMATS, *VIDEO_FORMATS}


def test_the_options_are_known_without_numpy_and_flask():
    check = "import core.options, sys; print(sorted(sys.modules.keys() & {'numpy', 'flask'}))"
    said = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n"


def test_every_attribute_that_callers_set_is_an_option_of_jobs():
    attributes = {field.name for field in fields(OutputOptions)} - {"has_note", "strength"}
    assert {option.attribute for option in JOB_OPTIONS} == attributes
    assert {option.name for option in PICTURE_OPTIONS} < {option.name for option in JOB_OPTIONS}


@pytest.mark.parametrize("option", JOB_OPTIONS, ids=lambda option: option.name)
def test_the_documented_default_is_the_default(option):
    default = option.default
    value = option.parse(default) if isinstance(default, str) else default
    assert value == getattr(OutputOptions(), option.attribute)


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (DETAIL, "0.25", 0.25),
        (RESTORE, "AUTO", "auto"),
        (RESTORE, "0", 0),
        (RESTORE, "0.62", 0.62),
        (PICTURE_FORMAT, "JPG", "jpeg"),
        (ANY_FORMAT, "mp4", "mp4"),
        (QUALITY, "1", 1),
        (QUALITY, "100", 100),
        (CODEC, "HEVC", "hevc"),
        (COHERENCE, "Off", False),
        (SCALE, "2.5", 2.5),
        (WIDTH, "1920", 1920),
        (FIT, "Cover", "cover"),
        (METADATA, "keep", True),
    ],
)
def test_a_text_stands_for_a_value(option, text, value):
    assert option.parse(text) == value


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        (DETAIL, "much", "`detail` must be a number. Received: 'much'"),
        (PICTURE_FORMAT, "gif", "`format` must be one of png, jpeg, webp, avif. Received: 'gif'"),
        (RESTORE, "1.1", "`restore` must be a number from 0 to 1, or auto. Received: '1.1'"),
        (RESTORE, "nan", "Received: 'nan'"),
        (RESTORE, "", "Received: ''"),
        (QUALITY, "101", "`quality` must be a whole number from 1 to 100. Received: '101'"),
        (SCALE, "0", "`scale` must be a number from 1 to 16, such as 2 or 1.5"),
        (SCALE, "1e9", "Received: '1e9'"),
        (WIDTH, "0", "`width` must be a whole number from 1 to 1000000. Received: '0'"),
        (HEIGHT, "99999999", "`height` must be a whole number .* Received: '99999999'"),
        (FIT, "fill", "`fit` must be one of contain, cover. Received: 'fill'"),
        (QUALITY, "0000000001", "Received: '0000000001'"),
        (QUALITY, "\u0663", "Received: '\u0663'"),
        (COHERENCE, "perhaps", "`coherence` must be one of on, off. Received: 'perhaps'"),
        (CODEC, "x" * 500, f"Received: '{'x' * 40}'$"),
    ],
)
def test_a_wrong_text_is_refused_with_what_was_expected(option, text, message):
    with pytest.raises(InvalidOptions, match=message):
        option.parse(text)


def test_a_picture_without_a_format_becomes_a_png():
    assert OutputOptions().picture_format == "png"
    assert OutputOptions(format="webp").picture_format == "webp"


def test_an_option_must_come_with_a_format_that_has_it():
    check_format_has(["codec", "palette"], None)
    check_format_has(["codec", "quality", "comment"], "mkv")
    with pytest.raises(InvalidOptions, match="`palette` must come with a `format` of gif, or"):
        check_format_has(["palette"], "mkv")


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        ("codec", "h264", "codec"),
        ("palette", "global", "palette"),
        ("is_dithered", False, "dither"),
        ("merges_undelayed", True, "zero_delay"),
        ("keeps_profile", True, "profile"),
        ("keeps_metadata", True, "metadata"),
    ],
)
def test_an_option_that_the_result_does_not_have_must_be_left_out(attribute, value, name):
    options = replace(OutputOptions(), **{attribute: value})
    check_supported(OutputOptions(), (), "pictures")
    check_supported(options, (name,), "pictures")
    with pytest.raises(InvalidOptions, match=f"`{name}` must be left out, for pictures"):
        check_supported(options, (), "pictures")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"scale": 2.0, "width": 9}, "`scale` must come without .* Received: scale=2, width=9"),
        ({"scale": 2.5, "height": 9}, "Received: scale=2.5, height=9"),
        ({"fit": "cover", "width": 9}, "`fit` must be contain .* Received: fit=cover, width=9"),
        ({"fit": "cover", "scale": 2.0}, "Received: fit=cover"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(wanted, message):
    with pytest.raises(InvalidOptions, match=message):
        check_size_options(OutputOptions(**wanted))


@pytest.mark.parametrize("wanted", [{}, {"scale": 2.0}, {"width": 9}, {"width": 9, "height": 8}])
def test_other_sizes_are_not_refused(wanted):
    check_size_options(OutputOptions(**wanted))
    assert OutputOptions(**wanted).has_size is bool(wanted)


def test_options_that_every_result_has_are_never_refused():
    check_supported(OutputOptions("mp4", quality=5, detail=0.5, is_coherent=False), (), "pictures")


def test_a_format_that_a_kind_of_file_cannot_become_is_refused():
    check_format("png", PICTURE_FORMATS, "pictures")
    with pytest.raises(InvalidOptions, match="one of png, .*, for pictures. Received: mp4"):
        check_format("mp4", PICTURE_FORMATS, "pictures")
