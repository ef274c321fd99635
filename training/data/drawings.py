"""Drawings to train on: generated pages of text, and shapes with lettering.

Photographs contain few letters, outlines and evenly coloured surfaces, so a network trained
only on photographs adds grain to them. Drawings need no licence and no download.
"""

from collections.abc import Sequence
from string import ascii_letters, ascii_lowercase, digits, punctuation
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

SIDE_PX = 512  # width and height of a drawing
DOTS_PER_INCH = 72  # so that a point, Matplotlib's unit of line widths and fonts, is a pixel
FAMILIES = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral")
"""Font families, all of them included in Matplotlib."""

LETTER_PX = (9, 48)  # font size, HR px
LINE_PX = (0.6, 6)  # line width of outlines, HR px
NARROWEST = 0.4  # least width of a letter relative to its height: lines reach the edge
LEADING = 1.25  # distance of lines of text, relative to the font size
PAGE_SHARE = 0.5  # share of drawings that are pages of text; the others show shapes
MARGIN = 0.02  # of a page, relative to its side


def draw_pictures(count: int, seed: int) -> list[np.ndarray]:
    """Return pictures of (512, 512, 3) uint8 sRGB; the seed determines them."""
    return [draw_picture(np.random.default_rng((seed, index))) for index in range(count)]


def draw_picture(rng: np.random.Generator) -> np.ndarray:
    """Return one picture, (512, 512, 3) uint8 sRGB; the state of `rng` determines it."""
    inches = SIDE_PX / DOTS_PER_INCH
    figure = Figure(figsize=(inches, inches), dpi=DOTS_PER_INCH, facecolor=draw_colour(rng))
    draw = draw_page if rng.random() < PAGE_SHARE else draw_scene
    draw(figure, rng)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_page(figure: Figure, rng: np.random.Generator) -> None:
    """Draw lines of text from top to bottom, each paragraph in another font."""
    top = 1 - MARGIN
    while top > MARGIN:
        font, colour = draw_font(rng), draw_ink(figure, rng)
        for _ in range(rng.integers(1, 7)):
            words = draw_words(rng, round(SIDE_PX / NARROWEST / font["fontsize"]))
            figure.text(MARGIN, top, words, color=colour, va="top", **font)
            top -= LEADING * font["fontsize"] / SIDE_PX


def draw_scene(figure: Figure, rng: np.random.Generator) -> None:
    """Draw overlapping shapes, with or without outlines, and lettering."""
    for _ in range(rng.integers(10, 40)):
        shape = choose(rng, (draw_polygon, draw_ellipse, draw_rectangle, draw_curve, draw_stripes))
        shape(figure, rng)
    for _ in range(rng.integers(2, 12)):
        x, y = rng.random(2)
        angle = rng.uniform(-90, 90) if rng.random() < 0.3 else 0
        words, ink = draw_words(rng, rng.integers(4, 30)), draw_ink(figure, rng)
        figure.text(x, y, words, color=ink, rotation=angle, **draw_font(rng))


def draw_polygon(figure: Figure, rng: np.random.Generator) -> None:
    """Draw a polygon of three to six corners."""
    corners = rng.random(2) + rng.normal(0, rng.uniform(0.02, 0.3), (rng.integers(3, 7), 2))
    add(figure, Polygon(corners, **draw_surface(rng)))


def draw_ellipse(figure: Figure, rng: np.random.Generator) -> None:
    """Draw an ellipse at any angle."""
    centre, (width, height) = rng.random(2), rng.uniform(0.02, 0.6, 2)
    angle = rng.uniform(0, 180)
    add(figure, Ellipse(centre, width, height, angle=angle, **draw_surface(rng)))


def draw_rectangle(figure: Figure, rng: np.random.Generator) -> None:
    """Draw an upright rectangle."""
    left, bottom = rng.uniform(-0.1, 1, 2)
    width, height = rng.uniform(0.02, 0.6, 2)
    add(figure, Rectangle((left, bottom), width, height, **draw_surface(rng)))


def draw_curve(figure: Figure, rng: np.random.Generator) -> None:
    """Draw an open line of three cubic arcs, not filled."""
    points = rng.random(2) + np.cumsum(rng.normal(0, 0.1, (10, 2)), axis=0)
    codes = [Path.MOVETO] + [Path.CURVE4] * 9
    add(figure, PathPatch(Path(points, codes), **draw_outline(rng), facecolor="none"))


def draw_stripes(figure: Figure, rng: np.random.Generator) -> None:
    """Draw parallel lines, like hatching or blinds."""
    start, along, gap = rng.random(2), rng.normal(0, 0.2, 2), rng.uniform(3, 16) / SIDE_PX
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * gap
    outline = draw_outline(rng)
    for index in range(rng.integers(4, 20)):
        ends = start + index * across + np.stack([np.zeros(2), along])
        add(figure, PathPatch(Path(ends), **outline))


def add(figure, patch):
    """Add a shape whose coordinates from 0 to 1 span the whole picture."""
    patch.set_transform(figure.transFigure)
    figure.add_artist(patch)


def draw_surface(rng) -> dict:
    """Return the fill of a shape, and its outline if it has one, as arguments of Matplotlib."""
    outline = draw_outline(rng) if rng.random() < 0.6 else {"edgecolor": "none"}
    return {"facecolor": draw_colour(rng)} | outline


def draw_outline(rng) -> dict:
    """Return the colour and width of an outline, as arguments of Matplotlib."""
    colour = "black" if rng.random() < 0.6 else draw_colour(rng)
    return {"edgecolor": colour, "linewidth": log_uniform(rng, LINE_PX)}


def draw_font(rng) -> dict:
    """Return family, size and style of a font, as arguments of Matplotlib."""
    return {
        "fontfamily": choose(rng, FAMILIES),
        "fontsize": log_uniform(rng, LETTER_PX),
        "fontweight": choose(rng, ("normal", "bold")),
        "fontstyle": choose(rng, ("normal", "normal", "italic")),
        "parse_math": False,
    }


def draw_colour(rng) -> tuple[float, ...]:
    """Return unit RGB: any colour or, like paper and ink, one near white or near black."""
    low, high = choose(rng, ((0, 1), (0, 1), (0.85, 1), (0, 0.15)))
    return tuple(rng.uniform(low, high, 3))


def draw_ink(figure, rng) -> tuple[float, ...]:
    """Return a colour that is legible on the background of the picture."""
    background = np.mean(figure.get_facecolor()[:3])
    return tuple(rng.uniform(0, 0.3, 3) if background > 0.5 else rng.uniform(0.7, 1, 3))


def draw_words(rng, letters: int) -> str:
    """Return about `letters` characters: words, with some numbers and punctuation."""
    words: list[str] = []
    while sum(map(len, words)) < letters:
        kind = choose(rng, (*[ascii_lowercase] * 6, ascii_letters, digits, punctuation))
        length = rng.integers(1, 3) if kind is punctuation else rng.integers(2, 10)
        word = "".join(rng.choice(list(kind), length))
        words.append(word.capitalize() if rng.random() < 0.2 else word)
    return " ".join(words)


def choose(rng: np.random.Generator, options: Sequence) -> Any:
    """Return one of the options, all equally likely."""
    return options[rng.integers(len(options))]


def log_uniform(rng, bounds) -> float:
    """Return a number between two bounds, with a uniform distribution of its logarithm."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
