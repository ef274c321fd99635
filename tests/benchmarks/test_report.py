from dataclasses import replace

import pytest

from benchmarks.load import Load
from benchmarks.plots import draw
from benchmarks.report import first_mark, last_mark, render, render_page, write_sections
from benchmarks.results import read_results, write_results
from tests.support.example_results import RESULTS


def test_results_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "results.json"
    for results in (RESULTS, replace(RESULTS, beside=None, speeds=[])):
        write_results(path, results)
        assert read_results(path) == results


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("service", "| 100 x 50 | 210 / 230 | 100 / 110 | 600 | 100 | 50% |"),
        (
            "systems",
            "| 100 x 50 | this service | 210 / 230 | 100 / 110 | 5.0 | 10.0 | 600 | 100 | - |  |",
        ),
        ("systems", "| 100 x 50 | engine | - | 50 / 50 | - | 20.0 | 100 | 200 | 1 |  |"),
        (
            "systems",
            "| 100 x 50 | absent | - | - | - | - | - | - | - | No module named 'absent' |",
        ),
        ("load", "| 4 | 1.5 | 20 | 30 | 30 | 3 | 2 | 1 x ReadTimeout |"),
        ("beside", "| while 200 x 200 takes 123 ms (200) | 40 | 50 | 2 | 0 | none |"),
        ("restoring", "| 100 x 50 | 200 / 210 | 280 / 300 | 1.40 | 600 | 650 |"),
        ("memory", "| 20 | 700 | 800 | 19 | 0 | 1 x 500 |"),
    ],
)
def test_a_table_contains_the_row(section, line):
    assert line in render(RESULTS)[section].splitlines()


def test_every_table_states_date_and_machine():
    for part in render(RESULTS).values():
        assert part.startswith("2026-11-21, Abacus without bfloat16 instructions, 2 cores, 8 GB")
        assert "200 GFLOP/s in float32;" in part


def test_all_rows_of_a_table_have_as_many_cells():
    for part in render(RESULTS).values():
        rows = [line for line in part.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) == 1


def test_parts_that_were_not_measured_have_no_table():
    only_load = replace(RESULTS, speeds=[], beside=None, memory=[], restoring=[])
    assert list(render(only_load)) == ["load"]
    assert list(draw(only_load)) == ["load"]


def test_a_load_without_an_answer_has_a_row():
    dead = replace(RESULTS, loads=[Load(1, 2.0, {"ConnectionError": 5}, [])])
    assert "| 1 | 0.0 | - | - | - | 0 | 0 | 5 x ConnectionError |" in render(dead)["load"]
    draw(dead)


def test_a_quick_run_is_marked_as_such():
    assert "A quick run" in render_page(replace(RESULTS, quick=True))
    assert "A quick run" not in render_page(RESULTS)


def test_the_caption_occurs_once_on_the_page():
    assert render_page(RESULTS).count("Abacus") == 1


def test_every_figure_is_drawn(tmp_path):
    for name, figure in draw(RESULTS).items():
        figure.savefig(tmp_path / f"{name}.png")
    assert {p.name for p in tmp_path.iterdir()} == {"latency.png", "memory.png", "load.png"}


def test_a_document_gets_the_sections_it_has_marks_for(tmp_path):
    document = tmp_path / "README.md"
    first, last = first_mark("load"), last_mark("load")
    document.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    write_sections(document, RESULTS)
    expected = f"before\n{first}\n{render(RESULTS)['load']}{last}\nafter\n"
    assert document.read_text() == expected


def test_a_document_without_marks_is_refused(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="must have marks"):
        write_sections(document, RESULTS)
