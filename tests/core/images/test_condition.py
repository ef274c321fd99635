import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from config import ROOT
from core.images import decode_image, resize_bicubic
from core.images.condition import (
    MIN_SIDE,
    MOST_WINDOWS,
    WINDOW,
    measure_condition,
    recommend_strength,
    sample_windows,
)
from core.images.header import percent_from_quality
from core.picture import Picture
from tests.support.photographs import photograph
from tests.support.picture_files import encoded

EXAMPLES = ROOT / "samples" / "test_examples"
CLEAN = sorted((EXAMPLES / "low_resolution").glob("*.png"))
LARGE = [EXAMPLES / "original" / f"{name}.png" for name in ("astronaut", "cat", "rocket", "temple")]


def pixels_of(path):
    return decode_image(path.read_bytes()).pixels


def condition_of(pixels):
    return measure_condition(sample_windows(Picture(np.ascontiguousarray(pixels))))


def strength_of(pixels):
    return recommend_strength(Picture(np.ascontiguousarray(pixels)))


def with_noise(pixels, sigma, channels=3):
    """Return a picture with Gaussian noise, the same in all channels if `channels` is 1."""
    noise = np.random.default_rng(7).normal(0, sigma, (*pixels.shape[:2], channels))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def blurred(pixels, sigma):
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def through(pixels, file_format, **options):
    """Return what a picture is after it was stored in a file of a format."""
    return decode_image(encoded(pixels, file_format, **options)).pixels


@pytest.fixture(scope="module")
def astronaut():
    return pixels_of(LARGE[0])


# Measures


@pytest.mark.parametrize("sigma", [2, 4, 8, 12])
def test_noise_of_luma_is_measured(sigma):
    grey = 60 + photograph(1) // 2
    noise = condition_of(with_noise(grey, sigma, channels=1)).noise
    assert noise == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [2, 4, 8, 12])
def test_noise_of_colour_is_measured(sigma):
    colour_noise = condition_of(with_noise(60 + photograph(1) // 2, sigma)).colour_noise
    assert colour_noise == pytest.approx(sigma, rel=0.15)


def test_grey_noise_is_no_noise_of_colour():
    assert condition_of(with_noise(60 + photograph(1) // 2, 8, channels=1)).colour_noise < 0.2


def test_noise_is_measured_beside_edges(astronaut):
    unclipped = 40 + (astronaut * 0.7).astype(np.uint8)
    assert condition_of(with_noise(unclipped, 6, channels=1)).noise == pytest.approx(6, rel=0.25)


def test_fine_stripes_are_not_noise():
    stripes = np.where(np.arange(200) % 3 == 0, 60, 180)[:, None, None]
    picture = 40 + photograph(2, 200, 200) // 8 + stripes // 2
    assert condition_of(picture.astype(np.uint8)).noise < 0.5


@pytest.mark.parametrize("offset", [(0, 0), (3, 5), (7, 1)])
@pytest.mark.parametrize("quality", [50, 60, 70, 85, 90])
def test_the_quality_of_a_jpeg_is_measured_wherever_its_grid_is(astronaut, quality, offset):
    stored = through(astronaut, "JPEG", quality=quality)[offset[0] :, offset[1] :]
    percent = condition_of(stored).jpeg_percent
    assert percent == pytest.approx(percent_from_quality(quality), rel=0.1)


@pytest.mark.parametrize("quality", [10, 20, 30, 40])
def test_a_very_coarse_jpeg_is_found(astronaut, quality):
    assert condition_of(through(astronaut, "JPEG", quality=quality)).jpeg_percent > 60


@pytest.mark.parametrize("quality", [50, 90])
def test_the_quality_of_a_turned_jpeg_is_measured(astronaut, quality):
    stored = np.rot90(through(astronaut, "JPEG", quality=quality))
    percent = condition_of(stored).jpeg_percent
    assert percent == pytest.approx(percent_from_quality(quality), rel=0.1)


@pytest.mark.parametrize("quality", [50, 85])
def test_the_quality_of_a_grey_jpeg_is_measured(astronaut, quality):
    stored = through(astronaut[..., 1], "JPEG", quality=quality)
    percent = condition_of(stored).jpeg_percent
    assert percent == pytest.approx(percent_from_quality(quality), rel=0.1)


def test_the_coarser_of_two_qualities_is_measured(astronaut):
    once = through(astronaut, "JPEG", quality=50)
    twice = Picture(through(once, "JPEG", quality=97))
    percent = measure_condition(sample_windows(twice), jpeg_quality=97).jpeg_percent
    assert percent == pytest.approx(percent_from_quality(50), rel=0.1)


@pytest.mark.parametrize("path", CLEAN + LARGE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_picture_that_was_no_jpeg_has_no_traces_of_one(path):
    assert condition_of(pixels_of(path)).jpeg_percent == 0


def test_the_header_counts_if_the_pixels_tell_less(astronaut):
    windows = sample_windows(Picture(astronaut))
    assert measure_condition(windows, jpeg_quality=70).jpeg_percent == 60


@pytest.mark.parametrize("offset", [(0, 0), (1, 2), (3, 3)])
@pytest.mark.parametrize("quality", [30, 50, 80])
def test_the_grid_of_webp_is_found_wherever_it_is(astronaut, quality, offset):
    stored = through(astronaut, "WEBP", quality=quality)[offset[0] :, offset[1] :]
    assert condition_of(stored).webp_grid > 0.1


@pytest.mark.parametrize("path", CLEAN, ids=lambda path: path.stem)
def test_a_picture_that_was_no_webp_has_no_grid_of_one(path):
    assert condition_of(pixels_of(path)).webp_grid < 0.06


def test_sharpness_falls_with_blur(astronaut):
    falling = [
        condition_of(blurred(astronaut, sigma) if sigma else astronaut).sharpness
        for sigma in (0, 0.7, 1, 1.5, 2)
    ]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > -2 > -3 > falling[-1]


@pytest.mark.parametrize(
    ("damage", "measured"),
    [
        (lambda pixels: through(pixels, "JPEG", quality=80)[3:, 5:], (39.608, 0, 0, 0, -1.818)),
        (lambda pixels: through(pixels, "WEBP", quality=60)[1:, 2:], (0, 0.205, 0, 0, -1.867)),
        (lambda pixels: with_noise(pixels, 4), (0, 0.007, 1.829, 2.536, -1.875)),
        (lambda pixels: blurred(pixels, 1.5), (0, 0.020, 0, 0, -3.585)),
    ],
    ids=["JPEG", "WebP", "noisy", "soft"],
)
def test_the_measures_of_known_pictures_stay_the_same(astronaut, damage, measured):
    np.testing.assert_allclose(condition_of(damage(astronaut)), measured, atol=1e-3)


def test_a_sharp_step_has_the_sharpness_of_one():
    step = np.repeat(np.arange(200) // 16 % 2 * 200, 3).reshape(1, 200, 3).repeat(200, axis=0)
    assert condition_of(step.astype(np.uint8)).sharpness == pytest.approx(-1, abs=0.1)


# Strength: what is left alone


@pytest.mark.parametrize("path", CLEAN, ids=lambda path: path.stem)
def test_a_clean_photograph_is_left_alone(path):
    assert strength_of(pixels_of(path)) == 0


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_a_clean_photograph_in_grey_is_left_alone(path):
    grey = pixels_of(path).mean(axis=2).astype(np.uint8)
    assert strength_of(np.dstack([grey] * 3)) == 0


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_a_jpeg_of_quality_95_is_left_alone(path):
    file = encoded(pixels_of(path), "JPEG", quality=95)
    assert recommend_strength(decode_image(file)) <= 0.15


def test_sharp_texture_that_was_reduced_is_left_alone():
    sand = with_noise(np.full((800, 1000, 3), 128, np.uint8), 100, channels=1)
    lr = resize_bicubic(np.ascontiguousarray(blurred(sand, 1)), 200, 250)
    assert lr.std() > 10
    assert strength_of(lr) == 0
    assert strength_of(with_noise(np.full_like(lr, 128), lr.std(), channels=1)) > 0.6


def test_film_grain_is_kept(astronaut):
    assert strength_of(with_noise(astronaut, 1.5, channels=1)) <= 0.1


@pytest.mark.parametrize("height", [1, 2, 8, 32])
@pytest.mark.parametrize("width", [1, 7, 32, 500])
def test_a_tiny_picture_is_left_alone(height, width):
    stored = through(photograph(3, height, width), "JPEG", quality=30)
    assert strength_of(stored) == 0


def page(font_height=14):
    """Return a page of text with a box, as a screenshot has them."""
    image = Image.new("RGB", (300, 200), (250, 250, 245))
    draw = ImageDraw.Draw(image)
    for top in range(8, 190, font_height + 4):
        draw.text((8, top), "The quick brown fox jumps over the lazy dog, 0123456789", (20, 20, 40))
    draw.rectangle((180, 60, 280, 150), fill=(40, 120, 200), outline=(0, 0, 0))
    return np.asarray(image)


def halftone(pixels):
    """Return dots on a lattice whose size follows the darkness of a picture."""
    grey = pixels.mean(axis=2)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    lattice = 127.5 + 63.75 * (np.sin(2 * np.pi * (x + y) / 6) + np.sin(2 * np.pi * (x - y) / 6))
    return np.where(grey > lattice, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)


def page_with(photo):
    """Return a page of text in which a photograph is set."""
    picture = np.tile(page(), (2, 2, 1))
    picture[150:250, 40:240] = photo[100:200, 100:300]
    return picture


def grey_halftone(photo):
    """Return a halftone in levels of grey, as a scanner sees one."""
    height, width = photo.shape[:2]
    return resize_bicubic(halftone(resize_bicubic(photo, 2 * height, 2 * width)), height, width)


GRAPHICS = {
    "black": lambda _: np.zeros((200, 200, 3), np.uint8),
    "one colour": lambda _: np.full((200, 200, 3), (30, 90, 200), np.uint8),
    "page": lambda _: page(),
    "half-size page": lambda _: resize_bicubic(page(), 100, 150),
    "two levels": lambda photo: np.asarray(Image.fromarray(photo).convert("1").convert("RGB")),
    "dithered palette": lambda photo: np.asarray(
        Image.fromarray(photo).quantize(64, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    ),
    "GIF": lambda photo: through(photo, "GIF"),
    "page with a photograph": page_with,
    "page on a gradient": lambda _: (
        page() // 2 + np.mgrid[:200, :300][1].astype(np.uint8)[..., None] // 3
    ),
    "halftone": halftone,
    "halftone in levels of grey": grey_halftone,
    "gradient": lambda _: np.mgrid[:200, :200][1].astype(np.uint8)[..., None].repeat(3, axis=2),
}


@pytest.mark.parametrize("kind", GRAPHICS)
def test_graphics_are_left_alone(kind, astronaut):
    assert strength_of(GRAPHICS[kind](astronaut)) == 0


# Strength: what is restored


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
@pytest.mark.parametrize("quality", [40, 75])
def test_a_coarse_jpeg_is_restored(path, quality):
    file = encoded(pixels_of(path), "JPEG", quality=quality)
    assert recommend_strength(decode_image(file)) >= 0.9


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_a_photograph_of_a_phone_out_of_focus_is_restored(path):
    file = encoded(blurred(pixels_of(path), 2), "JPEG", quality=85)
    assert recommend_strength(decode_image(file)) >= 0.9


def test_a_page_in_a_coarse_jpeg_is_restored():
    assert recommend_strength(decode_image(encoded(page(), "JPEG", quality=50))) >= 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_strong_noise_is_restored(astronaut, channels):
    assert strength_of(with_noise(astronaut, 8, channels)) >= 0.7


def test_a_coarse_webp_is_restored(astronaut):
    assert strength_of(through(blurred(astronaut, 1), "WEBP", quality=50)) >= 0.3


# Strength: how it follows the condition


def are_rising(values):
    return values == sorted(values) and values[0] < values[-1]


def test_the_strength_rises_as_the_quality_falls(astronaut):
    qualities = (98, 95, 92, 90, 85, 70, 40)
    files = [encoded(astronaut, "JPEG", quality=quality) for quality in qualities]
    assert are_rising([recommend_strength(decode_image(file)) for file in files])


def test_the_strength_rises_with_noise(astronaut):
    assert are_rising([strength_of(with_noise(astronaut, s, channels=1)) for s in (0, 2, 4, 8)])


def test_the_strength_rises_with_blur(astronaut):
    pictures = [through(blurred(astronaut, s), "JPEG", quality=92) for s in (0.5, 1, 2)]
    assert are_rising([strength_of(picture) for picture in pictures])


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
@pytest.mark.parametrize("quality", [50, 75, 85, 90, 93, 95])
def test_a_png_of_a_jpeg_is_restored_as_the_jpeg(path, quality):
    jpeg = decode_image(encoded(pixels_of(path), "JPEG", quality=quality))
    png = decode_image(encoded(jpeg.pixels, "PNG"))
    assert recommend_strength(png) == pytest.approx(recommend_strength(jpeg), abs=0.15)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, lambda pixels: pixels.swapaxes(0, 1)])
@pytest.mark.parametrize(
    "damage",
    [
        lambda pixels: pixels,
        lambda pixels: with_noise(pixels, 3),
        lambda pixels: blurred(pixels, 1.5),
        lambda pixels: through(pixels, "JPEG", quality=90),
    ],
    ids=["clean", "noisy", "soft", "JPEG"],
)
def test_a_turned_picture_is_restored_as_much(astronaut, damage, turn):
    damaged = damage(astronaut)
    assert strength_of(turn(damaged)) == pytest.approx(strength_of(damaged), abs=0.1)


def test_the_same_pixels_always_get_the_same_strength(astronaut):
    damaged = with_noise(astronaut, 3)
    assert len({strength_of(damaged.copy()) for _ in range(5)}) == 1


def test_the_strength_is_a_multiple_of_a_hundredth(astronaut):
    strength = strength_of(with_noise(astronaut, 3))
    assert 0 < strength < 1
    assert strength == round(strength, 2)


@pytest.mark.parametrize("sigma", [0, 3, 8])
def test_a_picture_of_16_bits_is_restored_as_one_of_8(astronaut, sigma):
    pixels = with_noise(astronaut, sigma)
    assert strength_of(pixels.astype(np.uint16) * 257) == strength_of(pixels)


# Sample


@pytest.mark.parametrize(
    "shape", [(MIN_SIDE, MIN_SIDE), (33, 2000), (64, 65), (100, 63), (127, 129), (700, 900)]
)
def test_windows_are_few_and_lie_in_the_picture_on_multiples_of_8(shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.uint16)
    windows = sample_windows(Picture(np.dstack([y, x, x])))
    assert 1 <= len(windows) <= MOST_WINDOWS**2
    assert windows.shape[1:3] == (min(WINDOW, shape[0]), min(WINDOW, shape[1]))
    assert not windows[:, 0, 0, :2].any(axis=0).any() or (windows[:, 0, 0] % 8 == 0).all()
    assert np.diff(windows[..., 0], axis=1).min() == 1


def test_windows_reach_both_ends_of_a_side():
    columns = np.arange(1000, dtype=np.uint16)
    windows = sample_windows(Picture(np.tile(columns[None, :, None], (100, 1, 3))))
    assert windows.min() == 0
    assert windows.max() > 1000 - 8


def test_transparent_parts_are_not_measured(astronaut):
    alpha = np.full(astronaut.shape[:2], 255, np.uint8)
    alpha[:, :256] = 0
    damaged = astronaut.copy()
    damaged[:, :256] = through(astronaut, "JPEG", quality=30)[:, :256]
    lr = Picture(damaged, alpha)
    assert recommend_strength(lr) == 0
    assert recommend_strength(replace(lr, alpha=255 - alpha)) == 1


def test_a_picture_without_an_opaque_window_is_left_alone(astronaut):
    alpha = np.full(astronaut.shape[:2], 254, np.uint8)
    assert recommend_strength(Picture(with_noise(astronaut, 20), alpha)) == 0


def test_the_decision_is_the_same_from_a_file_and_from_its_bytes(astronaut):
    data = encoded(astronaut, "JPEG", quality=92)
    assert recommend_strength(decode_image(io.BytesIO(data))) == recommend_strength(
        decode_image(data)
    )
