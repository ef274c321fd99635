import tracemalloc

import pytest

from core.costs import memory_cost
from core.images import decode_image, read_header
from core.picture import Header
from core.upscaler import Upscaler
from tests.stand_ins import make_card, noise, repeat


@pytest.mark.parametrize(("size", "channels"), [((300, 400), 3), ((300, 400), 4), ((40, 2000), 3)])
def test_no_picture_takes_more_than_its_header_announced(encode, size, channels, tmp_path):
    upscaler = Upscaler(make_card(), repeat, window=64)
    path = tmp_path / "lr.png"
    path.write_bytes(encode(noise(*size, channels)))
    with path.open("rb") as file:
        header = read_header(file)
        cost = memory_cost(header, upscaler.plan(header.height, header.width), upscaler.scale)
        tracemalloc.start()
        for _ in upscaler.encode(decode_image(file)):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert cost / 8 < peak < cost


def test_a_wide_picture_costs_more_than_a_high_one():
    upscaler = Upscaler(make_card(), repeat, window=64)

    def cost(height, width):
        header = Header(height, width, 3)
        return memory_cost(header, upscaler.plan(height, width), upscaler.scale)

    assert cost(100, 4000) > cost(4000, 100)
