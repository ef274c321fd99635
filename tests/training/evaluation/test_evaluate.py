import hashlib
import json
from dataclasses import replace

import pytest

from core.images import decode_image, encode_png
from core.model.card import read_card
from core.picture import Picture
from training.evaluation.evaluate import (
    FIRST_MARK,
    LAST_MARK,
    Evaluation,
    PictureFigures,
    as_table,
    choose_metrics,
    mean_over_pictures,
)
from training.evaluation.outputs import bicubic, list_test_pictures
from training.export import freeze


@pytest.fixture
def peers(test_sets, tmp_path):
    """A peer whose outputs are bicubic interpolation, under another name."""
    folder = tmp_path / "peers" / "somebody" / "Set2"
    folder.mkdir(parents=True)
    for picture in list_test_pictures(test_sets / "Set2"):
        (folder / f"{picture.name}.png").write_bytes(encode_png(Picture(bicubic(picture))))
    return tmp_path / "peers"


@pytest.fixture
def second_path(card_path, recipe, run_folder, photos_folder):
    """The card of a second model whose faithful graph is the first."""
    path = card_path.with_name("second.json")
    freeze(recipe, run_folder, photos_folder, path, version="0.2", faithful="tiny")
    return path


@pytest.fixture
def evaluation(card_path, second_path, test_sets, peers, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{FIRST_MARK}\n{LAST_MARK}\nafter\n")
    return Evaluation(
        cards=[card_path, second_path],
        test_sets=test_sets,
        peers=peers,
        readme=readme,
        report=tmp_path / "report",
        sheets=tmp_path / "sheets",
    )


def test_an_evaluation_measures_everything_and_writes_all_its_files(evaluation):
    means = evaluation.run()
    assert list(means["Set2"]) == ["bicubic", "somebody", "tiny", "second"]
    assert means["Set2"]["somebody"] == means["Set2"]["bicubic"]

    for path in evaluation.cards:
        quality = read_card(path).quality
        assert quality == {"Set2": {name: means["Set2"][name] for name in ("bicubic", path.stem)}}
    del means["Set2"]["somebody"]
    assert as_table(means) in evaluation.readme.read_text()

    report = json.loads((evaluation.report / "quality.json").read_text())
    assert list(report["means"]["Set2"]) == ["bicubic", "somebody", "tiny", "second"]
    assert len(report["pictures"]) == 2 * 4
    assert (evaluation.report / "quality.md").read_text() == as_table(report["means"])

    for name in ("0", "1"):
        sheet = decode_image((evaluation.sheets / "Set2" / f"{name}.png").read_bytes())
        assert sheet.width > 5 * 48


def test_the_sums_of_the_assets_follow_the_card(evaluation):
    evaluation.run()
    folder = evaluation.cards[0].parent
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "second.json",
        "second.pb",
        "tiny.json",
        "tiny.pb",
    ]
    for line in lines:
        expected, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected


def test_a_mean_is_taken_over_the_pictures_of_a_set():
    rows = [
        PictureFigures("A", "1", "model", {"psnr_y_db": 20.0}),
        PictureFigures("A", "2", "model", {"psnr_y_db": 30.0}),
        PictureFigures("B", "1", "model", {"psnr_y_db": 40.0}),
    ]
    assert mean_over_pictures(rows) == {
        "A": {"model": {"psnr_y_db": 25.0}},
        "B": {"model": {"psnr_y_db": 40.0}},
    }


def test_the_largest_colour_shift_counts_not_the_mean():
    rows = [
        PictureFigures("A", str(n), "model", {"colour_shift_levels": shift})
        for n, shift in enumerate([3, 1])
    ]
    assert mean_over_pictures(rows) == {"A": {"model": {"colour_shift_levels": 3.0}}}


def test_a_service_is_measured_as_one_model(evaluation):
    with pytest.raises(ValueError, match="one card. Received: 2 cards"):
        replace(evaluation, service="http://127.0.0.1:1").run()


def test_without_weights_lpips_is_left_out():
    assert list(choose_metrics(None)) == ["psnr_y_db", "ssim_y"]
