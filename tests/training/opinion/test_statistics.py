from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tests.support.trials import OUTPUTS, SimulatedRaters
from training.opinion.statistics import adjust, compare_scores, compare_wins, fit_strengths

QUALITIES = dict(zip(OUTPUTS, (1.8, 2.9, 3.0, 4.3), strict=True))
RATERS, PICTURES, TRIALS = 26, 24, 500
LEAST, MOST = 0.92, 0.98  # coverage of intervals of 95 %


def simulate(seed, raters=RATERS, pictures=PICTURES, qualities=QUALITIES):
    return SimulatedRaters(qualities, raters, range(pictures), seed)


def test_the_mean_of_complete_scores_is_their_mean():
    scores = simulate(1).scores(OUTPUTS)
    compared = compare_scores(scores, OUTPUTS)
    means = [estimate.value for estimate in compared.estimates.values()]
    np.testing.assert_allclose(means, scores.mean(axis=(0, 1)))
    first = compared.differences[0]
    assert (first.first, first.second) == ("a", "b")
    assert first.estimate.value == pytest.approx(means[0] - means[1])
    assert compared == compare_scores(scores, OUTPUTS)


def test_missing_scores_are_left_out():
    scores = simulate(1, raters=6, pictures=5).scores(OUTPUTS)
    scores[0, :3, 1] = np.nan
    compared = compare_scores(scores, OUTPUTS)
    assert compared.estimates["b"].value == pytest.approx(np.nanmean(scores[..., 1]))
    assert np.isfinite(compared.estimates["b"].low)


def test_an_output_that_a_resample_may_lack_has_no_interval():
    scores = simulate(1, raters=6, pictures=5).scores(OUTPUTS)
    scores[1:, :, 1] = np.nan
    compared = compare_scores(scores, OUTPUTS)
    estimate = compared.estimates["b"]
    assert estimate.value == pytest.approx(np.nanmean(scores[..., 1]))
    assert np.isnan(estimate.low)
    assert np.isfinite(compared.estimates["a"].low)
    unknown = [np.isnan(d.adjusted_p) for d in compared.differences]
    assert unknown == ["b" in (d.first, d.second) for d in compared.differences]


def test_intervals_are_wider_than_those_of_independent_answers():
    scores = simulate(2).scores(OUTPUTS)
    estimate = compare_scores(scores, OUTPUTS).estimates["b"]
    naive = 2 * 1.96 * scores[..., 1].std() / np.sqrt(scores[..., 1].size)
    assert estimate.high - estimate.low > 2 * naive


def test_equal_scores_do_not_differ():
    compared = compare_scores(np.full((5, 6, 2), 3.0), ("a", "b"))
    (difference,) = compared.differences
    assert (difference.p, difference.is_significant) == (1.0, False)


def test_rounding_makes_no_difference_of_nothing_but_ties(monkeypatch):
    monkeypatch.setattr("training.opinion.statistics.RESAMPLES", 50)
    ties = np.broadcast_to(0.5 * (1 - np.eye(5)), (6, 9, 5, 5))
    assert [d.p for d in compare_wins(ties, "abcde").differences] == [1.0] * 10


def test_strengths_are_those_that_drew_the_pairs():
    strengths = np.array([-1.0, 0.2, 0.8])
    odds = np.exp(strengths[:, None] - strengths)
    wins = 1000 * odds / (1 + odds)
    np.testing.assert_allclose(fit_strengths(wins, None), strengths, atol=1e-3)


def test_an_output_that_always_wins_has_a_finite_strength(monkeypatch):
    monkeypatch.setattr("training.opinion.statistics.RESAMPLES", 100)
    wins = np.zeros((5, 6, 3, 3))
    for first, second in combinations(range(3), 2):
        wins[..., first, second] = 1
    compared = compare_wins(wins, ("a", "b", "c"))
    values = [estimate.value for estimate in compared.estimates.values()]
    assert values == sorted(values, reverse=True)
    assert np.isfinite(values).all()


def test_a_correction_by_holm_never_lowers_p():
    p_values = [0.02, 0.001, 0.3, 0.02, 1.0]
    adjusted = adjust(p_values)
    assert adjusted == pytest.approx([0.08, 0.005, 0.6, 0.08, 1.0])


@pytest.mark.thorough
def test_intervals_of_scores_cover_the_truth():
    truth = [SimulatedRaters.true_mos(quality) for quality in QUALITIES.values()]
    pairs = list(combinations(range(len(OUTPUTS)), 2))
    covered = np.zeros(len(truth) + len(pairs))
    for seed in range(TRIALS):
        compared = compare_scores(simulate(seed).scores(OUTPUTS), OUTPUTS, seed)
        estimates = [*compared.estimates.values(), *(d.estimate for d in compared.differences)]
        true = truth + [truth[a] - truth[b] for a, b in pairs]
        covered += [e.low <= value <= e.high for e, value in zip(estimates, true, strict=True)]
    coverage = covered / TRIALS
    assert coverage.min() >= LEAST, coverage
    assert coverage.max() <= MOST, coverage


@pytest.mark.thorough
def test_few_differences_are_found_where_there_are_none():
    equal = dict.fromkeys(OUTPUTS, 3.0)
    false = [
        any(d.is_significant for d in compare_scores(drawn, OUTPUTS, seed).differences)
        for seed in range(TRIALS)
        for drawn in [simulate(seed, qualities=equal).scores(OUTPUTS)]
    ]
    assert stats.binomtest(sum(false), TRIALS, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.thorough
def test_intervals_of_strengths_cover_the_truth(monkeypatch):
    monkeypatch.setattr("training.opinion.statistics.RESAMPLES", 200)  # a fit takes a millisecond
    sums = sum(simulate(10_000 + seed, 100, 100).wins(OUTPUTS).sum((0, 1)) for seed in range(200))
    truth = fit_strengths(sums, None)
    pairs = list(combinations(range(len(OUTPUTS)), 2))
    covered = np.zeros(len(OUTPUTS) + len(pairs))
    for seed in range(TRIALS):
        compared = compare_wins(simulate(seed).wins(OUTPUTS), OUTPUTS, seed)
        estimates = [*compared.estimates.values(), *(d.estimate for d in compared.differences)]
        true = [*truth, *(truth[a] - truth[b] for a, b in pairs)]
        covered += [e.low <= value <= e.high for e, value in zip(estimates, true, strict=True)]
    coverage = covered / TRIALS
    assert coverage.min() >= LEAST, coverage
    assert coverage.max() <= MOST, coverage
