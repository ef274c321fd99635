import pytest

from benchmarks.plan import Repetitions
from benchmarks.timing import percentile, repeat


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(percent, expected):
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_of_few_values_the_95th_percentile_is_the_largest():
    assert percentile([3.0, 1.0, 2.0], 95) == 3.0


def test_the_first_call_does_not_count():
    calls = iter(range(100))
    assert repeat(lambda: next(calls), Repetitions(seconds=0, least=3, most=5)) == [1, 2, 3]


def test_no_more_calls_are_made_than_allowed():
    calls = iter(range(100))
    assert len(repeat(lambda: next(calls), Repetitions(seconds=60, least=1, most=5))) == 5
