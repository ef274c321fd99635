import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from core.images import decode_image, encode_png, from_srgb, profiles
from tests.support.picture_files import BYTES, D65, Tag, display_p3, grey_profile, png, tiff
from tests.support.stand_ins import noise

P3_TO_XYZ = [
    [0.486571, 0.265668, 0.198217],
    [0.228975, 0.691739, 0.079287],
    [0, 0.045113, 1.043944],
]
XYZ_TO_SRGB = [
    [3.240970, -1.537383, -0.498611],
    [-0.969244, 1.875968, 0.041555],
    [0.055630, -0.203977, 1.056972],
]
MUTED = noise(23, 31) // 4 + 96  # in Display P3, these colours lie within sRGB
GREY = noise(23, 31, 1)
PRIMARIES = [0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1]
SWAPPED = PRIMARIES[6:] + PRIMARIES[3:6] + PRIMARIES[:3]
SRGB_CURVE = np.float32(
    [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in np.linspace(0, 1, 1024)]
)


def srgb_from_p3(pixels, highest, gamma=2.2):
    """Convert colours of Display P3's primaries and a power curve, by matrices in floats."""
    linear = (pixels / highest) ** gamma
    linear = np.clip(linear @ np.array(P3_TO_XYZ).T @ np.array(XYZ_TO_SRGB).T, 0, 1)
    return highest * srgb_from_linear(linear)


def srgb_from_linear(linear):
    curve = 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)


def with_profile(pixels, profile, file_format="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, file_format, icc_profile=profile)
    return file.getvalue()


def deep_with_profile(pixels, profile):
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG", icc_profile=profile)
    kept = file.getvalue()
    start = kept.index(b"iCCP")
    length = int.from_bytes(kept[start - 4 : start], "big")
    return png(pixels, before=[(b"iCCP", kept[start + 4 : start + 4 + length])])


def test_wide_colours_are_converted_to_srgb():
    profile = display_p3()
    picture = decode_image(with_profile(MUTED, profile))
    np.testing.assert_allclose(picture.pixels, srgb_from_p3(MUTED, 255), atol=1)
    assert np.abs(picture.pixels - MUTED.astype(int)).max() > 5
    assert picture.extras.icc_profile == profile


def test_16_bit_colours_are_converted_with_16_bit_precision():
    deep = MUTED.astype(np.uint16) * 257
    picture = decode_image(deep_with_profile(deep, display_p3()))
    assert picture.bits == 16
    np.testing.assert_allclose(picture.pixels, srgb_from_p3(deep, 65535), atol=30)


def test_swapped_primaries_swap_the_channels():
    profile = imagecodecs.cms_profile(
        "rgb", whitepoint=D65, primaries=SWAPPED, transferfunction=SRGB_CURVE
    )
    pixels = noise(23, 31)
    picture = decode_image(with_profile(pixels, profile))
    np.testing.assert_allclose(picture.pixels, pixels[..., ::-1].astype(int), atol=2)


def test_grey_is_converted_to_the_curve_of_srgb():
    profile = grey_profile(1.8)
    picture = decode_image(with_profile(GREY, profile))
    expected = 255 * srgb_from_linear((GREY / 255) ** 1.8)
    np.testing.assert_allclose(picture.pixels, np.repeat(expected, 3, axis=2), atol=1)
    assert (picture.is_grey, picture.extras.icc_profile) == (True, profile)


def test_16_bit_grey_is_converted_with_16_bit_precision():
    deep = np.arange(0, 65536, 91, dtype=np.uint16).reshape(-1, 1, 1)
    picture = decode_image(deep_with_profile(deep, grey_profile(1.8)))
    expected = 65535 * srgb_from_linear((deep / 65535) ** 1.8)
    np.testing.assert_allclose(picture.pixels, np.repeat(expected, 3, axis=2), atol=40)


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("profile", [display_p3(), grey_profile(1.8), grey_profile(2.4)])
def test_colours_go_to_srgb_and_back(profile, scale):
    levels = MUTED if b"RGB " in profile[:40] else GREY
    levels = levels.astype(np.uint8 if scale == 1 else np.uint16) * scale
    make = with_profile if scale == 1 else deep_with_profile
    picture = decode_image(make(levels, profile))
    back = from_srgb(picture.pixels, profile).astype(int)
    assert back.shape == picture.pixels.shape
    bright = np.broadcast_to(levels >= 32 * scale, back.shape)  # below, sRGB is coarser
    expected = np.broadcast_to(levels, back.shape)
    assert np.abs(back - expected)[bright].max() <= (2 if scale == 1 else 120)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("profile", [display_p3(), grey_profile()])
def test_strips_are_converted_like_the_whole_picture(profile, dtype):
    pixels = noise(40, 30).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    strips = [from_srgb(pixels[top : top + 7], profile) for top in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate(strips), from_srgb(pixels, profile))


def test_the_transform_is_created_once_for_all_strips(monkeypatch):
    made = []
    build = ImageCms.buildTransform
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *a: made.append(a) or build(*a))
    profile = display_p3(gamma=2.1)
    for _ in range(5):
        from_srgb(noise(4, 6), profile)
    assert len(made) == 1


def test_a_png_is_written_in_the_colour_space_of_its_source():
    profile = display_p3()
    data = encode_png(decode_image(with_profile(MUTED, profile)))
    image = Image.open(io.BytesIO(data))
    assert image.info["icc_profile"] == profile
    np.testing.assert_allclose(np.asarray(image), MUTED.astype(int), atol=2)


SRGB_MADE_OTHERWISE = imagecodecs.cms_profile(
    "rgb", whitepoint=D65, primaries=PRIMARIES, transferfunction=SRGB_CURVE
)


@pytest.mark.parametrize("profile", [profiles.SRGB, SRGB_MADE_OTHERWISE])
def test_an_equivalent_of_srgb_changes_nothing_and_is_not_kept(profile):
    pixels = noise(23, 31)
    picture = decode_image(with_profile(pixels, profile))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.extras.icc_profile is None


AS_ICC_HAS_IT = np.uint8([0, 128, 128])
"""Difference between Pillow's Lab, which has signed bytes, and that of ICC profiles."""


def black_profile():
    """Return a profile with zero primaries: every colour is nearly black."""
    data = bytearray(display_p3())
    for tag in (b"rXYZ", b"gXYZ", b"bXYZ"):
        start = data.index(tag)
        offset = int.from_bytes(data[start + 4 : start + 8], "big")
        data[offset + 8 : offset + 20] = bytes(12)
    return bytes(data)


NONSENSE = {
    "no profile at all": b"of grey",
    "cut": display_p3()[:300],
    "of grey": grey_profile(),
    "of black": black_profile(),
    "too long": display_p3() + bytes(9_000_000),
    "damaged": display_p3()[:140] + b"\xff" * 300 + display_p3()[440:],
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_implausible_profile_is_ignored(name):
    pixels = noise(23, 31)
    picture = decode_image(with_profile(pixels, NONSENSE[name], "TIFF"))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.extras.icc_profile is None


def cmyk_profile():
    """Return a printing profile: a lut8 table from 2 x 2 x 2 x 2 inks to Lab."""
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    paper = (1 - inks[:, :3]) * (1 - inks[:, 3:])
    rgb = Image.fromarray((paper * 255).astype(np.uint8)[None])
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB", 1
    )
    lab = np.asarray(to_lab.apply(rgb))[0] ^ AS_ICC_HAS_IT
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += b"".join(int(v * 65536).to_bytes(4, "big") for v in np.eye(3).ravel())
    lut += identity * 4 + lab.tobytes() + identity * 3
    return icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"A2B1": lut})


def icc(device, space, connection, tags):
    table, body = len(tags).to_bytes(4, "big"), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + (start + len(body)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        body += value + bytes(-len(value) % 4)
    head = bytearray(128)
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\x02\x40\0\0", device, space, connection
    head[36:40], head[68:80] = b"acsp", bytes.fromhex("0000f6d6000100000000d32d")
    head[0:4] = (start + len(body)).to_bytes(4, "big")
    return bytes(head) + table + body


def test_cmyk_is_converted_by_its_profile_which_is_not_kept():
    ink = np.zeros((4, 6, 4), np.uint8)
    ink[:, :3, 1:3] = 255  # magenta and yellow: red
    profile = cmyk_profile()
    file = io.BytesIO()
    Image.frombytes("CMYK", (6, 4), ink.tobytes()).save(file, "TIFF", icc_profile=profile)
    picture = decode_image(file.getvalue())
    np.testing.assert_allclose(picture.pixels[0, 0], [255, 0, 0], atol=8)
    np.testing.assert_allclose(picture.pixels[0, 5], [255, 255, 255], atol=2)
    assert picture.extras.icc_profile is None
    assert not picture.is_grey


def test_the_profile_does_not_change_alpha():
    alpha = noise(23, 31, 1) // 2 + 100
    picture = decode_image(with_profile(np.dstack([MUTED, alpha]), display_p3()))
    np.testing.assert_array_equal(picture.alpha, alpha[..., 0])
    np.testing.assert_allclose(picture.pixels, srgb_from_p3(MUTED, 255), atol=1)


def test_a_profile_that_only_leads_to_srgb_is_not_kept():
    identity = np.repeat(np.arange(256, dtype=np.uint8)[None], 3, axis=0).tobytes()
    corners = np.stack(np.meshgrid(*[[0, 255]] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    to_lab = ImageCms.buildTransform(
        display_profile(), ImageCms.createProfile("LAB"), "RGB", "LAB", 1
    )
    lab = np.asarray(to_lab.apply(Image.fromarray(corners.astype(np.uint8)))) ^ AS_ICC_HAS_IT
    lut = b"mft1" + bytes(4) + bytes([3, 3, 2, 0])
    lut += b"".join(int(v * 65536).to_bytes(4, "big") for v in np.eye(3).ravel())
    lut += identity + lab.tobytes() + identity
    profile = icc(b"scnr", b"RGB ", b"Lab ", {b"A2B0": lut, b"A2B1": lut})
    picture = decode_image(with_profile(MUTED, profile))
    assert np.abs(picture.pixels - MUTED.astype(int)).max() > 5
    assert picture.extras.icc_profile is None


def display_profile():
    return ImageCms.ImageCmsProfile(io.BytesIO(display_p3()))


def test_a_16_bit_tiff_is_converted_to_srgb():
    deep = MUTED.astype(np.uint16) * 257
    profile = display_p3()
    data = tiff(deep, tags=[Tag(34675, list(profile), BYTES)])
    np.testing.assert_allclose(decode_image(data).pixels, srgb_from_p3(deep, 65535), atol=30)


def test_the_grey_profile_of_srgb_changes_nothing_and_is_not_kept():
    picture = decode_image(with_profile(GREY, profiles.SRGB_GREY))
    np.testing.assert_array_equal(picture.pixels, np.repeat(GREY, 3, axis=2))
    assert picture.extras.icc_profile is None
