"""Convert animations from file to file, segment by segment; enlarge their masks."""

import io
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from PIL import Image

from core.animation import Animation, read_animation
from core.animation.animation import enlarge_mask, read_part, with_smooth_masks
from core.errors import ImageTooLarge, InvalidOptions, UnsupportedClip, UnsupportedImage
from core.images import Limits
from core.media.medium import WARM_UP, ClipLimits, Segment
from core.media.render import ClipUpscaler
from core.model.grid import output_grid
from core.options import FRAME_PALETTE, GLOBAL_PALETTE, PALETTES, OutputOptions
from core.picture import Picture
from tests.support.animations import (
    BACKGROUND,
    BLACK,
    GREEN,
    RED,
    WHITE,
    apng,
    control,
    frame,
    gif,
    image,
    loops,
)
from tests.support.clip_files import shown, times
from tests.support.stand_ins import noise, repeat

FORMATS = ("gif", "apng", "webp")
MILLISECOND, CENTISECOND = Fraction(1, 1000), Fraction(1, 100)
LIMITS = ClipLimits(Limits(10**6, 10**4), max_seconds=10**6)


def moving(frames=5, size=(6, 9), repeated=(), delay=5):
    """A GIF of a white pixel that moves over black, with one image for each step."""
    height, width = size
    blocks = [*repeated, control(delay), image([[BLACK] * width] * height)]
    for step in range(1, frames):
        blocks += [control(delay, BACKGROUND), image([[WHITE]], (step % width, step % height))]
    return gif(*blocks, size=size)


@pytest.fixture
def open_animation(tmp_path):
    def open_animation(data, **options):
        source = tmp_path / "source"
        source.write_bytes(data)
        options = {"is_coherent": False, **options}
        return Animation(source, LIMITS, OutputOptions(**options), scale=4)

    return open_animation


@pytest.fixture
def resize(open_animation, upscaler, tmp_path):
    """A function that converts a file to a size, and returns the bytes."""

    def resize(data, **options):
        animation = open_animation(data, **options)
        part, target = tmp_path / "part", tmp_path / f"result{animation.suffix}"
        upscale = ClipUpscaler(upscaler, OutputOptions(**options), 0.0)
        animation.render(Segment(0, 0, animation.frames), upscale, part, lambda _: None)
        animation.join([part], target)
        return target.read_bytes()

    return resize


@pytest.fixture
def convert(open_animation, enlarge, tmp_path):
    """A function that converts a file in segments of `length` frames, and returns the bytes."""

    def convert(data, length=64, **options):
        animation = open_animation(data, **options)
        starts = range(0, animation.frames, length)
        parts = []
        for index, start in enumerate(starts):
            part = tmp_path / f"{index}.part"
            stop = min(start + length, animation.frames)
            animation.render(Segment(index, start, stop), enlarge, part, lambda _: None)
            parts.append(part)
        target = tmp_path / f"result{animation.suffix}"
        animation.join(parts, target)
        return target.read_bytes()

    return convert


def read(data):
    return read_animation(io.BytesIO(data))


def seconds(data):
    animation = read(data)
    return [duration * animation.time_base for duration in animation.durations]


def noise_frames(count=4, size=(6, 9), opaque=False):
    """Frames whose pixels are all opaque, or else transparent or nearly opaque."""
    frames = [noise(*size, 4, seed) for seed in range(count)]
    for each in frames:
        each[..., 3] = 255 if opaque else each[..., 3] // 128 * 254
    return frames


def as_apng(frames, plays=0, **options):
    parts = (frame(each, **options) for each in frames)
    return apng(*parts, size=frames[0].shape[:2], plays=plays)


def test_attributes_describe_the_animation(open_animation):
    animation = open_animation(moving())
    assert (animation.kind, animation.height, animation.width) == ("animation", 6, 9)
    assert (animation.frames, animation.suffix, animation.mimetype) == (5, ".gif", "image/gif")
    assert animation.damage is None
    assert [segment.frames for segment in animation.segments()] == [5]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("has_alpha", [True, False])
def test_frames_are_four_times_as_large(convert, decode_all, output_format, has_alpha):
    data = as_apng(noise_frames(opaque=not has_alpha))
    options = {"quality": 100, "is_dithered": output_format != "gif"}
    result = decode_all(convert(data, format=output_format, **options))
    expected = np.array([repeat(each) for each in decode_all(data)])
    if output_format == "gif":
        expected[..., 3] = expected[..., 3] // 128 * 255
    assert np.array_equal(result[..., 3], expected[..., 3])
    assert np.abs(result.astype(int) - expected).max() <= (3 if output_format == "gif" else 0)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("delays", [(5, 1, 7, 20), (10, 10), (65535, 2), (3,)])
def test_delays_are_kept_across_formats(convert, output_format, delays):
    blocks = [[control(delay), image([[RED, position]])] for position, delay in enumerate(delays)]
    data = gif(*sum(blocks, []), size=(1, 2))
    result = convert(data, format=output_format)
    assert seconds(result) == [delay * CENTISECOND for delay in delays]
    assert seconds(convert(result, format="gif"))[0] == max(delays[0], 2) * CENTISECOND


@pytest.mark.parametrize("output_format", FORMATS)
def test_zero_delays_stay_zero(convert, output_format):
    data = gif(loops(0), image([[RED]]), image([[GREEN]]), size=(1, 1))
    assert seconds(convert(data, format=output_format)) == [0, 0]


def test_a_video_shows_ignored_delays_as_long_as_browsers_do(convert, tmp_path):
    parts = [control(20), image([[RED] * 16] * 16)]
    parts += [control(1), image([[GREEN] * 16] * 16), control(0), image([[RED] * 16] * 16)]
    (tmp_path / "clip.mp4").write_bytes(convert(gif(*parts, size=(16, 16)), format="mp4"))
    starts = [start for start, _ in shown(tmp_path / "clip.mp4")]
    assert starts == [Fraction(tenths, 10) for tenths in (0, 2, 3)]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("repeated", "plays"), [([], 1), ([loops(0)], 0), ([loops(7)], 8)])
def test_repetitions_are_kept_across_formats(convert, output_format, repeated, plays):
    result = convert(moving(repeated=repeated), format=output_format)
    assert read(result).plays == plays
    back = convert(result, format="gif")
    assert read(back).plays == plays
    assert (b"NETSCAPE2.0" in back) == bool(repeated)


def test_the_largest_repetition_count_of_a_gif_is_kept(convert):
    assert loops(65535) in convert(moving(repeated=[loops(65535)]))


def test_rounding_errors_of_delays_do_not_add_up(convert):
    frames = noise_frames(count=6, opaque=True)
    result = convert(as_apng(frames, delay=(33, 1000)), format="gif")
    assert seconds(result) == [each * CENTISECOND for each in (3, 4, 3, 3, 3, 4)]


def test_delays_too_short_for_a_gif_become_the_shortest(convert):
    result = convert(as_apng(noise_frames(count=3), delay=(1, 1000)), format="gif")
    assert seconds(result) == [2 * CENTISECOND] * 3


def test_long_delays_with_fractions_are_kept(convert):
    data = apng(*(frame(each, delay=(65535, 2)) for each in noise_frames()), size=(6, 9))
    assert seconds(convert(data)) == [Fraction(65535, 2)] * 4


@pytest.mark.parametrize("denominators", [(65521, 65519), (65521, 65519, 65497, 65479)])
@pytest.mark.parametrize("output_format", ["apng", "gif", "mp4", "webm"])
def test_delays_without_a_usual_common_unit_are_kept(
    convert, tmp_path, output_format, denominators
):
    frames = noise_frames(count=len(denominators), size=(16, 16), opaque=True)
    delays = [(6_000, denominator) for denominator in denominators]
    parts = (frame(each, delay=delay) for each, delay in zip(frames, delays, strict=True))
    result = convert(apng(*parts, size=(16, 16)), format=output_format)
    ends = list(accumulate(Fraction(*delay) for delay in delays))
    if output_format in ("apng", "gif"):
        read_ends = list(accumulate(seconds(result)))
    else:
        (tmp_path / "clip").write_bytes(result)
        read_ends, ends = times(tmp_path / "clip")[1:], ends[:-1]
    unit = {"apng": Fraction(2, 10**6), "mp4": Fraction(1, 10**6), "webm": MILLISECOND}
    tolerance = unit.get(output_format, CENTISECOND)
    assert all(abs(a - b) <= tolerance for a, b in zip(read_ends, ends, strict=True))


@pytest.mark.parametrize(
    ("output_format", "palette"),
    [
        ("gif", GLOBAL_PALETTE),
        ("gif", FRAME_PALETTE),
        ("apng", FRAME_PALETTE),
        ("webp", FRAME_PALETTE),
    ],
)
def test_the_result_does_not_depend_on_the_segments(convert, output_format, palette):
    data = as_apng(noise_frames(count=7))
    whole = convert(data, format=output_format, palette=palette)
    assert convert(data, length=2, format=output_format, palette=palette) == whole
    assert convert(data, length=3, format=output_format, palette=palette) == whole


def test_a_segment_is_warmed_up_with_earlier_frames(open_animation, enlarge, tmp_path):
    animation, done = open_animation(as_apng(noise_frames(count=WARM_UP + 5))), []
    part, start = tmp_path / "part", WARM_UP + 2
    animation.render(Segment(1, start, start + 2), enlarge, part, done.append)
    assert [each.start for each in read_part(part)] == [start, start + 1]
    assert len(enlarge.pictures) == WARM_UP + 2 and done == [1, 2]
    animation.render(Segment(0, 1, 2), enlarge, part, done.append)
    assert len(enlarge.pictures) == WARM_UP + 4


def test_equal_frames_are_upscaled_once(convert, enlarge):
    one, other = noise_frames(count=2)
    result = convert(as_apng([one, one, other, one, one, other]))
    assert len(enlarge.pictures) == 2
    assert len(read(result).durations) == 6


def test_a_failed_segment_leaves_no_file(open_animation, tmp_path):
    def fail(_):
        raise RuntimeError("cancelled")

    animation = open_animation(moving())
    with pytest.raises(RuntimeError, match="cancelled"):
        animation.render(animation.segments()[0], fail, tmp_path / "part", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_exception_from_report_stops_rendering(open_animation, enlarge, tmp_path):
    def cancel(done):
        if done == 2:
            raise RuntimeError("cancelled")

    animation = open_animation(moving())
    with pytest.raises(RuntimeError, match="cancelled"):
        animation.render(animation.segments()[0], enlarge, tmp_path / "part", cancel)
    assert not (tmp_path / "part").exists()


def test_a_gif_stores_only_the_pixels_that_change(convert):
    """Frames after the first consist of two pixels: one turns black, one turns white."""
    blocks = [control(5), image([[BLACK] * 9] * 6)]
    for step in range(1, 5):
        blocks += [image([[BLACK]], (step - 1, 2)), control(5), image([[WHITE]], (step, 2))]
    result = convert(gif(*blocks, size=(6, 9)), merges_undelayed=True)
    with Image.open(io.BytesIO(result)) as picture:
        boxes = []
        for number in range(1, picture.n_frames):
            picture.seek(number)
            boxes.append(picture.dispose_extent)
    assert boxes == [(4, 8, 8, 12), (4, 8, 12, 12), (8, 8, 16, 12), (12, 8, 20, 12)]


def test_a_repeated_frame_costs_almost_no_bytes(convert):
    still = noise_frames(count=1) * 2
    assert len(convert(as_apng(still))) < len(convert(as_apng(noise_frames(count=1)))) + 150


def test_alpha_is_thresholded_in_gif_and_kept_in_webp(convert, decode_all):
    faint = noise(6, 9, 4)
    result = decode_all(convert(as_apng([faint]), format="gif"))
    assert np.array_equal(result[0, ..., 3], np.where(repeat(faint[..., 3]) >= 128, 255, 0))
    smooth = decode_all(convert(as_apng([faint]), format="webp", quality=100))
    assert np.array_equal(smooth[0, ..., 3], repeat(faint[..., 3]))


def test_transparent_pixels_of_a_gif_show_no_earlier_frame(convert, decode_all):
    """A transparent pixel shows neither an earlier frame nor its own colour."""
    frames = noise_frames(count=12)
    expected = np.array([repeat(each[..., 3] // 128 * 255) for each in frames])
    for palette in PALETTES:
        result = decode_all(convert(as_apng(frames), format="gif", palette=palette))
        assert np.array_equal(result[..., 3], expected)


def test_a_global_palette_serves_all_frames(convert, decode_all):
    data = as_apng(noise_frames(opaque=True, size=(16, 16)))
    colours = {}
    for palette in PALETTES:
        frames = decode_all(convert(data, format="gif", palette=palette))
        colours[palette] = len(np.unique(frames.reshape(-1, 4), axis=0))
    assert colours[GLOBAL_PALETTE] <= 255 < colours[FRAME_PALETTE]


def read_note(output_format, file):
    """Return the XMP packet of a file; Pillow does not read that of a GIF."""
    if output_format == "gif":
        _, begins, rest = file.partition(b"XMP DataXMP")
        return rest[: rest.index(b"\x01\xff\xfe\xfd")] if begins else None
    with Image.open(io.BytesIO(file)) as picture:
        picture.load()
        return picture.info.get("xmp")


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_file_notes_synthetic_detail(convert, output_format):
    packet = read_note(output_format, convert(moving(), format=output_format))
    assert b"algorithmicallyEnhanced" in packet and packet.endswith(b"?>")
    assert read_note(output_format, convert(moving(), format=output_format, has_note=False)) is None


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 1)])
def test_the_smallest_animations_can_be_converted(convert, decode_all, output_format, size):
    data = moving(frames=1, size=size)
    assert decode_all(convert(data, format=output_format)).shape == (1, 4 * size[0], 4 * size[1], 4)


@pytest.mark.parametrize("output_format", FORMATS)
def test_pillow_decodes_the_same_frames(convert, decode_all, output_format):
    """Pillow is an independent reader with its own compositing."""
    result = convert(as_apng(noise_frames()), format=output_format, quality=100)
    ours = decode_all(result)
    with Image.open(io.BytesIO(result)) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            theirs = np.array(picture.convert("RGBA"))
            theirs[theirs[..., 3] == 0] = 0
            assert np.array_equal(theirs, ours[number])


def test_lower_webp_quality_makes_smaller_files(convert):
    data = as_apng(noise_frames(opaque=True, size=(32, 32)))
    sizes = [len(convert(data, format="webp", quality=quality)) for quality in (10, 85, 100)]
    assert sizes == sorted(sizes)


def test_the_frame_limit_is_exact(tmp_path):
    source = tmp_path / "source"
    blocks = [control(1), image([[RED]])] * 1000
    source.write_bytes(gif(*blocks, size=(1, 1)))
    limits = ClipLimits(Limits(100, 100, 1000), 60)
    assert Animation(source, limits, OutputOptions(), scale=4).frames == 1000
    source.write_bytes(gif(*blocks, control(1), image([[RED]]), size=(1, 1)))
    with pytest.raises(ImageTooLarge, match="at most 1000 frames"):
        Animation(source, limits, OutputOptions(), scale=4)


def test_unknown_formats_are_refused(open_animation):
    with pytest.raises(InvalidOptions, match="must be one of gif, apng, webp, mp4.*Received: jpeg"):
        open_animation(moving(), format="jpeg")


def test_frames_too_large_for_the_format_are_refused(open_animation):
    data = gif(image([[RED]]), size=(1, 5000))
    assert open_animation(data).width == 5000
    with pytest.raises(ImageTooLarge, match="WebP must be at most 16383 pixels"):
        open_animation(data, format="webp")


def test_other_files_are_refused(open_animation, encode):
    with pytest.raises(UnsupportedImage, match="must be a GIF, an animated PNG"):
        open_animation(encode(noise(4, 4)))


@pytest.fixture
def disc():
    y, x = np.mgrid[:20, :24]
    return np.where((y - 9) ** 2 + (x - 12) ** 2 < 50, 255, 0).astype(np.uint8)


def four_times(mask, **size):
    return output_grid(OutputOptions(**size), *mask.shape, scale=4)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"scale": 1.5}, (9, 14)),
        ({"scale": 2}, (12, 18)),
        ({"scale": 6}, (36, 54)),
        ({"width": 31}, (21, 31)),
        ({"width": 25, "height": 13, "fit": "cover"}, (13, 25)),
    ],
)
@pytest.mark.parametrize("output_format", FORMATS)
def test_frames_get_the_size_that_is_asked_for(resize, decode_all, size, expected, output_format):
    data = as_apng(noise_frames())
    assert decode_all(resize(data, format=output_format, **size)).shape == (4, *expected, 4)


@pytest.mark.parametrize("is_coherent", [True, False])
def test_an_animation_of_the_same_size_keeps_its_pixels(resize, decode_all, is_coherent):
    data = as_apng(noise_frames())
    result = resize(data, scale=1, restore=0.0, is_coherent=is_coherent)
    assert np.array_equal(decode_all(result), decode_all(data))


def test_an_animation_of_odd_size_becomes_a_video_of_even_size(resize, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(resize(moving(3, (7, 9)), format="mp4", scale=3))
    assert [pixels.shape for _, pixels in shown(tmp_path / "clip.mp4")] == [(20, 26, 3)] * 3


def test_frames_too_small_for_a_video_are_refused_at_once(open_animation):
    open_animation(moving(), format="mp4", codec="av1", scale=1)
    with pytest.raises(UnsupportedClip, match="at least 64 pixels"):
        open_animation(moving(), format="mp4", codec="hevc", scale=4)


def test_a_result_over_the_limit_is_refused(tmp_path):
    (tmp_path / "source").write_bytes(moving())
    limits = replace(LIMITS, frame=Limits(10**6, 10**4, max_output_pixels=6 * 9 * 8**2))
    Animation(tmp_path / "source", limits, OutputOptions(scale=8), scale=4)
    with pytest.raises(ImageTooLarge, match="Received: a picture that would become 72 x 49"):
        Animation(tmp_path / "source", limits, OutputOptions(width=72, height=49, fit="cover"), 4)


def test_an_enlarged_mask_is_cropped_like_its_colour(disc):
    whole = enlarge_mask(disc, four_times(disc, width=48, height=40))
    cropped = enlarge_mask(disc, four_times(disc, width=30, height=40, fit="cover"))
    assert np.array_equal(cropped, whole[:, 9:39])


def roughness(disc):
    """Standard deviation of the distance from the edge to the centre, px."""
    edge = disc.copy()
    edge[1:-1, 1:-1] &= ~(disc[2:, 1:-1] & disc[:-2, 1:-1] & disc[1:-1, 2:] & disc[1:-1, :-2])
    y, x = np.nonzero(edge)
    return np.hypot(y - 37.5, x - 49.5).std()


def test_an_enlarged_mask_has_smooth_edges(disc):
    enlarged = enlarge_mask(disc, four_times(disc)) >= 128
    blocks = disc.repeat(4, axis=0).repeat(4, axis=1) > 0
    assert roughness(enlarged) < 0.85 * roughness(blocks)


def test_pixels_far_from_the_edge_are_unchanged(disc):
    enlarged = enlarge_mask(disc, four_times(disc))
    assert set(np.unique(enlarged[30:45, 40:55])) == {255}
    assert not enlarged[:4].any() and not enlarged[-4:].any()


def test_a_line_of_one_pixel_stays_visible():
    line = np.eye(12, dtype=np.uint8) * 255
    enlarged = enlarge_mask(line, four_times(line))
    assert all(enlarged[position, position] >= 128 for position in range(4, 44))


@pytest.mark.parametrize("level", [0, 255])
def test_a_constant_mask_stays_constant(level):
    mask = np.full((3, 5), level, np.uint8)
    assert (enlarge_mask(mask, four_times(mask)) == level).all()


def test_only_masks_are_interpolated(enlarge, disc):
    upscale = with_smooth_masks(enlarge, four_times(disc))
    picture = Picture(noise(20, 24), disc)
    smooth = replace(picture, alpha=np.minimum(disc, 254))
    assert not np.array_equal(upscale(picture).alpha, enlarge(picture).alpha)
    assert np.array_equal(upscale(smooth).alpha, enlarge(smooth).alpha)
    assert upscale(Picture(noise(4, 5))).alpha is None


def test_the_first_frames_decide_how_an_animation_is_restored(open_animation):
    judged = [picture.pixels for picture in open_animation(moving(20)).judged_frames()]
    assert [int(pixels.argmax()) // 3 for pixels in judged] == [0, 9 * 0 + 12 % 9 + 9 * (12 % 6)]
