import sys

import pytest

import training.__main__ as program
from tests.support.photographs import encoded, photograph
from tests.support.web_server import Page
from training.data.photos import read_manifest


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["training", *(str(a) for a in arguments)])
    program.main()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(encoded(photograph(seed)))
    return folder


def test_pictures_become_a_collection_with_a_report(monkeypatch, capsys, pictures, tmp_path):
    options = ["--licence", "CC0", "--min-side", "100", "--workers", "2"]
    run(monkeypatch, "prepare", pictures, tmp_path / "photos", *options, "--report", tmp_path / "r")
    assert capsys.readouterr().out.startswith("3 accepted\n")
    assert (tmp_path / "r" / "report.html").exists()
    assert len(read_manifest(tmp_path / "photos")) == 3
    run(monkeypatch, "prepare", pictures, tmp_path / "again", *options)
    assert (
        read_manifest(tmp_path / "again")[0].sha256 == read_manifest(tmp_path / "photos")[0].sha256
    )


def test_a_folder_without_acceptable_pictures_is_reported(monkeypatch, pictures, tmp_path):
    with pytest.raises(SystemExit, match="python -m training: SOURCE must hold a photograph"):
        run(
            monkeypatch,
            "prepare",
            pictures,
            tmp_path / "photos",
            "--licence",
            "CC0",
            "--min-side",
            "900",
        )


def test_a_list_is_downloaded(monkeypatch, capsys, web, tmp_path):
    web.pages["/a.png"] = Page(encoded(photograph(1)))
    (tmp_path / "list.txt").write_text(f"{web.url}/a.png\n")
    options = ["--licence", "CC0", "--requests-per-minute", "6000"]
    command = ["download", "urls", tmp_path / "list.txt", tmp_path / "target", *options]
    run(monkeypatch, *command)
    assert capsys.readouterr().out == "1 downloaded, 0 already there, 0 failed\n"
    (tmp_path / "list.txt").write_text(f"{web.url}/a.png\n{web.url}/b.png\n")
    with pytest.raises(SystemExit, match=r"see .*failed\.csv"):
        run(monkeypatch, *command)
    assert capsys.readouterr().out == "0 downloaded, 1 already there, 1 failed\n"


@pytest.mark.parametrize("place", ["option", "environment", "nowhere"])
def test_a_pixabay_search_needs_a_key(monkeypatch, capsys, web, tmp_path, place):
    monkeypatch.delenv("PIXABAY_API_KEY", raising=False)
    key = ["--key", "secret"] if place == "option" else []
    if place == "environment":
        monkeypatch.setenv("PIXABAY_API_KEY", "secret")
    command = ["download", "pixabay", tmp_path, *key, "--query", "trees", "--count", "3"]
    command += ["--base-url", f"{web.url}/api/", "--requests-per-minute", "6000"]
    if place == "nowhere":
        with pytest.raises(SystemExit, match="--key or PIXABAY_API_KEY must hold a key"):
            run(monkeypatch, *command)
    else:
        run(monkeypatch, *command)
        assert capsys.readouterr().out == "0 downloaded, 0 already there, 0 failed\n"
        assert "key=secret" in web.requests[0][0]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--min-side", "0"), ("--min-side", "x"), ("--workers", "-1")],
)
def test_invalid_numbers_are_refused(monkeypatch, capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "prepare", "source", "target", option, value)
    assert caught.value.code == 2
    assert f"argument {option}: invalid" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3", "inf", "nan"])
def test_the_request_rate_must_be_a_number_above_zero(monkeypatch, capsys, value):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "download", "urls", "l", "t", f"--requests-per-minute={value}")
    assert caught.value.code == 2
    assert "argument --requests-per-minute: invalid" in capsys.readouterr().err


def test_without_a_command_the_usage_is_shown(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch)
    assert caught.value.code == 2
    assert "train" in capsys.readouterr().err
