import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from core.images import decode_image, encode_jpeg, encode_png
from core.model.card import read_card, write_card
from core.picture import Picture
from training import CommandFailed
from training.evaluation.evaluate import (
    FIRST_MARK,
    LAST_MARK,
    WILD_FIRST_MARK,
    WILD_LAST_MARK,
    Evaluation,
    PictureFigures,
    as_table,
    choose_metrics,
    mean_over_pictures,
    part_wild,
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


@pytest.fixture(scope="module")
def models(assets, recipe, run_folder, photos_folder, tmp_path_factory):
    """A model, and a second one whose faithful graph is the first."""
    folder = shutil.copytree(assets, tmp_path_factory.mktemp("models") / "assets")
    path = folder / "second.json"
    freeze(recipe, run_folder, photos_folder, path, version="0.2", faithful="tiny")
    return folder


@pytest.fixture
def evaluation(models, test_sets, peers, tmp_path):
    folder = shutil.copytree(models, tmp_path / "assets")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{FIRST_MARK}\n{LAST_MARK}\nafter\n")
    return Evaluation(
        cards=[folder / "tiny.json", folder / "second.json"],
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

    assert decode_image((evaluation.report / "metrics.png").read_bytes()).width > 600

    for name in ("0", "1"):
        sheet = decode_image((evaluation.sheets / "Set2" / f"{name}.png").read_bytes())
        assert sheet.width > 5 * 48


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (None, "TEST_SETS must hold"),
        ((24, 23), "bicubic of Odd/a must have the size of HR, 24 x 23. Received: 24 x 24"),
        ((18, 24), "HR of Odd/a must be at least 19 pixels wide and high. Received: 18 x 24"),
    ],
)
def test_sets_that_cannot_be_measured_are_refused_and_cards_stay(
    evaluation, tmp_path, size, message
):
    (tmp_path / "sets").mkdir()
    if size is not None:
        for name, sides in (("HR", size), ("LRx4", (6, 6))):
            (tmp_path / "sets/Odd" / name).mkdir(parents=True)
            Image.new("RGB", sides).save(tmp_path / "sets/Odd" / name / "a.png")
    before = [path.read_bytes() for path in evaluation.cards]
    with pytest.raises(CommandFailed, match=message):
        replace(evaluation, test_sets=tmp_path / "sets", sheets=None).run()
    assert [path.read_bytes() for path in evaluation.cards] == before
    assert not evaluation.report.exists()


def test_the_sums_of_the_assets_follow_the_card(evaluation):
    replace(evaluation, cards=evaluation.cards[:1], peers=None).run()
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
    assert list(choose_metrics(None)) == ["psnr_y_db", "mse_y", "ssim_y", "flip"]


@pytest.fixture
def wild_sets(test_sets, tmp_path):
    """Test sets whose LRwild is clean LR as JPEG."""
    folder = shutil.copytree(test_sets, tmp_path / "test-sets")
    (folder / "Set2" / "LRwild").mkdir()
    for picture in list_test_pictures(folder / "Set2"):
        path = folder / "Set2" / "LRwild" / f"{picture.name}.jpg"
        path.write_bytes(encode_jpeg(picture.decode_lr(), 60))
    return folder


def test_wild_pictures_are_measured_beside_the_clean_ones(evaluation, wild_sets):
    marks = (FIRST_MARK, LAST_MARK, WILD_FIRST_MARK, WILD_LAST_MARK)
    evaluation.readme.write_text("\n".join(marks) + "\n")
    card_path = evaluation.cards[0]
    means = replace(evaluation, cards=[card_path], test_sets=wild_sets, peers=None).run()
    assert list(means) == ["Set2", "Set2 wild"]
    assert list(means["Set2 wild"]) == ["bicubic", "tiny"]
    assert means["Set2 wild"]["tiny"]["psnr_y_db"] < means["Set2"]["tiny"]["psnr_y_db"]
    clean, wild = (as_table(part) for part in part_wild(means))
    expected = f"{FIRST_MARK}\n{clean}{LAST_MARK}\n{WILD_FIRST_MARK}\n{wild}{WILD_LAST_MARK}\n"
    assert evaluation.readme.read_text() == expected
    assert read_card(card_path).quality == means


def test_a_model_with_a_restorer_is_measured_at_every_strength(evaluation, wild_sets, monkeypatch):
    asked = []

    def restored(_card_path, strengths):
        asked.append(tuple(strengths))
        return dict.fromkeys(strengths, bicubic)

    monkeypatch.setattr("training.evaluation.evaluate.restored_through_core", restored)
    monkeypatch.setattr("training.evaluation.evaluate.write_tables", lambda *_arguments: None)
    card_path = evaluation.cards[0]
    write_card(card_path, replace(read_card(card_path), restorer="restorer"))
    means = replace(evaluation, cards=[card_path], test_sets=wild_sets, peers=None).run()
    assert asked == [("0",), ("0", "1", "auto")]
    assert list(means["Set2"]) == ["bicubic", "tiny"]
    assert list(means["Set2 wild"]) == [
        "bicubic",
        "tiny",
        "tiny, restore 1",
        "tiny, restore auto",
    ]
    assert read_card(card_path).quality == means
