from collections import Counter

import numpy as np
import pytest

from tests.support.trials import OUTPUTS
from training.opinion.design import Plan, draw_orders, order_rounds, williams_square
from training.opinion.trial import ANCHORS, HR, Design

PICTURES, RATERS, ANCHORED, REPEATS = 8, 12, (1, 6), 4
IDENTIFIERS = [
    {label: f"{picture} {label}" for label in (*OUTPUTS, *ANCHORS)} for picture in range(PICTURES)
]


def make_plan(design):
    return Plan(design, IDENTIFIERS, OUTPUTS, ANCHORED, REPEATS)


def picture_of(question):
    return int(question[0].split()[0])


@pytest.fixture(params=Design)
def plan(request):
    return make_plan(request.param)


@pytest.fixture
def orders(plan):
    return draw_orders(plan, RATERS, np.random.default_rng(3))


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_every_condition_follows_each_other_one_equally_often(size):
    square = williams_square(size).tolist()
    following = Counter((a, b) for row in square for a, b in zip(row, row[1:], strict=False))
    assert len(following) == size * (size - 1)
    assert len(set(following.values())) == 1
    assert all(
        sorted(column) == sorted([*range(size)] * (len(square) // size))
        for column in zip(*square, strict=True)
    )


def test_every_rater_is_asked_the_same_in_another_order(plan, orders):
    contents = [Counter(frozenset(q) for q in order if q != q[:0]) for order in orders]
    once = {question for content in contents for question in content}
    assert all(set(content) == once for content in contents)
    per_picture = len(plan.conditions)
    anchors = len(plan.anchor_conditions) * len(ANCHORED)
    assert len(once) == per_picture * PICTURES + anchors
    assert {len(order) for order in orders} == {len(once) + REPEATS}
    assert len(set(map(tuple, orders))) == RATERS


def test_no_picture_follows_itself(orders):
    for order in orders:
        pictures = [picture_of(question) for question in order]
        assert all(a != b for a, b in zip(pictures, pictures[1:], strict=False))


def test_repeats_come_late_and_pairs_the_other_way_round(orders):
    for order in orders:
        places = {}
        for place, question in enumerate(order):
            places.setdefault(frozenset(question), []).append(place)
        repeated = [both for both in places.values() if len(both) > 1]
        assert len(repeated) == REPEATS
        assert all(len(order) / 4 < later - earlier for earlier, later in repeated)
        assert all(order[later] == order[earlier][::-1] for earlier, later in repeated)


def test_each_output_is_in_each_round_equally_often():
    plan = make_plan(Design.ABSOLUTE)
    asked = order_rounds(plan, 5, np.random.default_rng(1))
    for start in range(0, len(asked), PICTURES):
        labels = Counter(labels for _, labels in asked[start : start + PICTURES])
        assert set(labels.values()) == {PICTURES // len(OUTPUTS)}


def test_both_outputs_of_a_pair_are_first_equally_often():
    plan = make_plan(Design.PAIRS)
    rounds = [order_rounds(plan, rater, np.random.default_rng(1)) for rater in range(RATERS)]
    firsts = Counter(asked for order in rounds for asked in order)
    assert set(firsts.values()) == {RATERS // 2}


def test_anchors_are_not_always_shown_in_one_order():
    orders = draw_orders(make_plan(Design.PAIRS), RATERS, np.random.default_rng(3))
    firsts = [
        q[0].endswith(HR) for order in orders for q in order if q[0].split(" ", 1)[1] in ANCHORS
    ]
    assert 0.2 < np.mean(firsts) < 0.8
