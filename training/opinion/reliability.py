"""Whether a rater answered reliably: repeats, anchors, and agreement with the others.

A rater whose answers fail a check is left out of the figures, and listed with the reason. The rule
is fixed here, before any answer is known. Agreement with others is reported but is no reason to
leave a rater out: an unusual taste is no mistake.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from training.opinion.answers import Answer
from training.opinion.trial import ANCHORS, HR, SAME, Design, Key, Question, Trial, Version

MOST_REPEAT_DIFFERENCE = 1.0  # levels, mean over the repeats of a rater
LEAST_ANCHOR_GAP = 2.0  # levels, mean of HR minus mean of the nearest neighbour
MOST_CONTRADICTIONS = 1 / 2  # share of repeated pairs whose other picture is preferred
LEAST_ANCHORS_RIGHT = 3 / 4  # share of pairs of anchors in which HR is preferred
LEAST_CHECKS = 2  # repeats, or anchors, that are needed to judge a rater

RULES = {
    Design.ABSOLUTE: (
        "A rater is left out if answers to repeated questions differ by more than "
        f"{MOST_REPEAT_DIFFERENCE:g} level on average, or if HR is rated less than "
        f"{LEAST_ANCHOR_GAP:g} levels above the nearest neighbour on average."
    ),
    Design.PAIRS: (
        "A rater is left out if more than half of the repeated pairs are answered with the other "
        "picture, or if HR is preferred to the nearest neighbour in less than three of four pairs."
    ),
}


@dataclass(frozen=True)
class Judgement:
    """An answer as it counts: for versions instead of positions.

    Attributes:
        rater: number of the rater.
        versions: what was shown; of a pair, in an order that does not depend on the positions.
        value: the score; of a pair, 1 if the first of `versions` was preferred, 0 if the second
            was, and 0.5 if both were the same.
    """

    rater: int
    versions: tuple[Version, ...]
    value: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels of the versions."""
        return tuple(version.label for version in self.versions)

    @property
    def is_of_anchors(self) -> bool:
        """Return whether only anchors were shown."""
        return set(self.labels) <= set(ANCHORS)


@dataclass(frozen=True)
class Reliability:
    """How reliably a rater answered. A figure is None if too little was answered to know.

    Attributes:
        rater: number of the rater.
        answers: number of answers.
        repeats: mean difference of repeated scores, or share of contradictions.
        anchors: how much higher HR is rated than the nearest neighbour, or the share of pairs in
            which it is preferred.
        agreement: Spearman's rank correlation with the mean of the other raters; of pairs, with
            how often they prefer the first.
        reasons: why the rater is left out; empty for none.
    """

    rater: int
    answers: int
    repeats: float | None
    anchors: float | None
    agreement: float | None
    reasons: tuple[str, ...]


def judge(trial: Trial, key: Key, answers: Sequence[Answer]) -> tuple[list, list]:
    """Return the judgements of first questions, and pairs of judgements of repeated ones."""
    first: dict[tuple[int, tuple[Version, ...]], Judgement] = {}
    repeated = []
    for answer in answers:
        shown = trial.orders[answer.rater][answer.question]
        judgement = make_judgement(trial.design, key, shown, answer)
        place = (answer.rater, judgement.versions)
        if place in first:
            repeated.append((first[place], judgement))
        else:
            first[place] = judgement
    return list(first.values()), repeated


def make_judgement(design: Design, key: Key, shown: Question, answer: Answer) -> Judgement:
    """Return what an answer says about the versions that were shown."""
    versions = tuple(key.versions[identifier] for identifier in shown)
    if design is Design.ABSOLUTE:
        return Judgement(answer.rater, versions, answer.value)
    preference = 0.5 if answer.value == SAME else float(answer.value == 1)
    ranks = (*key.outputs, HR, *ANCHORS)
    if ranks.index(versions[0].label) > ranks.index(versions[1].label):
        versions, preference = versions[::-1], 1 - preference
    return Judgement(answer.rater, versions, preference)


def assess(
    design: Design, judgements: Sequence[Judgement], repeated: Sequence[tuple[Judgement, Judgement]]
) -> list[Reliability]:
    """Return the reliability of every rater, in the order of their numbers."""
    agreement = agree(judgements)
    raters = sorted({judgement.rater for judgement in judgements})
    check = check_scores if design is Design.ABSOLUTE else check_pairs
    found = []
    for rater in raters:
        own = [judgement for judgement in judgements if judgement.rater == rater]
        again = [pair for pair in repeated if pair[0].rater == rater]
        anchors = [judgement for judgement in own if judgement.is_of_anchors]
        repeats, gap, reasons = check(anchors, again)
        count = len(own) + len(again)
        found.append(Reliability(rater, count, repeats, gap, agreement[rater], tuple(reasons)))
    return found


def check_scores(anchors, repeated):
    """Return the figures of repeats and anchors of a rater of scores, and what fails."""
    reasons = []
    difference = gap = None
    if len(repeated) >= LEAST_CHECKS:
        difference = fmean(abs(first.value - second.value) for first, second in repeated)
        if difference > MOST_REPEAT_DIFFERENCE:
            reasons.append(f"repeats differ by {difference:.2f} levels")
    by_label = {
        label: [anchor.value for anchor in anchors if anchor.labels == (label,)]
        for label in ANCHORS
    }
    if min(map(len, by_label.values())) >= LEAST_CHECKS:
        worst, best = (fmean(by_label[label]) for label in ANCHORS)
        gap = best - worst
        if gap < LEAST_ANCHOR_GAP:
            reasons.append(f"HR is {gap:.2f} levels above the nearest neighbour")
    return difference, gap, reasons


def check_pairs(anchors, repeated):
    """Return the figures of repeats and anchors of a rater of pairs, and what fails."""
    reasons = []
    contradictions = right = None
    if len(repeated) >= LEAST_CHECKS:
        contradictions = fmean(abs(first.value - second.value) == 1 for first, second in repeated)
        if contradictions > MOST_CONTRADICTIONS:
            reasons.append(f"{contradictions:.0%} of repeated pairs contradict themselves")
    if len(anchors) >= LEAST_CHECKS:
        right = fmean(anchor.value == 1 for anchor in anchors)
        if right < LEAST_ANCHORS_RIGHT:
            reasons.append(f"HR is preferred in {right:.0%} of the pairs of anchors")
    return contradictions, right, reasons


def agree(judgements: Sequence[Judgement]) -> Mapping[int, float | None]:
    """Return the rank correlation of every rater with the mean of the others.

    Source: Spearman 1904, by SciPy; ITU-T P.913 (agreement with the other raters).
    """
    values: dict[tuple[Version, ...], dict[int, float]] = {}
    for judgement in judgements:
        values.setdefault(judgement.versions, {})[judgement.rater] = judgement.value
    found: dict[int, float | None] = {}
    for rater in {judgement.rater for judgement in judgements}:
        shared = [given for given in values.values() if rater in given and len(given) > 1]
        own = [given[rater] for given in shared]
        others = [(sum(given.values()) - given[rater]) / (len(given) - 1) for given in shared]
        is_constant = len(set(own)) < 2 or len(set(others)) < 2
        found[rater] = None if is_constant else float(stats.spearmanr(own, others).statistic)
    return found


def retest(repeated: Sequence[tuple[Judgement, Judgement]]) -> dict[str, float | int | None]:
    """Return how repeated answers agree, over all raters.

    Returns:
        `repeats`, their number; `equal`, the share of equal answers; `difference`, the mean of
        second minus first; `p`, that of no shift between the first and the second time.

    Source: Wilcoxon 1945, by SciPy; Ledig et al. 2017, arXiv:1609.04802, MOS testing (the test).
    """
    differences = np.array([second.value - first.value for first, second in repeated])
    if not len(differences):
        return {"repeats": 0, "equal": None, "difference": None, "p": None}
    p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return {
        "repeats": len(differences),
        "equal": float((differences == 0).mean()),
        "difference": float(differences.mean()),
        "p": p,
    }
