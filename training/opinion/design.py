"""The questions of each rater and their order.

A condition is what is asked about a picture: the score of one version, or which of two versions
is better. A rater answers every condition of every picture in as many rounds as there are
conditions. Each round shows every picture once, so that the versions of one picture never meet.
A Williams square decides which condition of a picture comes in which round. Anchors and hidden
repeats are inserted at random places.

Source: Williams 1949, "Experimental designs balanced for the estimation of residual effects of
treatments", Aust. J. Sci. Res. A 2 (the square); ITU-R BT.500 (random order, anchors).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from training.opinion.trial import ANCHORS, Design, Question

REPEATED_SHARE = 1 / 3
"""Only questions of this first part of an order are repeated."""

REPEAT_FROM = 2 / 3
"""A repeat follows after this part of an order: the first time should be forgotten by then."""

Asked = tuple[int, tuple[str, ...]]
"""Index of a picture, and the labels of the versions that are shown."""


@dataclass(frozen=True)
class Plan:
    """What is asked of every rater.

    Attributes:
        design: what a rater is asked.
        identifiers: of each picture, the identifier of a version by its label.
        outputs: labels of the compared outputs.
        anchored: indexes of the pictures whose anchors are shown, too.
        repeats: number of questions that are asked twice.
    """

    design: Design
    identifiers: Sequence[Mapping[str, str]]
    outputs: Sequence[str]
    anchored: Sequence[int]
    repeats: int

    @property
    def conditions(self) -> list[tuple[str, ...]]:
        """Return the labels of each condition."""
        if self.design is Design.ABSOLUTE:
            return [(label,) for label in self.outputs]
        return list(combinations(self.outputs, 2))

    @property
    def anchor_conditions(self) -> list[tuple[str, ...]]:
        """Return the labels of the anchors' conditions."""
        return [(label,) for label in ANCHORS] if self.design is Design.ABSOLUTE else [ANCHORS]


def williams_square(size: int) -> np.ndarray:
    """Return orders in which each condition follows each other one equally often.

    Returns:
        (rows, size) int; `size` rows for an even size, twice as many for an odd one.

    >>> williams_square(4).tolist()
    [[0, 3, 1, 2], [1, 0, 2, 3], [2, 1, 3, 0], [3, 2, 0, 1]]

    Source: Williams 1949.
    """
    first = [(place + 1) // 2 * (-1) ** place for place in range(size)]
    square = (np.array(first) + np.arange(size)[:, None]) % size
    return square if size % 2 == 0 else np.concatenate([square, square[:, ::-1]])


def draw_orders(plan: Plan, raters: int, rng: np.random.Generator) -> list[list[Question]]:
    """Return the questions of each rater, in their order."""
    return [draw_order(plan, rater, rng) for rater in range(raters)]


def draw_order(plan: Plan, rater: int, rng: np.random.Generator) -> list[Question]:
    """Return the questions of one rater, in their order."""
    asked = order_rounds(plan, rater, rng)
    for place in rng.choice(int(len(asked) * REPEATED_SHARE), plan.repeats, replace=False):
        picture, labels = asked[place]
        insert(asked, (picture, labels[::-1]), int(len(asked) * REPEAT_FROM), rng)
    for picture in plan.anchored:
        for labels in plan.anchor_conditions:
            insert(asked, (picture, labels if rng.random() < 0.5 else labels[::-1]), 0, rng)
    return [
        tuple(plan.identifiers[picture][label] for label in labels) for picture, labels in asked
    ]


def order_rounds(plan: Plan, rater: int, rng: np.random.Generator) -> list[Asked]:
    """Return every condition of every picture, no picture twice in a row.

    Half of the raters see a pair the other way round.
    """
    conditions = plan.conditions
    square = williams_square(len(conditions))
    asked: list[Asked] = []
    for turn in range(len(conditions)):
        for picture in shuffle_pictures(plan, asked[-1][0] if asked else None, rng):
            condition = square[(rater + picture) % len(square), turn]
            labels = conditions[condition]
            is_swapped = (rater // len(square) + rater + picture + condition) % 2
            asked.append((picture, labels[::-1] if is_swapped else labels))
    return asked


def shuffle_pictures(plan, last, rng):
    """Return all indexes of pictures in random order; the first is not the last one shown."""
    order = rng.permutation(len(plan.identifiers)).tolist()
    if order[0] == last:
        order.append(order.pop(0))
    return order


def insert(asked: list[Asked], question: Asked, start: int, rng: np.random.Generator) -> None:
    """Insert a question at a random place from `start` on, not beside the same picture."""
    places = [
        place
        for place in range(start, len(asked) + 1)
        if question[0] not in [picture for picture, _ in asked[max(place - 1, 0) : place + 1]]
    ]
    asked.insert(int(rng.choice(places)), question)
