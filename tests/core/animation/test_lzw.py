import numpy as np
import pytest

from core.animation.gif_reader import decode_indices, encode_indices


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 41)])
def test_indices_come_back(bits, size):
    indices = np.random.default_rng(bits).integers(0, 2**bits, size, np.uint8)
    encoded = encode_indices(indices, bits)
    assert encoded[0] == max(bits, 2) and encoded.endswith(b"\0")
    decoded, there = decode_indices(encoded[1:-1], *size, bits=encoded[0], is_interlaced=False)
    assert there is None
    assert np.array_equal(decoded, indices)


def test_it_is_known_which_are_missing():
    indices = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    encoded = encode_indices(indices, 8)
    half = encoded[1 : 1 + 4 * 256]
    decoded, there = decode_indices(half, 40, 50, bits=8, is_interlaced=False)
    assert 0.3 < there.mean() < 0.7
    assert np.array_equal(decoded[there], indices[there])
