import tracemalloc

import pytest

from core.images import decode_image, read_header
from core.media.render import upscale_to_stream
from core.model.upscaler import Upscaler
from core.options import OutputOptions
from core.picture import Header
from core.runtime.memory_plan import MemoryPlan
from tests.support.stand_ins import lighten, make_card, make_restorer, noise, repeat


@pytest.fixture
def upscaler():
    return Upscaler(make_card(), repeat, window=64)


def plan(upscaler, header, name="png", *, is_restored=False, **size):
    grid = upscaler.grid(OutputOptions(**size), header.height, header.width)
    result = upscaler.plan_result(grid, is_restored=is_restored)
    return MemoryPlan(header, result, name, upscaler.restoring_bytes(result))


def assert_takes_what_is_planned(upscaler, path, options, **planned_as):
    with path.open("rb") as file:
        planned = plan(upscaler, read_header(file), options.format, **planned_as)
        tracemalloc.start()
        parts = upscale_to_stream(upscaler, decode_image(file), options)
        held = list(parts) if planned.is_whole else sum(len(part) for part in parts)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held
    assert planned.memory_bytes / 12 < peak < planned.memory_bytes


@pytest.mark.parametrize(
    ("size", "channels", "name"),
    [
        ((300, 400), 3, "png"),
        ((300, 400), 4, "png"),
        ((40, 2000), 3, "png"),
        ((900, 700), 3, "png"),
        ((300, 400), 3, "jpeg"),
        ((300, 400), 4, "webp"),
    ],
)
def test_no_picture_takes_more_memory_than_its_plan(
    upscaler, encode, size, channels, name, tmp_path
):
    path = tmp_path / "lr.png"
    path.write_bytes(encode(noise(*size, channels)))
    assert_takes_what_is_planned(upscaler, path, OutputOptions(name, quality=50))


@pytest.mark.parametrize(
    ("size", "wanted", "channels", "name", "strength"),
    [
        ((900, 300), {"scale": 1}, 3, "png", 1.0),
        ((300, 600), {"scale": 1}, 4, "jpeg", 0.0),
        ((700, 300), {"scale": 2}, 3, "png", 0.0),
        ((300, 400), {"scale": 1.3}, 4, "png", 1.0),
        ((90, 200), {"scale": 7.5}, 4, "png", 0.0),
        ((60, 200), {"scale": 16}, 3, "jpeg", 1.0),
        ((400, 300), {"width": 500, "height": 900, "fit": "cover"}, 3, "png", 0.0),
    ],
)
def test_no_size_takes_more_memory_than_its_plan(
    encode, size, wanted, name, channels, strength, tmp_path
):
    restorer = make_restorer(lighten, window=128)
    upscaler = Upscaler(make_card(), repeat, window=64, restorer=restorer)
    path = tmp_path / "lr.png"
    path.write_bytes(encode(noise(*size, channels)))
    options = OutputOptions(name, quality=50, restore=strength, **wanted)
    assert_takes_what_is_planned(upscaler, path, options, is_restored=strength > 0, **wanted)


def test_half_the_factor_needs_no_more_memory():
    upscaler = Upscaler(make_card(), repeat, window=128)
    header = Header(2000, 2000, 3)
    assert plan(upscaler, header, scale=2).memory_bytes <= plan(upscaler, header).memory_bytes


def test_a_second_pass_costs_strips_and_not_a_picture(upscaler):
    planned = plan(upscaler, Header(2000, 2000, 3), scale=8)
    assert planned.memory_bytes < planned.sr_bytes / 3


def test_a_wide_picture_costs_more_than_a_high_one(upscaler):
    wide, high = (plan(upscaler, Header(*size, 3)) for size in ((300, 4000), (4000, 300)))
    assert wide.memory_bytes > high.memory_bytes


def test_sixteen_bits_cost_more_than_eight(upscaler):
    narrow, wide = (plan(upscaler, Header(900, 900, 3, bits)) for bits in (8, 16))
    assert wide.memory_bytes > 1.5 * narrow.memory_bytes


@pytest.mark.parametrize(
    ("size", "name", "is_whole"),
    [
        ((500, 500), "png", True),
        ((600, 600), "png", False),
        ((40, 15000), "png", True),
        ((600, 600), "jpeg", True),
    ],
)
def test_only_large_png_files_are_sent_while_they_are_computed(upscaler, size, name, is_whole):
    assert plan(upscaler, Header(*size, 3), name).is_whole is is_whole


@pytest.mark.parametrize("size", [(900, 300), (300, 900), (40, 40)])
def test_no_restored_picture_takes_more_memory_than_its_plan(encode, size, tmp_path):
    restorer = make_restorer(lighten, window=128)
    upscaler = Upscaler(make_card(), repeat, window=64, restorer=restorer)
    path = tmp_path / "lr.png"
    path.write_bytes(encode(noise(*size)))
    with path.open("rb") as file:
        header = read_header(file)
        planned = plan(upscaler, header, is_restored=True)
        decoded = header._replace(decoder_bytes=0)
        alone, restored = (plan(upscaler, decoded, is_restored=r) for r in (False, True))
        assert restored.memory_bytes == alone.memory_bytes + restored.restoring_bytes
        tracemalloc.start()
        parts = upscale_to_stream(upscaler, decode_image(file), OutputOptions(restore=1.0))
        held = list(parts) if planned.is_whole else sum(len(part) for part in parts)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held
    assert peak < planned.memory_bytes
