import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont

from training.data.drawings import FAMILIES, SIDE_PX, draw_ink, draw_page, draw_pictures, draw_words
from training.evaluation.metrics import LUMA


@pytest.fixture(scope="module")
def drawings():
    return draw_pictures(4, seed=3)


def test_the_same_seed_draws_the_same(drawings):
    assert [(d.shape, d.dtype) for d in drawings] == [((SIDE_PX, SIDE_PX, 3), np.uint8)] * 4
    for drawing, again in zip(drawings, draw_pictures(2, seed=3), strict=False):
        np.testing.assert_array_equal(drawing, again)
    assert not np.array_equal(drawings[0], draw_pictures(1, seed=4)[0])


def test_surfaces_are_even_and_edges_are_sharp(drawings):
    for drawing in drawings:
        steps = np.abs(np.diff(drawing @ LUMA, axis=1))
        assert (steps == 0).mean() > 0.5
        assert (steps > 30).mean() > 0.005


@pytest.mark.parametrize("family", FAMILIES)
def test_every_font_exists(family):
    assert findfont(family, fallback_to_default=False)


@pytest.mark.parametrize("ground", [(0, 0, 0), (1, 1, 1), (0.2, 0.9, 0.3), (0.9, 0.1, 0.2)])
def test_letters_contrast_with_the_background(ground):
    rng, figure = np.random.default_rng(0), Figure(facecolor=ground)
    for _ in range(20):
        assert abs(np.mean(draw_ink(figure, rng)) - np.mean(ground)) > 0.15


def test_a_page_of_text_fills_the_whole_picture():
    inches = SIDE_PX / 72
    figure = Figure(figsize=(inches, inches), dpi=72, facecolor="white")
    draw_page(figure, np.random.default_rng(1))
    ends = [text.get_window_extent().x1 for text in figure.texts]
    assert min(ends) > 0.8 * SIDE_PX
    assert min(text.get_position()[1] for text in figure.texts) < 0.2


def test_words_have_the_requested_number_of_letters():
    text = draw_words(np.random.default_rng(0), 100)
    assert 100 <= len(text.replace(" ", "")) < 110
    assert len(text.split()) > 10
