"""Pictures that the program draws itself: pages of text, and shapes with lettering on them.

Photographs hold hardly any letters, outlines and evenly coloured surfaces, so what is
trained on nothing else puts grain on them. These cost no licence, and no download.
"""

from collections.abc import Sequence
from string import ascii_letters, ascii_lowercase, digits, punctuation
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

SIDE_PX = 512
DOTS_PER_INCH = 72  # so that a point, Matplotlib's unit of lines and letters, is a pixel
FAMILIES = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral")  # Matplotlib's own
LETTER_PX = (9, 48)  # height of a line of text without the space between lines, HR px
LINE_PX = (0.6, 6)  # width of outlines, HR px
NARROWEST = 0.4  # width of a letter on average, to its height: lines of text go to the edge
LEADING = 1.25  # distance of lines of text, to their height
PAGE_SHARE = 0.5  # of the pictures: text in lines; the others: shapes and some text
MARGIN = 0.02  # of a page, to its side


def draw_pictures(count: int, seed: int) -> list[np.ndarray]:
    """Pictures of (512, 512, 3) uint8 sRGB, the same whenever the seed is."""
    return [draw_picture(np.random.default_rng((seed, index))) for index in range(count)]


def draw_picture(rng: np.random.Generator) -> np.ndarray:
    """One picture, (512, 512, 3) uint8 sRGB, a function of the generator's state."""
    inches = SIDE_PX / DOTS_PER_INCH
    figure = Figure(figsize=(inches, inches), dpi=DOTS_PER_INCH, facecolor=draw_colour(rng))
    draw = draw_page if rng.random() < PAGE_SHARE else draw_scene
    draw(figure, rng)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_page(figure: Figure, rng: np.random.Generator) -> None:
    """Lines of text from top to bottom, each paragraph in a font of its own."""
    top = 1 - MARGIN
    while top > MARGIN:
        font, colour = draw_font(rng), draw_ink(figure, rng)
        for _ in range(rng.integers(1, 7)):
            words = draw_words(rng, round(SIDE_PX / NARROWEST / font["fontsize"]))
            figure.text(MARGIN, top, words, color=colour, va="top", **font)
            top -= LEADING * font["fontsize"] / SIDE_PX


def draw_scene(figure: Figure, rng: np.random.Generator) -> None:
    """Shapes that cover one another, each with or without an outline, and lettering."""
    for _ in range(rng.integers(10, 40)):
        shape = choose(rng, (draw_polygon, draw_ellipse, draw_rectangle, draw_curve, draw_stripes))
        shape(figure, rng)
    for _ in range(rng.integers(2, 12)):
        x, y = rng.random(2)
        angle = rng.uniform(-90, 90) if rng.random() < 0.3 else 0
        words, ink = draw_words(rng, rng.integers(4, 30)), draw_ink(figure, rng)
        figure.text(x, y, words, color=ink, rotation=angle, **draw_font(rng))


def draw_polygon(figure: Figure, rng: np.random.Generator) -> None:
    corners = rng.random(2) + rng.normal(0, rng.uniform(0.02, 0.3), (rng.integers(3, 7), 2))
    add(figure, Polygon(corners, **draw_surface(rng)))


def draw_ellipse(figure: Figure, rng: np.random.Generator) -> None:
    centre, (width, height) = rng.random(2), rng.uniform(0.02, 0.6, 2)
    angle = rng.uniform(0, 180)
    add(figure, Ellipse(centre, width, height, angle=angle, **draw_surface(rng)))


def draw_rectangle(figure: Figure, rng: np.random.Generator) -> None:
    left, bottom = rng.uniform(-0.1, 1, 2)
    width, height = rng.uniform(0.02, 0.6, 2)
    add(figure, Rectangle((left, bottom), width, height, **draw_surface(rng)))


def draw_curve(figure: Figure, rng: np.random.Generator) -> None:
    """A line of a few cubic arcs, open and not filled."""
    points = rng.random(2) + np.cumsum(rng.normal(0, 0.1, (10, 2)), axis=0)
    codes = [Path.MOVETO] + [Path.CURVE4] * 9
    add(figure, PathPatch(Path(points, codes), **draw_outline(rng), facecolor="none"))


def draw_stripes(figure: Figure, rng: np.random.Generator) -> None:
    """Parallel lines, as of a hatching or of blinds."""
    start, along, gap = rng.random(2), rng.normal(0, 0.2, 2), rng.uniform(3, 16) / SIDE_PX
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * gap
    outline = draw_outline(rng)
    for index in range(rng.integers(4, 20)):
        ends = start + index * across + np.stack([np.zeros(2), along])
        add(figure, PathPatch(Path(ends), **outline))


def add(figure, patch):
    """Put a shape in coordinates from 0 to 1 onto the whole picture."""
    patch.set_transform(figure.transFigure)
    figure.add_artist(patch)


def draw_surface(rng) -> dict:
    """How a shape is filled, and its outline, if it has one."""
    outline = draw_outline(rng) if rng.random() < 0.6 else {"edgecolor": "none"}
    return {"facecolor": draw_colour(rng)} | outline


def draw_outline(rng) -> dict:
    colour = "black" if rng.random() < 0.6 else draw_colour(rng)
    return {"edgecolor": colour, "linewidth": geometric(rng, LINE_PX)}


def draw_font(rng) -> dict:
    return {
        "fontfamily": choose(rng, FAMILIES),
        "fontsize": geometric(rng, LETTER_PX),
        "fontweight": choose(rng, ("normal", "bold")),
        "fontstyle": choose(rng, ("normal", "normal", "italic")),
        "parse_math": False,
    }


def draw_colour(rng) -> tuple[float, ...]:
    """Unit RGB: any, or, as of paper and ink, near white or near black."""
    low, high = choose(rng, ((0, 1), (0, 1), (0.85, 1), (0, 0.15)))
    return tuple(rng.uniform(low, high, 3))


def draw_ink(figure, rng) -> tuple[float, ...]:
    """A colour in which letters can be read on the ground of the picture."""
    ground = np.mean(figure.get_facecolor()[:3])
    return tuple(rng.uniform(0, 0.3, 3) if ground > 0.5 else rng.uniform(0.7, 1, 3))


def draw_words(rng, letters: int) -> str:
    """So many letters, in words with here and there a number or a mark between them."""
    words: list[str] = []
    while sum(map(len, words)) < letters:
        kind = choose(rng, (*[ascii_lowercase] * 6, ascii_letters, digits, punctuation))
        length = rng.integers(1, 3) if kind is punctuation else rng.integers(2, 10)
        word = "".join(rng.choice(list(kind), length))
        words.append(word.capitalize() if rng.random() < 0.2 else word)
    return " ".join(words)


def choose(rng: np.random.Generator, options: Sequence) -> Any:
    return options[rng.integers(len(options))]


def geometric(rng, bounds) -> float:
    """A number between two bounds, its logarithm anywhere between theirs."""
    return float(np.exp(rng.uniform(*np.log(bounds))))
