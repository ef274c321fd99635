import json

import numpy as np
import pytest

from core.images import decode_image, encode_png, resize_bicubic
from core.picture import Picture
from tests.support.photographs import photograph
from tests.support.stand_ins import make_card, make_restorer, noise, repeat
from training import CommandFailed
from training.evaluation.evaluate_outside import (
    FIRST_MARK,
    LAST_MARK,
    OutsideEvaluation,
    as_table,
    block_excess,
    consistency_db,
    lattice_levels,
    list_outputs,
    measure_without_reference,
)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for kind, seeds in (("drawings", (1, 2)), ("night/city", (3,))):
        (folder / kind).mkdir(parents=True)
        for seed in seeds:
            picture = Picture(photograph(seed, 40, 52))
            (folder / kind / f"{seed}.png").write_bytes(encode_png(picture))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_becomes_a_table_by_kind_and_sheets(card_path, pictures, tmp_path):
    document = tmp_path / "outside.md"
    document.write_text(f"before\n{FIRST_MARK}\n{LAST_MARK}\nafter\n")
    report = tmp_path / "report"
    table = OutsideEvaluation(card_path, pictures, report, document).run()
    assert {kind: list(outputs) for kind, outputs in table.items()} == {
        "drawings": ["bicubic", "detail 1"],
        "night/city": ["bicubic", "detail 1"],
    }
    assert as_table(table) in document.read_text()
    assert as_table(table) == (report / "outside.md").read_text()
    rows = json.loads((report / "outside.json").read_text())
    assert len(rows) == 3 * 2
    drawings = [r for r in rows if (r["kind"], r["output"]) == ("drawings", "bicubic")]
    mean = np.mean([row["sharpness"] for row in drawings])
    assert table["drawings"]["bicubic"]["sharpness"] == pytest.approx(mean, abs=1e-4)
    sheet = decode_image((report / "sheets" / "night" / "city" / "3.png").read_bytes())
    assert sheet.width >= 2 * 4 * 52


def test_a_model_is_measured_at_both_details_and_restored(monkeypatch, card_path):
    def through(_upscaler, **options):
        return options

    class WholeUpscaler:
        card = make_card(faithful="plain")
        restorer = make_restorer(repeat)

    monkeypatch.setattr(
        "training.evaluation.evaluate_outside.load_for_measuring", lambda _: WholeUpscaler
    )
    monkeypatch.setattr("training.evaluation.evaluate_outside.through_upscaler", through)
    outputs = list_outputs(card_path)
    del outputs["bicubic"]
    assert outputs == {
        "detail 0": {"detail": "0", "restore": "0"},
        "detail 1": {"restore": "0"},
        "restored": {"restore": "1"},
    }


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (None, "PICTURES must be a folder that holds pictures"),
        (b"no picture", r"small\.png cannot be decoded"),
        (noise(32, 50), r"small\.png must be at least 33 .* Received: 50 x 32 pixels"),
    ],
)
def test_a_folder_without_measurable_pictures_is_refused(card_path, tmp_path, pixels, message):
    folder = tmp_path / "pictures"
    folder.mkdir()
    if pixels is not None:
        encoded = pixels if isinstance(pixels, bytes) else encode_png(Picture(pixels))
        (folder / "small.png").write_bytes(encoded)
        (folder / "large.png").write_bytes(encode_png(Picture(noise(40, 50))))
    with pytest.raises(CommandFailed, match=message):
        OutsideEvaluation(card_path, folder, tmp_path / "report").run()
    assert not (tmp_path / "report").exists()


def test_pictures_of_one_name_have_sheets_of_their_own_and_sheets_are_no_pictures(
    card_path, tmp_path
):
    for name in ("a.png", "a.webp"):
        (tmp_path / name).write_bytes(encode_png(Picture(noise(40, 50))))
    for _ in range(2):
        OutsideEvaluation(card_path, tmp_path, tmp_path / "report").run()
    rows = json.loads((tmp_path / "report" / "outside.json").read_text())
    assert {row["picture"] for row in rows} == {"a.png", "a.webp"}
    sheets = {path.name for path in (tmp_path / "report" / "sheets").iterdir()}
    assert sheets == {"a.png", "a.webp.png"}


def test_a_document_without_marks_is_refused_before_anything_is_measured(
    card_path, pictures, tmp_path
):
    (tmp_path / "outside.md").write_text(f"{FIRST_MARK}\n")
    with pytest.raises(CommandFailed, match=f"{LAST_MARK} once. Received: 0 times"):
        OutsideEvaluation(card_path, pictures, tmp_path / "report", tmp_path / "outside.md").run()
    assert not (tmp_path / "report").exists()


def test_what_repeats_with_the_pixels_of_lr_is_the_lattice():
    smooth = resize_bicubic(photograph(1, 64, 80), 256, 320).astype(int)
    tile = np.random.default_rng(1).normal(0, 6, (4, 4))
    tile -= tile.mean()
    rough = np.random.default_rng(2).normal(0, tile.std(), (256, 320))

    def measure(texture):
        pixels = np.clip(smooth + np.rint(texture)[..., None], 0, 255)
        return lattice_levels(pixels.astype(np.uint8))

    nothing = measure(np.zeros((256, 320)))
    assert nothing < 0.4
    assert measure(np.tile(tile, (64, 80))) == pytest.approx(tile.std(), rel=0.15)
    assert measure(rough) < tile.std() / 5
    assert lattice_levels(np.zeros((28, 40, 3), np.uint8)) == 0


def test_steps_between_blocks_are_seen_at_any_offset():
    levels = np.random.default_rng(0).integers(60, 190, (9, 11))
    blocks = levels.repeat(8, axis=0).repeat(8, axis=1)[3:-2, 5:-1]
    coarse = np.repeat(blocks[..., None], 3, axis=2).astype(np.uint8)
    assert block_excess(repeat(coarse)) > 3
    assert block_excess(repeat(noise(67, 82))) < 0.5


def test_a_result_that_keeps_every_pixel_is_consistent():
    lr = noise(40, 50) // 2
    assert consistency_db(repeat(lr), lr) == 100
    assert consistency_db(repeat(lr + 1), lr) == pytest.approx(48.13, abs=0.01)


def test_noise_that_is_left_and_soft_edges_are_measured():
    smooth = photograph(1, 70, 90) // 2 + 60
    noisy = np.clip(smooth + np.random.default_rng(0).normal(0, 9, smooth.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    figures = {
        name: measure_without_reference(repeat(lr), lr)
        for name, lr in (("smooth", smooth), ("noisy", noisy))
    }
    assert figures["smooth"]["noise"] < 1
    assert figures["noisy"]["noise"] > 3
    steps = noise(10, 13).repeat(7, axis=0).repeat(7, axis=1)
    sharp, soft = repeat(steps), resize_bicubic(steps, 280, 364)
    assert measure_without_reference(sharp, steps)["sharpness"] > -1.5
    assert measure_without_reference(soft, steps)["sharpness"] < -2.5
