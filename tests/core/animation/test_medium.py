"""From file to file, by way of segments."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from core.animation import Animation, read_animation
from core.animation.animation import read_part
from core.errors import ImageTooLarge, InvalidOptions, UnsupportedImage
from core.images import Limits
from core.media.medium import WARM_UP, ClipLimits, Segment
from core.options import FRAME_PALETTE, GLOBAL_PALETTE, PALETTES, OutputOptions
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
from tests.support.stand_ins import noise, repeat

FORMATS = ("gif", "apng", "webp")
CENTISECOND = Fraction(1, 100)
LIMITS = ClipLimits(Limits(10**6, 10**4), max_seconds=10**6)


def moving(frames=5, size=(6, 9), repeated=(), delay=5):
    """A white pixel that moves over black; a new image for each step."""
    height, width = size
    blocks = [*repeated, control(delay), image([[BLACK] * width] * height)]
    for step in range(1, frames):
        blocks += [control(delay, BACKGROUND), image([[WHITE]], (step % width, step % height))]
    return gif(*blocks, size=size)


@pytest.fixture
def open_animation(tmp_path):
    def open_animation(data, **wish):
        source = tmp_path / "source"
        source.write_bytes(data)
        return Animation(source, LIMITS, OutputOptions(**{"is_coherent": False, **wish}), scale=4)

    return open_animation


@pytest.fixture
def convert(open_animation, enlarge, tmp_path):
    """The result's bytes, of segments of a length."""

    def convert(data, length=64, **wish):
        animation = open_animation(data, **wish)
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
    reel = read(data)
    return [duration * reel.time_base for duration in reel.durations]


def of_noise(count=4, size=(6, 9), opaque=False):
    """Frames; pixels are opaque, or hidden or nearly opaque, which is no mask."""
    frames = [noise(*size, 4, seed) for seed in range(count)]
    for each in frames:
        each[..., 3] = 255 if opaque else each[..., 3] // 128 * 254
    return frames


def as_apng(frames, plays=0, **options):
    parts = (frame(each, **options) for each in frames)
    return apng(*parts, size=frames[0].shape[:2], plays=plays)


def test_it_says_what_it_is(open_animation):
    animation = open_animation(moving())
    assert (animation.kind, animation.height, animation.width) == ("animation", 6, 9)
    assert (animation.frames, animation.suffix, animation.mimetype) == (5, ".gif", "image/gif")
    assert animation.damage is None
    assert [segment.frames for segment in animation.segments()] == [5]


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("has_alpha", [True, False])
def test_frames_are_four_times_as_large(convert, shown, written, has_alpha):
    data = as_apng(of_noise(opaque=not has_alpha))
    result = shown(convert(data, format=written, quality=100, is_dithered=written != "gif"))
    expected = np.array([repeat(each) for each in shown(data)])
    if written == "gif":
        expected[..., 3] = expected[..., 3] // 128 * 255
    assert np.array_equal(result[..., 3], expected[..., 3])
    assert np.abs(result.astype(int) - expected).max() <= (3 if written == "gif" else 0)


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("delays", [(5, 1, 7, 20), (10, 10), (65535, 2), (3,)])
def test_delays_go_from_format_to_format(convert, written, delays):
    blocks = [[control(delay), image([[RED, place]])] for place, delay in enumerate(delays)]
    data = gif(*sum(blocks, []), size=(1, 2))
    result = convert(data, format=written)
    assert seconds(result) == [delay * CENTISECOND for delay in delays]
    assert seconds(convert(result, format="gif"))[0] == max(delays[0], 2) * CENTISECOND


@pytest.mark.parametrize("written", FORMATS)
def test_no_delay_stays_none(convert, written):
    data = gif(loops(0), image([[RED]]), image([[GREEN]]), size=(1, 1))
    assert seconds(convert(data, format=written)) == [0, 0]


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize(("repeated", "plays"), [([], 1), ([loops(0)], 0), ([loops(7)], 8)])
def test_repetitions_go_from_format_to_format(convert, written, repeated, plays):
    result = convert(moving(repeated=repeated), format=written)
    assert read(result).plays == plays
    back = convert(result, format="gif")
    assert read(back).plays == plays
    assert (b"NETSCAPE2.0" in back) == bool(repeated)


def test_the_most_repetitions_of_a_gif_stay(convert):
    assert loops(65535) in convert(moving(repeated=[loops(65535)]))


def test_milliseconds_become_hundredths_that_add_up(convert):
    frames = of_noise(count=6, opaque=True)
    result = convert(as_apng(frames, delay=(33, 1000)), format="gif")
    assert seconds(result) == [each * CENTISECOND for each in (3, 4, 3, 3, 3, 4)]


def test_what_is_too_short_for_a_gif_is_shown_as_shortly_as_can_be(convert):
    result = convert(as_apng(of_noise(count=3), delay=(1, 1000)), format="gif")
    assert seconds(result) == [2 * CENTISECOND] * 3


def test_a_long_fraction_is_nearly_kept(convert):
    data = apng(*(frame(each, delay=(65535, 2)) for each in of_noise()), size=(6, 9))
    assert seconds(convert(data)) == [Fraction(65535, 2)] * 4


@pytest.mark.parametrize(
    ("written", "palette"),
    [("gif", GLOBAL_PALETTE), *((written, FRAME_PALETTE) for written in FORMATS)],
)
def test_the_result_does_not_depend_on_the_segments(convert, written, palette):
    data = as_apng(of_noise(count=7))
    whole = convert(data, format=written, palette=palette)
    assert convert(data, length=2, format=written, palette=palette) == whole
    assert convert(data, length=3, format=written, palette=palette) == whole


def test_a_segment_begins_with_frames_before_it(open_animation, enlarge, tmp_path):
    animation, done = open_animation(as_apng(of_noise(count=WARM_UP + 5))), []
    part, start = tmp_path / "part", WARM_UP + 2
    animation.render(Segment(1, start, start + 2), enlarge, part, done.append)
    assert [each.start for each in read_part(part)] == [start, start + 1]
    assert len(enlarge.pictures) == WARM_UP + 2 and done == [1, 2]
    animation.render(Segment(0, 1, 2), enlarge, part, done.append)
    assert len(enlarge.pictures) == WARM_UP + 4


def test_equal_frames_are_computed_once(convert, enlarge):
    one, other = of_noise(count=2)
    result = convert(as_apng([one, one, other, one, one, other]))
    assert len(enlarge.pictures) == 2
    assert len(read(result).durations) == 6


def test_a_segment_that_fails_leaves_nothing(open_animation, tmp_path):
    def fail(_):
        raise RuntimeError("cancelled")

    animation = open_animation(moving())
    with pytest.raises(RuntimeError, match="cancelled"):
        animation.render(animation.segments()[0], fail, tmp_path / "part", lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_report_raises_ends_the_work(open_animation, enlarge, tmp_path):
    def cancel(done):
        if done == 2:
            raise RuntimeError("cancelled")

    animation = open_animation(moving())
    with pytest.raises(RuntimeError, match="cancelled"):
        animation.render(animation.segments()[0], enlarge, tmp_path / "part", cancel)
    assert not (tmp_path / "part").exists()


def test_only_what_moves_is_painted(convert):
    """Every frame but the first is an image of two pixels, that which left and that which came."""
    blocks = [control(5), image([[BLACK] * 9] * 6)]
    for step in range(1, 5):
        blocks += [image([[BLACK]], (step - 1, 2)), control(5), image([[WHITE]], (step, 2))]
    result = convert(gif(*blocks, size=(6, 9)))
    with Image.open(io.BytesIO(result)) as picture:
        boxes = []
        for number in range(1, picture.n_frames):
            picture.seek(number)
            boxes.append(picture.dispose_extent)
    assert boxes == [(4, 8, 8, 12), (4, 8, 12, 12), (8, 8, 16, 12), (12, 8, 20, 12)]


def test_equal_frames_cost_a_pixel(convert):
    still = of_noise(count=1) * 2
    assert len(convert(as_apng(still))) < len(convert(as_apng(of_noise(count=1)))) + 150


def test_a_gif_shows_all_of_a_pixel_or_nothing(convert, shown):
    faint = noise(6, 9, 4)
    result = shown(convert(as_apng([faint]), format="gif"))
    assert np.array_equal(result[0, ..., 3], np.where(repeat(faint[..., 3]) >= 128, 255, 0))
    smooth = shown(convert(as_apng([faint]), format="webp", quality=100))
    assert np.array_equal(smooth[0, ..., 3], repeat(faint[..., 3]))


def test_what_is_hidden_leaves_no_trace(convert, shown):
    """Where a frame is transparent, nothing of those before it is seen, nor of its own colour."""
    frames = of_noise(count=12)
    expected = np.array([repeat(each[..., 3] // 128 * 255) for each in frames])
    for palette in PALETTES:
        result = shown(convert(as_apng(frames), format="gif", palette=palette))
        assert np.array_equal(result[..., 3], expected)


def test_one_palette_stands_for_all_frames(convert, shown):
    data = as_apng(of_noise(opaque=True, size=(16, 16)))
    colours = {
        palette: len(
            np.unique(shown(convert(data, format="gif", palette=palette)).reshape(-1, 4), axis=0)
        )
        for palette in PALETTES
    }
    assert colours[GLOBAL_PALETTE] <= 255 < colours[FRAME_PALETTE]


def note(written, file):
    """The XMP packet in a file; of GIF, Pillow finds it and does not read it."""
    if written == "gif":
        _, begins, rest = file.partition(b"XMP DataXMP")
        return rest[: rest.index(b"\x01\xff\xfe\xfd")] if begins else None
    with Image.open(io.BytesIO(file)) as picture:
        picture.load()
        return picture.info.get("xmp")


@pytest.mark.parametrize("written", FORMATS)
def test_the_file_says_that_detail_is_synthetic(convert, written):
    packet = note(written, convert(moving(), format=written))
    assert b"algorithmicallyEnhanced" in packet and packet.endswith(b"?>")
    assert note(written, convert(moving(), format=written, has_note=False)) is None


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 1)])
def test_the_smallest_animations(convert, shown, written, size):
    data = moving(frames=1, size=size)
    assert shown(convert(data, format=written)).shape == (1, 4 * size[0], 4 * size[1], 4)


@pytest.mark.parametrize("written", FORMATS)
def test_pillow_sees_the_same(convert, shown, written):
    """An independent reader, which composites by itself."""
    result = convert(as_apng(of_noise()), format=written, quality=100)
    ours = shown(result)
    with Image.open(io.BytesIO(result)) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            theirs = np.array(picture.convert("RGBA"))
            theirs[theirs[..., 3] == 0] = 0
            assert np.array_equal(theirs, ours[number])


def test_lossy_frames_are_smaller(convert):
    data = as_apng(of_noise(opaque=True, size=(32, 32)))
    sizes = [len(convert(data, format="webp", quality=quality)) for quality in (10, 85, 100)]
    assert sizes == sorted(sizes)


def test_a_thousand_frames(tmp_path):
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


def test_frames_that_would_not_fit_are_refused(open_animation):
    data = gif(image([[RED]]), size=(1, 5000))
    assert open_animation(data).width == 5000
    with pytest.raises(ImageTooLarge, match="WebP must be at most 16383 pixels"):
        open_animation(data, format="webp")


def test_other_files_are_refused(open_animation, encode):
    with pytest.raises(UnsupportedImage, match="must be a GIF, an animated PNG"):
        open_animation(encode(noise(4, 4)))
