import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from core.errors import UnsupportedClip
from core.picture import Picture
from core.video.colour import Colour, FrameToPicture, Orientation, colour_of, over_white
from core.video.encoder import PictureToFrame
from core.video.frames import read_frames
from core.video.probe import probe_clip
from tests.support.clip_files import LIMITS, scene, write_clip

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by the number of the matrix (H.273, table 4)."""

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [130, 90, 210]], np.uint8
)


def blocks(colours=COLOURS, side=16):
    """(side, side * count, 3) uint8."""
    return np.repeat(np.repeat(colours[np.newaxis], side, axis=0), side, axis=1)


def yuv_planes(rgb, matrix, is_full, levels=255):
    """Return unrounded luma and chroma of (..., 3) uint8, for `levels` as the highest level."""
    red_weight, blue_weight = WEIGHTS[matrix]
    red, green, blue = (rgb[..., channel] / 255 for channel in range(3))
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    chroma = [(blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)]
    unit, half = (levels + 1) / 256, (levels + 1) / 2
    if is_full:
        return np.stack([luma * levels, *(half + levels * c for c in chroma)])
    return np.stack([unit * (16 + 219 * luma), *(unit * (128 + 224 * c) for c in chroma)])


def yuv_frame(planes, pixel_format="yuv444p"):
    dtype = np.uint8 if pixel_format == "yuv444p" else np.uint16
    samples = np.clip(np.rint(planes), 0, np.iinfo(dtype).max).astype(dtype)
    frame = av.VideoFrame(planes.shape[2], planes.shape[1], pixel_format)
    for plane, values in zip(frame.planes, samples, strict=True):
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        lines[:, : values.nbytes // len(values)] = values.view(np.uint8).reshape(len(values), -1)
        plane.update(lines.tobytes())
    return frame


def picture_of(frame, colour):
    return FrameToPicture(frame.height, frame.width, colour, Orientation()).convert(frame).pixels


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("is_full", [False, True])
def test_yuv_is_converted_to_the_original_rgb(matrix, is_full):
    rgb = blocks()
    frame = yuv_frame(np.clip(yuv_planes(rgb, matrix, is_full), 0, 255))
    pixels = picture_of(frame, Colour(matrix, is_full=is_full))
    assert np.abs(pixels.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("bits", [10, 12])
def test_colours_of_more_bits_are_rounded(matrix, is_full, bits):
    highest = 2**bits - 1
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    planes = np.clip(yuv_planes(rgb, matrix, is_full, levels=highest), 0, highest)
    pixels = picture_of(yuv_frame(planes, f"yuv444p{bits}le"), Colour(matrix, is_full=is_full))
    difference = pixels.astype(int) - rgb
    assert np.abs(difference).max() <= 1
    assert abs(difference.mean()) < 0.1


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("is_full", [False, True])
def test_rgb_is_converted_to_the_expected_luma(matrix, is_full):
    rgb = blocks()
    frame = PictureToFrame(Colour(matrix, is_full=is_full)).convert(Picture(rgb))
    luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(len(rgb), -1)
    expected = yuv_planes(rgb, matrix, is_full)[0]
    assert np.abs(luma[:, : rgb.shape[1]] - expected).max() <= 0.6


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize("is_full", [False, True])
def test_colour_tags_of_a_file_are_used(tmp_path, matrix, is_full):
    rgb = blocks()
    frame = yuv_frame(np.clip(yuv_planes(rgb, matrix, is_full), 0, 255))
    path = write_clip(
        tmp_path / "clip.mp4",
        [frame],
        pixel_format="yuv444p",
        options={"qp": "0"},
        colorspace=matrix,
        color_range=ColorRange.JPEG if is_full else ColorRange.MPEG,
    )
    (probe,) = probe_clip(path, LIMITS)
    assert (probe.colour.matrix, probe.colour.is_full) == (matrix, is_full)
    (read,) = read_frames(path, probe, 0, 1)
    assert np.abs(read.picture.pixels.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(576, 6), (720, 1)])
def test_a_missing_matrix_is_chosen_by_the_height(height, matrix):
    assert colour_of(av.VideoFrame(16, height, "yuv420p")) == Colour(matrix)


def test_an_unknown_matrix_is_refused():
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.colorspace = 14
    with pytest.raises(UnsupportedClip, match="Received: number 14"):
        colour_of(frame)


def test_alpha_is_blended_over_white():
    pixels = np.array([[[0, 100, 255], [0, 100, 255], [0, 100, 255]]], np.uint8)
    alpha = np.array([[255, 0, 128]], np.uint8)
    expected = [[[0, 100, 255], [255, 255, 255], [127, 177, 255]]]
    assert over_white(pixels, alpha).tolist() == expected


def test_alpha_of_prores_is_blended_over_white(tmp_path):
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[:, :24, 3] = 255
    frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="yuva444p10le")
    path = write_clip(
        tmp_path / "clip.mov",
        [frame],
        codec="prores_ks",
        options={"profile": "4444"},
        pixel_format="yuva444p10le",
    )
    (probe,) = probe_clip(path, LIMITS)
    (read,) = read_frames(path, probe, 0, 1)
    assert read.picture.alpha is None
    assert read.picture.pixels[:, :20].max() < 8
    assert read.picture.pixels[:, 28:].min() > 247


def test_one_field_of_an_interlaced_frame_is_kept(tmp_path):
    first = scene(3, 64, 48)[..., :1].repeat(3, axis=2)  # grey, since each field has its own chroma
    woven = first.copy()
    woven[1::2] = 200  # the other field is of another moment
    path = write_clip(
        tmp_path / "clip.mp4",
        [woven] * 3,
        options={"crf": "1", "x264-params": "interlaced=1:tff=1"},
    )
    (probe,) = probe_clip(path, LIMITS)
    for frame in read_frames(path, probe, 0, 3):
        red = frame.picture.pixels[4:-4, ..., 0].astype(int)
        assert np.abs(red - first[4:-4, ..., 0]).max() < 12


def test_frames_that_change_their_size_are_resized():
    pictures = FrameToPicture(32, 48, Colour(6), Orientation())
    frame = av.VideoFrame.from_ndarray(scene(3, 64, 96), "rgb24")
    assert pictures.convert(frame).pixels.shape == (32, 48, 3)


PATCHES = np.array([[0, 0, 0], [36.5] * 3, [90] * 3, [203] * 3, [1000] * 3, [80, 40, 20]])
"""Light of red, green and blue, cd/m2."""


def pq(nits):
    """Return the level of PQ in [0, 1]. Source: BT.2100, table 4."""
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("peak_nits", [0, 1000])
def test_frames_in_pq_are_tone_mapped(is_full, peak_nits):
    """Light up to 91 cd/m2 keeps its share of 203 cd/m2; the curve gives 229 and 255 beyond."""
    planes = np.clip(yuv_planes(255 * blocks(pq(PATCHES)), 9, is_full, levels=1023), 0, 1023)
    colour = Colour(9, 1, 16, is_full, peak_nits)
    pixels = picture_of(yuv_frame(planes, "yuv444p10le"), colour)[8, 8::16]
    linear = PATCHES / 203
    expected = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    expected = np.rint(255 * expected)
    expected[3], expected[4] = 229, 255
    np.testing.assert_allclose(pixels.astype(int), expected, atol=1)


def test_frames_in_hlg_are_tone_mapped():
    planes = yuv_planes(255 * blocks(np.array([[0.75] * 3, [1.0] * 3])), 9, False, levels=1023)
    pixels = picture_of(yuv_frame(planes, "yuv444p10le"), Colour(9, 9, 18))[8, 8::16]
    np.testing.assert_allclose(pixels.astype(int), [[229] * 3, [255] * 3], atol=1)


def test_hdr_that_cannot_be_tone_mapped_is_refused():
    frame = av.VideoFrame(16, 16, "yuva444p10le")
    frame.color_trc, frame.color_primaries, frame.colorspace = 16, 9, 9
    with pytest.raises(UnsupportedClip, match="must be opaque if it is HDR"):
        colour_of(frame)
    frame = av.VideoFrame(16, 16, "yuv444p10le")
    frame.color_trc, frame.color_primaries, frame.colorspace = 18, 3, 9
    with pytest.raises(UnsupportedClip, match="primaries of H.273 if it is HDR. .* number 3"):
        colour_of(frame)


def test_the_colours_of_an_hdr_frame_are_known():
    frame = av.VideoFrame(16, 16, "yuv420p10le")
    frame.color_trc, frame.color_primaries = 16, 9
    colour = colour_of(frame)
    assert (colour.matrix, colour.primaries, colour.transfer, colour.is_hdr) == (9, 9, 16, True)
    assert (colour.of_pictures.primaries, colour.of_pictures.transfer) == (1, 1)
