"""Estimates with intervals for ratings that raters and pictures are drawn for.

Another trial would have other raters and other pictures, so both are resampled. Resampling is
SciPy's, strengths are choix's.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import choix
import numpy as np
from scipy import stats

LEVEL = 0.95  # confidence level of every interval
FEWEST = 5  # raters, or pictures, with which there are intervals
RESAMPLES = 2000
BATCH = 200  # resamples that are computed at a time
HALF_A_WIN = 0.5
ROUNDING = 1e-9  # smaller differences and errors of figures are those of floating-point numbers
STRENGTH_TOLERANCE = 1e-4  # of the sum of the changes of strengths, natural logarithms


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: the figure.
        low: lower limit; NaN if there are too few answers for an interval.
        high: upper limit; likewise.
        error: standard error; likewise.
    """

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Difference:
    """How much higher one output is rated than another.

    Attributes:
        first: label of an output.
        second: label of the other one.
        estimate: the difference, first minus second.
        p: two-sided p-value of no difference.
        adjusted_p: the same, corrected for all comparisons of the trial.
    """

    first: str
    second: str
    estimate: Estimate
    p: float
    adjusted_p: float

    @property
    def is_significant(self) -> bool:
        """Return whether the outputs differ at the level of the intervals."""
        return self.adjusted_p < 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """The figures of all outputs by label, and of all pairs of outputs."""

    estimates: dict[str, Estimate]
    differences: list[Difference]


def compare_scores(scores: np.ndarray, labels: Sequence[str], seed: int = 0) -> Comparison:
    """Return the mean opinion score of every output, and their differences.

    Args:
        scores: (raters, pictures, outputs), from 1 to 5; NaN where there is no answer.
        labels: of the outputs.
        seed: of the resampling.

    Source: ITU-T P.800.1 (mean opinion score).
    """
    is_known = ~np.isnan(scores)
    cells = np.concatenate([np.where(is_known, scores, 0.0), is_known], axis=-1)
    count = len(labels)

    def mean(sums):
        with np.errstate(invalid="ignore"):  # 0 / 0: a resample without this output
            return sums[..., :count] / sums[..., count:]

    return compare(cells, mean, labels, seed)


def compare_wins(wins: np.ndarray, labels: Sequence[str], seed: int = 0) -> Comparison:
    """Return the strength of every output in the model of Bradley and Terry.

    The odds that an output is preferred to another one are the exponential of the difference of
    their strengths. The mean of all strengths is 0. A tie is half a win for both. Half a win is
    added for both outputs of every pair that was compared, so that strengths stay finite.

    Args:
        wins: (raters, pictures, outputs, outputs), the number of times that the first output was
            preferred to the second, ties as 0.5.
        labels: of the outputs.
        seed: of the resampling.

    Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs", Biometrika 39;
    Maystre and Grossglauser 2015, "Fast and accurate inference of Plackett-Luce models" (the
    algorithm, by choix); Haldane 1956, "The estimation and significance of the logarithm of a
    ratio of frequencies" (half a win).
    """
    count = len(labels)
    total = wins.sum(axis=(0, 1))
    added = HALF_A_WIN * (total + total.T > 0)
    start = fit_strengths(total + added, None)

    def fit(sums):
        matrices = sums.reshape(-1, count, count) + added
        fitted = [fit_strengths(matrix, start) for matrix in matrices]
        return np.reshape(fitted, (*sums.shape[:-1], count))

    return compare(wins.reshape(*wins.shape[:2], -1), fit, labels, seed)


def fit_strengths(wins: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """Return the strengths of (outputs, outputs) numbers of wins; their mean is 0."""
    strengths = choix.ilsr_pairwise_dense(wins, initial_params=start, tol=STRENGTH_TOLERANCE)
    return strengths - strengths.mean()


def compare(
    cells: np.ndarray,
    figure: Callable[[np.ndarray], np.ndarray],
    labels: Sequence[str],
    seed: int,
) -> Comparison:
    """Return a figure of every output and the differences of all pairs, with intervals.

    Raters and pictures are resampled independently. The percentile interval is expanded and
    standard errors grow by sqrt(n / (n - 1)), where n is the smaller of both numbers: resampled
    figures vary that much less than figures of new samples.

    Args:
        cells: (raters, pictures, K); `figure` needs only their sums.
        figure: (..., K) sums to (..., outputs) figures.
        labels: of the outputs.
        seed: of the resampling.

    Source: Owen 2007, "The pigeonhole bootstrap", arXiv:0712.1111 (resampling of both); Hesterberg
    2015, "What teachers should know about the bootstrap", arXiv:1411.5279 (narrowness); `adjust`.
    """
    raters, pictures = cells.shape[:2]
    pairs = list(combinations(range(len(labels)), 2))
    first, second = np.array(pairs).T

    def statistic(rater_indexes, picture_indexes, axis=-1):  # noqa: ARG001 (SciPy passes it)
        """Return (figures and differences, ...) of resampled indexes, (..., n)."""
        sums = weigh(cells, count(rater_indexes, raters), count(picture_indexes, pictures))
        figures = figure(sums)
        both = [figures, figures[..., first] - figures[..., second]]
        return np.moveaxis(np.concatenate(both, axis=-1), -1, 0)

    estimates = resample(statistic, raters, pictures, seed)
    differences = estimates[len(labels) :]
    p_values = [p_of(difference) for difference in differences]
    return Comparison(
        dict(zip(labels, estimates, strict=False)),
        [
            Difference(labels[a], labels[b], difference, p, adjusted)
            for (a, b), difference, p, adjusted in zip(
                pairs, differences, p_values, adjust(p_values), strict=True
            )
        ],
    )


def count(indexes: np.ndarray, size: int) -> np.ndarray:
    """Return how often each of `size` indexes occurs: (..., n) to (..., size)."""
    return (indexes[..., None] == np.arange(size)).sum(axis=-2).astype(float)


def weigh(cells: np.ndarray, raters: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Return sums of cells, (..., K), weighted by counts of raters and of pictures."""
    return np.einsum("...p,...pk->...k", pictures, np.tensordot(raters, cells, axes=(-1, 0)))


def resample(statistic, raters: int, pictures: int, seed: int) -> list[Estimate]:
    """Return estimates for each value of a statistic of indexes.

    There are no intervals for fewer than `FEWEST` raters or pictures, nor where a resample may
    lack an output.
    """
    indexes = (np.arange(raters), np.arange(pictures))
    values = statistic(*indexes)
    least = min(raters, pictures)
    if least < FEWEST:
        return [Estimate(float(value), *[float("nan")] * 3) for value in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        resampled = stats.bootstrap(
            indexes,
            statistic,
            n_resamples=RESAMPLES,
            batch=BATCH,
            vectorized=True,
            method="percentile",
            confidence_level=expand(least),
            rng=np.random.default_rng(seed),
        )
    errors = resampled.standard_error * np.sqrt(least / (least - 1))
    rows = zip(values, *resampled.confidence_interval, errors, strict=True)
    return [Estimate(*map(float, row)) for row in rows]


def expand(size: int) -> float:
    """Return the level of a percentile interval whose coverage is `LEVEL` for `size` samples.

    Source: Hesterberg 2015, arXiv:1411.5279 (narrowness).
    """
    quantile = np.sqrt(size / (size - 1)) * stats.norm.ppf((1 + LEVEL) / 2)
    return float(2 * stats.norm.cdf(quantile) - 1)


def p_of(difference: Estimate) -> float:
    """Return the two-sided p-value of a difference of 0, from its standard error.

    Source: Wald's test with the standard error of the bootstrap; Efron and Tibshirani 1993, "An
    introduction to the bootstrap".
    """
    if difference.error < ROUNDING:
        return float(abs(difference.value) < ROUNDING)
    return float(2 * stats.norm.sf(abs(difference.value) / difference.error))


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number; NaN stays NaN.

    >>> [round(p, 3) for p in adjust([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    return np.minimum(adjusted, 1.0).tolist()
