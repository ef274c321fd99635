"""Tone mapping of PQ and HLG, against light that is computed here from the standards."""

import struct

import imagecodecs
import numpy as np
import pytest

from core.images import decode_image
from core.images.colours import matrix_to_srgb
from core.images.hdr import HLG, PAPER_NITS, PQ, HdrColour, make_tone_mapping
from tests.support.picture_files import png

SAME_PRIMARIES = matrix_to_srgb(1)


def pq(nits):
    """Return the level of PQ in [0, 1] of light in cd/m2. Source: BT.2100, table 4."""
    power = (np.asarray(nits) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def srgb(linear):
    linear = np.asarray(linear, float)
    return np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )


def shown(levels, colour=(9, 16), extra=()):
    """Return what levels in [0, 1], (..., 3), become in a 16-bit PNG, in [0, 1]."""
    stored = np.rint(np.atleast_2d(levels) * 65535).astype(np.uint16)[None]
    chunks = [(b"cICP", bytes([*colour, 0, 1])), *extra]
    return decode_image(png(stored, before=chunks)).pixels[0] / 65535


def greys(nits):
    return np.repeat(pq(nits)[:, None], 3, axis=1)


def test_light_below_half_of_paper_white_stays():
    nits = np.array([0, 0.1, 1, 10, 36.5, 90])
    np.testing.assert_allclose(shown(greys(nits))[:, 0], srgb(nits / PAPER_NITS), atol=0.002)


def test_the_peak_becomes_white_and_paper_is_a_little_darker():
    """The curve of BT.2390 from 1000 to 203 cd/m2 gives 159 cd/m2 for paper."""
    levels = shown(greys(np.array([203, 1000, 10_000])))[:, 0]
    np.testing.assert_allclose(levels, [srgb(159 / 203), 1, 1], atol=0.003)


def test_light_never_becomes_darker_than_less_light():
    ramp = shown(np.repeat(np.linspace(0, 1, 1000)[:, None], 3, axis=1))[:, 0]
    assert (np.diff(ramp) >= 0).all() and ramp[0] == 0 and ramp[-1] == 1


def light_level(nits):
    return b"cLLI", struct.pack(">2I", nits * 10_000, 0)


def test_the_peak_that_a_file_states_counts():
    paper = {
        nits: shown(greys(np.array([203])), extra=[light_level(nits)])[0, 0]
        for nits in (0, 203, 1000, 4000)
    }
    assert paper[203] == pytest.approx(1, abs=0.001)
    assert paper[203] > paper[1000] == paper[0] > paper[4000] > 0.7


def test_the_peak_of_the_mastering_display_counts_without_a_light_level():
    mastering = b"mDCV", bytes(16) + struct.pack(">2I", 4000 * 10_000, 0)
    stated = shown(greys(np.array([203])), extra=[light_level(4000)])
    np.testing.assert_array_equal(shown(greys(np.array([203])), extra=[mastering]), stated)


def test_hlg_looks_like_pq_of_the_same_light():
    """Levels of 38 and 75 % stand for 26 and 203 cd/m2 on a display of 1000 cd/m2."""
    hlg = shown(np.array([[0.38] * 3, [0.75] * 3, [1] * 3]), (9, 18))
    np.testing.assert_allclose(hlg, shown(greys(np.array([26.3, 203, 1000]))), atol=0.004)


@pytest.mark.parametrize("brightest", [50, 900])
def test_colours_keep_the_proportions_of_their_channels(brightest):
    nits = brightest * np.array([[1, 0.5, 0.25]])
    linear = np.interp(
        shown(pq(nits), (1, 16))[0], srgb(np.linspace(0, 1, 9999)), np.linspace(0, 1, 9999)
    )
    np.testing.assert_allclose(linear / linear[0], [1, 0.5, 0.25], atol=0.005)


def test_colours_of_bt_2020_become_those_of_srgb():
    red_in_bt_2020 = np.array([[0.6274, 0.0691, 0.0164]])
    np.testing.assert_allclose(shown(pq(60 * red_in_bt_2020))[0], srgb([60 / 203, 0, 0]), atol=0.02)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("bits", [8, 16])
def test_rows_and_grey_are_converted_like_the_whole_picture(transfer, bits):
    convert = make_tone_mapping(HdrColour(transfer, SAME_PRIMARIES), bits)
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 2**bits, (9, 7, 3)).astype(f"uint{bits}")
    rows = [convert(pixels[top : top + 4]) for top in range(0, 9, 4)]
    np.testing.assert_array_equal(np.concatenate(rows), convert(pixels))
    grey = convert(pixels[..., 0])
    assert grey.dtype == pixels.dtype
    of_colour = convert(np.repeat(pixels[..., :1], 3, axis=2)).astype(int)
    assert np.abs(of_colour - grey[..., None]).max() <= 2


def test_an_hdr_avif_of_10_bits_is_tone_mapped_and_keeps_no_profile():
    levels = np.full((16, 24, 3), round(float(pq(203)) * 1023), np.uint16)
    data = imagecodecs.avif_encode(
        levels, 100, bitspersample=10, primaries=9, transfer=16, matrix=9
    )
    picture = decode_image(data)
    np.testing.assert_allclose(picture.pixels / 257, 229, atol=1)
    assert (picture.bits, picture.extras.icc_profile) == (16, None)
