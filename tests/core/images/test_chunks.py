import io

import numpy as np
import pytest
from PIL import Image

from core.images.png import PngLayout, encode_png_rows, extra_chunks
from core.picture import Extras
from tests.support.stand_ins import noise

EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"  # of no entries
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>Zürich</x:xmpmeta>".encode()


def opened(extras):
    opening = extra_chunks(extras)
    data = b"".join(encode_png_rows([noise(3, 4)], PngLayout(3, 4, 3), opening=opening))
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_without_a_profile_the_pixels_are_said_to_be_srgb():
    assert opened(Extras()).info == {"srgb": 0}


def test_everything_that_goes_with_a_picture_is_read_by_another_decoder():
    profile = bytes(range(256)) * 3
    image = opened(Extras(profile, (300.0, 150.0), EXIF, XMP))
    assert image.info["icc_profile"] == profile
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    assert image.info["exif"].removeprefix(b"Exif\0\0") == EXIF
    assert image.info["XML:com.adobe.xmp"].encode() == XMP
    assert "srgb" not in image.info


@pytest.mark.parametrize("dpi", [(1e12, 0.0), (0.001, 72.0)])
def test_an_odd_density_is_written_as_far_as_it_can_be(dpi):
    assert np.isfinite(opened(Extras(dpi=dpi)).info["dpi"]).all()
