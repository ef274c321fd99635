"""Report of a trial: figures of the outputs and of the raters, as JSON, Markdown and a plot."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from training import CommandFailed
from training.opinion.answers import Conditions, read_answers
from training.opinion.plots import plot_scores, plot_wins
from training.opinion.reliability import RULES, Judgement, Reliability, assess, judge, retest
from training.opinion.statistics import (
    FEWEST,
    LEVEL,
    RESAMPLES,
    Comparison,
    compare_scores,
    compare_wins,
)
from training.opinion.trial import ANCHORS, ANSWERS_FILE, Design, read_key, read_trial

FEW = 10  # with fewer raters or pictures, intervals are rough
LEAST_P = 0.0001  # smaller p-values are not shown
NOTHING = "-"  # in a table

SOURCES = {
    Design.ABSOLUTE: (
        "Mean opinion score (MOS) and its scale: ITU-T P.800.1; anchors: Ledig et al. 2017, "
        "arXiv:1609.04802, MOS testing."
    ),
    Design.PAIRS: (
        "Strength: Bradley and Terry 1952, fitted by choix (Maystre and Grossglauser 2015). A tie "
        "is half a win for both."
    ),
}
SHARED_SOURCES = (
    f"Intervals ({LEVEL:.0%}): raters and pictures are resampled independently {RESAMPLES} times "
    "(Owen 2007, arXiv:0712.1111), percentiles by SciPy, expanded for the number of raters and "
    "pictures (Hesterberg 2015, arXiv:1411.5279).",
    "p: Wald's test with the standard error of the bootstrap (Efron and Tibshirani 1993), and "
    "Holm's correction for all comparisons of the trial (Holm 1979).",
    "Agreement: Spearman's rank correlation with the mean of the other raters (ITU-T P.913). "
    "Shift of repeated answers: Wilcoxon's signed-rank test (1945). Both by SciPy.",
)


@dataclass(frozen=True)
class OpinionReport:
    """The figures of a trial.

    Attributes:
        design: what raters were asked.
        questions: number of questions of each rater.
        pictures: number of rated pictures.
        outputs: labels of the compared outputs.
        conditions: viewing conditions of each rater.
        raters: reliability of each rater who answered.
        comparison: figures of the outputs by the raters who are not left out.
        comparison_of_all: the same by all raters.
        anchors: figures of the anchors, of scores only; None without anchors.
        counts: answers by label and score, or wins by label and label of the raters who are not
            left out.
        retest: how repeated answers agree.
        median_s: median time of an answer, seconds.
    """

    design: Design
    questions: int
    pictures: int
    outputs: tuple[str, ...]
    conditions: dict[int, Conditions]
    raters: list[Reliability]
    comparison: Comparison
    comparison_of_all: Comparison
    anchors: Comparison | None
    counts: dict[str, dict[str, float]]
    retest: dict[str, float | int | None]
    median_s: float

    @property
    def kept(self) -> list[Reliability]:
        """Return the raters who are not left out."""
        return [rater for rater in self.raters if not rater.reasons]


def make_report(folder: Path) -> OpinionReport:
    """Return the figures of a trial, which may still be served.

    Raises:
        CommandFailed: if the folder holds no trial, or too few answers.
    """
    trial, key = read_trial(folder), read_key(folder)
    conditions, answers = read_answers(folder / ANSWERS_FILE)
    judgements, repeated = judge(trial, key, answers)
    raters = assess(trial.design, judgements, repeated)
    kept = {rater.rater for rater in raters if not rater.reasons}
    of_kept = [judgement for judgement in judgements if judgement.rater in kept]
    labels = key.outputs
    comparison = compare_outputs(trial.design, of_kept, labels)
    if comparison is None:
        raise CommandFailed(
            "Each output must have answers of a rater who is not left out. "
            f"Received: {len(answers)} answers of {len(raters)} raters, {len(kept)} of them kept."
            + describe_left_out(raters)
        )
    is_complete = len(of_kept) == len(judgements)
    of_all = None if is_complete else compare_outputs(trial.design, judgements, labels)
    is_absolute = trial.design is Design.ABSOLUTE
    of_outputs = [judgement for judgement in of_kept if not judgement.is_of_anchors]
    return OpinionReport(
        trial.design,
        trial.question_count,
        len({version.picture for j in of_outputs for version in j.versions}),
        labels,
        conditions,
        raters,
        comparison,
        of_all or comparison,
        compare_outputs(trial.design, of_kept, ANCHORS) if is_absolute else None,
        count_scores(of_kept, (*labels, *ANCHORS)) if is_absolute else count_wins(of_kept, labels),
        retest([pair for pair in repeated if pair[0].rater in kept]),
        median(answer.duration_ms for answer in answers) / 1000,
    )


def describe_left_out(raters: Sequence[Reliability]) -> str:
    """Return sentences that say why raters are left out; empty if none is."""
    left_out = [rater for rater in raters if rater.reasons]
    return "".join(f" Rater {r.rater + 1}: {'; '.join(r.reasons)}." for r in left_out)


def compare_outputs(
    design: Design, judgements: Sequence[Judgement], labels: Sequence[str]
) -> Comparison | None:
    """Return the figures of versions by their labels, or None if one has no answer."""
    rated = [judgement for judgement in judgements if set(judgement.labels) <= set(labels)]
    if {label for judgement in rated for label in judgement.labels} != set(labels):
        return None
    raters = {number: i for i, number in enumerate(sorted({j.rater for j in rated}))}
    names = sorted({version.picture for judgement in rated for version in judgement.versions})
    pictures = {name: i for i, name in enumerate(names)}
    columns = {label: i for i, label in enumerate(labels)}
    shape = (len(raters), len(pictures), len(labels))
    scores, wins = np.full(shape, np.nan), np.zeros((*shape, len(labels)))
    for judgement in rated:
        cell = raters[judgement.rater], pictures[judgement.versions[0].picture]
        first, *other = (columns[label] for label in judgement.labels)
        if design is Design.ABSOLUTE:
            scores[(*cell, first)] = judgement.value
        else:
            wins[(*cell, first, *other)] += judgement.value
            wins[(*cell, *other, first)] += 1 - judgement.value
    if design is Design.ABSOLUTE:
        return compare_scores(scores, labels)
    return compare_wins(wins, labels)


def count_scores(judgements, labels) -> dict[str, dict[str, float]]:
    """Return the number of each score by label, without labels that have none."""
    counts = Counter((*judgement.labels, judgement.value) for judgement in judgements)
    found = {
        label: {str(score): counts[label, score] for score in Design.ABSOLUTE.values}
        for label in labels
    }
    return {label: scores for label, scores in found.items() if any(scores.values())}


def count_wins(judgements, labels) -> dict[str, dict[str, float]]:
    """Return how often each output is preferred to each other one, ties as half."""
    wins = {label: {other: 0.0 for other in labels if other != label} for label in labels}
    for judgement in judgements:
        first, second = judgement.labels
        if first in wins and second in wins:
            wins[first][second] += judgement.value
            wins[second][first] += 1 - judgement.value
    return wins


def write_report(folder: Path, report: OpinionReport) -> None:
    """Write `opinion.json`, `opinion.md` and `opinion.png` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "opinion.json").write_text(json.dumps(as_json(report), indent=2) + "\n")
    (folder / "opinion.md").write_text(as_markdown(report), encoding="utf-8")
    if report.design is Design.ABSOLUTE:
        anchors = report.anchors.estimates if report.anchors else {}
        estimates = report.comparison.estimates | anchors
        plot_scores(folder / "opinion.png", estimates, report.counts)
    else:
        plot_wins(folder / "opinion.png", report.comparison.estimates, report.counts)


def as_json(report: OpinionReport) -> dict[str, object]:
    """Return the report as JSON, with null for what is unknown."""
    content = asdict(report) | {"rule": RULES[report.design], "sources": list_sources(report)}
    return replace_nan(content)


def replace_nan(value):
    """Return a value of JSON with None instead of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: replace_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def as_markdown(report: OpinionReport) -> str:
    """Return the report in Markdown."""
    left_out = len(report.raters) - len(report.kept)
    finished = sum(rater.answers == report.questions for rater in report.raters)
    name = "MOS" if report.design is Design.ABSOLUTE else "Strength"
    lines = [
        "# Opinions",
        "",
        f"{count_of(len(report.raters), 'rater')} answered, {finished} all {report.questions} "
        f"questions; {left_out} left out. {report.pictures} pictures, "
        f"{len(report.outputs)} outputs. An answer took {report.median_s:.1f} s (median).",
        *warn_of_few(report),
        "",
        f"## {name}",
        "",
        f"| output | {name} | {LEVEL:.0%} interval | by all raters |",
        "|---|---|---|---|",
        *figure_rows(report.comparison, report.comparison_of_all),
        *(figure_rows(report.anchors, None) if report.anchors else []),
        "",
        "![Figures with intervals](opinion.png)",
        "",
        "## Differences",
        "",
        f"| outputs | difference | {LEVEL:.0%} interval | p | p, corrected | significant |",
        "|---|---|---|---|---|---|",
        *map(difference_row, report.comparison.differences),
        "",
        "## Raters",
        "",
        RULES[report.design],
        "",
        "| rater | answers | repeats | anchors | agreement | left out |",
        "|---|---|---|---|---|---|",
        *map(rater_row, report.raters),
        "",
        describe_retest(report.retest),
        "",
        *describe_conditions(report),
        "",
        "## Methods",
        "",
        *(f"- {source}" for source in list_sources(report)),
    ]
    return "\n".join(lines) + "\n"


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count_of(1, "rater"), count_of(2, "rater")
    ('1 rater', '2 raters')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def warn_of_few(report) -> list[str]:
    """Return a paragraph if intervals are rough."""
    if min(len(report.kept), report.pictures) >= FEW:
        return []
    return [
        "",
        f"**With fewer than {FEW} raters or pictures, intervals are rough. With fewer than "
        f"{FEWEST}, there are none.**",
    ]


def list_sources(report) -> list[str]:
    """Return the sources of all statistics of a report."""
    return [SOURCES[report.design], *SHARED_SOURCES]


def figure_rows(comparison: Comparison, of_all: Comparison | None) -> list[str]:
    """Return a row for every output."""
    return [
        f"| {cell(label)} | {number(estimate.value)} | {interval(estimate)} | "
        f"{number(of_all.estimates[label].value) if of_all else NOTHING} |"
        for label, estimate in comparison.estimates.items()
    ]


def difference_row(difference) -> str:
    """Return a row for two outputs."""
    outputs = cell(f"{difference.first} - {difference.second}")
    return (
        f"| {outputs} | {number(difference.estimate.value)} | "
        f"{interval(difference.estimate)} | {p_text(difference.p)} | "
        f"{p_text(difference.adjusted_p)} | {'yes' if difference.is_significant else 'no'} |"
    )


def rater_row(rater: Reliability) -> str:
    """Return a row for a rater."""
    figures = (rater.repeats, rater.anchors, rater.agreement)
    cells = " | ".join(map(number, figures))
    return f"| {rater.rater + 1} | {rater.answers} | {cells} | {'; '.join(rater.reasons)} |"


def describe_retest(figures) -> str:
    """Return a sentence about repeated answers of the raters who are not left out."""
    if not figures["repeats"]:
        return "No question was answered twice."
    return (
        f"{figures['repeats']} questions were answered twice: {figures['equal']:.0%} equally, the "
        f"second time {figures['difference']:+.2f} (p {p_text(figures['p'])})."
    )


def describe_conditions(report) -> list[str]:
    """Return a line for each viewing condition of the raters who are not left out."""
    chosen = [report.conditions[rater.rater] for rater in report.kept]
    return [
        f"- {name}: "
        + ", ".join(
            f"{value} {count}"
            for value, count in Counter(getattr(c, name) for c in chosen).most_common()
        )
        for name in ("screen", "distance", "light")
    ]


def cell(text: str) -> str:
    r"""Return text that a cell of a table can hold.

    >>> cell("a|b")
    'a\\|b'
    """
    return text.replace("|", r"\|")


def number(value: float | None) -> str:
    """Return a figure for a table."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.2f}"


def interval(estimate) -> str:
    """Return an interval for a table."""
    return (
        NOTHING
        if math.isnan(estimate.low)
        else f"{number(estimate.low)} to {number(estimate.high)}"
    )


def p_text(p: float) -> str:
    """Return a p-value for a table."""
    if math.isnan(p):
        return NOTHING
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.4f}"
