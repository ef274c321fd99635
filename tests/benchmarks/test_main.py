import sys

import pytest

from benchmarks import __main__ as command
from benchmarks.report import first_mark, last_mark
from benchmarks.results import read_results, write_results
from tests.support.example_results import RESULTS


@pytest.fixture
def run(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
        command.main()

    return run


def test_saved_results_are_reported_again(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "draw", lambda _results: {})
    kept, readme, out = (tmp_path / name for name in ("kept.json", "README.md", "out"))
    write_results(kept, RESULTS)
    readme.write_text(f"{first_mark('service')}\n{last_mark('service')}\n")
    run("--results", kept, "--out", out, "--readme", readme)
    assert read_results(out / "results.json") == RESULTS
    assert (out / "results.md").read_text() == capsys.readouterr().out
    assert "| 100 x 50 |" in readme.read_text()


@pytest.fixture
def known_machine(monkeypatch):
    monkeypatch.setattr(command, "describe_machine", lambda _side: RESULTS.machine)
    model = {"model": RESULTS.model, "mflop_per_lr_pixel": RESULTS.mflop_per_lr_pixel}
    monkeypatch.setattr(command, "describe_model", lambda: model)


@pytest.mark.usefixtures("known_machine")
def test_one_part_can_be_measured_alone(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        command, "measure_under_load", lambda plan: asked.append(plan) or {"loads": RESULTS.loads}
    )
    run("--only", "load", "--load-seconds", "3", "--largest", "300", "--out", tmp_path)
    results = read_results(tmp_path / "results.json")
    assert results.loads == RESULTS.loads
    assert results.speeds == results.memory == []
    assert not results.quick
    assert asked[0].load_s == 3
    assert asked[0].sizes == ((64, 64), (128, 80), (256, 256))


@pytest.mark.usefixtures("known_machine")
def test_results_are_saved_if_a_later_part_fails(run, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "measure_speeds", lambda *_: {"speeds": RESULTS.speeds})

    def break_down(_plan):
        raise ValueError("broken")

    monkeypatch.setattr(command, "measure_under_load", break_down)
    with pytest.raises(SystemExit, match="broken"):
        run("--out", tmp_path)
    assert read_results(tmp_path / "results.json").speeds == RESULTS.speeds
