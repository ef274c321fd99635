"""A whole trial with simulated raters, from the pictures to the report."""

import json
import sqlite3
from contextlib import closing

import pytest
from PIL import Image

from tests.support.trials import CHOSEN, OUTPUTS, SimulatedRaters, preparation, write_pictures
from training import CommandFailed
from training.opinion.plots import plot_scores, plot_wins
from training.opinion.report import as_markdown, figure_rows, make_report, write_report
from training.opinion.server import CODE_HEADER, create_app
from training.opinion.statistics import Comparison, Estimate
from training.opinion.trial import ANCHORS, ANSWERS_FILE, Design, read_key, read_trial

RATERS, PICTURES = 26, 24
QUALITIES = dict(zip(OUTPUTS, (1.8, 2.9, 3.0, 4.3), strict=True))
CARELESS = (4, 17)  # raters who always give one answer


def take_part(app, trial, key, raters, number, questions=None):
    """Answer the questions of a rater over HTTP."""
    client = app.test_client()
    code = client.post("/api/raters", json=CHOSEN).json["code"]
    for index, shown in enumerate(trial.orders[number][:questions]):
        value = raters.answer(number, [key.versions[name] for name in shown])
        answer = {
            "value": 1 if number in CARELESS else value,
            "duration_ms": 4000 + index,
            "pixel_ratio": 1,
        }
        path = f"/api/answers/{index}"
        assert client.put(path, json=answer, headers={CODE_HEADER: code}).status_code == 200


def simulate(folder, design, raters=RATERS, pictures=PICTURES):
    """Prepare a trial in a folder, let all raters answer, and return its folder."""
    write_pictures(folder, pictures + 1)
    anchors, repeats = min(4, pictures), min(6, pictures)
    options = {"design": design, "raters": raters, "anchors": anchors, "repeats": repeats}
    preparation(folder, **options).run()
    trial, key = read_trial(folder / "trial"), read_key(folder / "trial")
    names = sorted({version.picture for version in key.versions.values()})
    simulated = SimulatedRaters(QUALITIES, raters, names, seed=5)
    app = create_app(folder / "trial")
    # A test need not survive a power failure, and an fsync takes milliseconds.
    app.extensions["answers"]._connection.execute("pragma synchronous = off")
    try:
        for number in range(raters):
            take_part(app, trial, key, simulated, number, 20 if number == raters - 1 else None)
    finally:
        app.extensions["answers"].close()
    return folder / "trial"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("scores"), Design.ABSOLUTE)


def test_scores_of_simulated_raters_give_their_opinions(scored, tmp_path):
    report = make_report(scored)
    assert len(report.raters) == RATERS
    assert report.pictures == PICTURES
    assert [rater.rater for rater in report.raters if rater.reasons] == list(CARELESS)
    for label, estimate in report.comparison.estimates.items():
        truth = SimulatedRaters.true_mos(QUALITIES[label])
        assert abs(estimate.value - truth) < 4 * estimate.error, (
            label
        )  # test_statistics.py: coverage
        assert 0.2 < estimate.high - estimate.low < 0.9
    significant = {(d.first, d.second): d.is_significant for d in report.comparison.differences}
    assert not significant.pop(("b", "c"))
    assert all(significant.values())
    nearest, hr = (report.anchors.estimates[label].value for label in ANCHORS)
    assert nearest < 1.5 < 4.5 < hr
    assert report.retest["repeats"] == 6 * (RATERS - len(CARELESS) - 1)
    write_report(tmp_path, report)
    assert json.loads((tmp_path / "opinion.json").read_text())["outputs"] == list(OUTPUTS)
    with Image.open(tmp_path / "opinion.png") as plot:
        assert plot.width == 1200
    text = (tmp_path / "opinion.md").read_text()
    assert "26 raters answered, 25 all 110 questions; 2 left out." in text
    assert "| 5 | 110 |" in text
    assert "rough" not in text
    assert "HR is 0.00 levels above the nearest neighbour" in text


def test_pairs_of_simulated_raters_give_their_preferences(tmp_path, monkeypatch):
    monkeypatch.setattr("training.opinion.statistics.RESAMPLES", 200)
    report = make_report(simulate(tmp_path, Design.PAIRS, raters=12, pictures=8))
    assert [rater.rater for rater in report.raters if rater.reasons] == [CARELESS[0]]
    strengths = [estimate.value for estimate in report.comparison.estimates.values()]
    assert sum(strengths) == pytest.approx(0)
    assert strengths[0] < min(strengths[1:3])
    assert strengths[3] > max(strengths[1:3])
    assert report.counts["d"]["a"] > 10 * report.counts["a"]["d"]
    write_report(tmp_path, report)
    text = (tmp_path / "opinion.md").read_text()
    assert "| output | Strength | 95% interval |" in text
    assert "HR is preferred in" in text
    assert (tmp_path / "opinion.png").stat().st_size > 10_000


def test_few_raters_have_figures_without_intervals(tmp_path):
    folder = simulate(tmp_path, Design.ABSOLUTE, raters=3, pictures=3)
    text = as_markdown(make_report(folder))
    assert "**With fewer than 10 raters or pictures, intervals are rough" in text
    row = next(line for line in text.splitlines() if line.startswith("| d | "))
    assert row.split(" | ")[2] == "-"
    write_report(tmp_path, make_report(folder))
    content = json.loads((tmp_path / "opinion.json").read_text())
    assert content["comparison"]["estimates"]["d"]["low"] is None


def test_labels_with_signs_of_formulas_and_tables_are_shown_as_they_are(tmp_path):
    labels = (r"$\frac$", "a|b")
    estimates = dict.fromkeys(labels, Estimate(3.0, 2.0, 4.0, 0.5))
    scores = {label: dict.fromkeys("12345", 1.0) for label in labels}
    wins = {label: {other: 1.0 for other in labels if other != label} for label in labels}
    for plot, counts in ((plot_scores, scores), (plot_wins, wins)):
        plot(tmp_path / "plot.png", estimates, counts)
        assert (tmp_path / "plot.png").stat().st_size > 5_000
    rows = figure_rows(Comparison(estimates, []), None)
    assert rows[1] == r"| a\|b | 3.00 | 2.00 to 4.00 | - |"


def test_if_all_raters_are_left_out_the_reasons_are_named(tmp_path):
    folder = simulate(tmp_path, Design.ABSOLUTE, raters=1 + CARELESS[0], pictures=3)
    connection = sqlite3.connect(folder / ANSWERS_FILE)
    with closing(connection), connection:
        connection.execute("delete from raters where number <> ?", CARELESS[:1])
        connection.execute("delete from answers where rater <> ?", CARELESS[:1])
    with pytest.raises(CommandFailed, match=f"0 of them kept. Rater {CARELESS[0] + 1}: HR is"):
        make_report(folder)


def test_a_trial_without_answers_has_no_report(tmp_path):
    write_pictures(tmp_path)
    preparation(tmp_path).run()
    with pytest.raises(CommandFailed, match="answers.sqlite must exist"):
        make_report(tmp_path / "trial")
    create_app(tmp_path / "trial").extensions["answers"].close()
    with pytest.raises(CommandFailed, match="Received: 0 answers of 0 raters, 0 of them kept"):
        make_report(tmp_path / "trial")
    with pytest.raises(CommandFailed, match=r"trial\.json must be a file that `opinion prepare`"):
        make_report(tmp_path)
