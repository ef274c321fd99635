from dataclasses import replace

import numpy as np
import pytest

from core.images import decode_rgb, encode_png, resize_bicubic
from core.picture import Picture
from tests.support.photographs import rows_of
from tests.support.stand_ins import noise
from training.data.degradation import DegradationMix, DegradationProcess, DegradationRound
from training.data.degraded_sets import (
    SHEET_SIDE,
    TABLE,
    degrade_folder,
    write_sheet_of_degradations,
)

COMPRESSED = DegradationRound(
    blur_share=0.5, noise_share=0.5, jpeg_share=0.5, webp_share=0.3, jpeg_quality=(60, 95)
)
MIX = DegradationMix(
    (
        DegradationProcess("wild", share=0.7, rounds=(COMPRESSED,)),
        DegradationProcess("clean", share=0.3, rounds=(DegradationRound(),), clean_share=1.0),
    )
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hr")
    for seed in range(12):
        smooth = resize_bicubic(noise(4, 5, seed=seed), 66, 83)
        (folder / f"{seed}.png").write_bytes(encode_png(Picture(smooth)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_set_holds_a_degraded_file_of_a_quarter_of_the_size_for_every_picture(source, tmp_path):
    assert degrade_folder(source, tmp_path, MIX, seed=3) == 12
    rows = rows_of(tmp_path / TABLE)
    assert [row["hr"] for row in rows] == sorted(f"{seed}.png" for seed in range(12))
    assert {row["file"] for row in rows} | {TABLE} == contents(tmp_path).keys()
    assert {row["file"].rpartition(".")[2] for row in rows} == {"png", "jpg", "webp"}
    assert {row["process"] for row in rows} == {"wild", "clean"}
    for row in rows:
        lr = decode_rgb((tmp_path / row["file"]).read_bytes())
        clean = resize_bicubic(decode_rgb((source / row["hr"]).read_bytes())[:64, :80], 16, 20)
        assert lr.shape == (16, 20, 3)
        assert np.abs(lr - clean.astype(int)).mean() < 30
        assert np.array_equal(lr, clean) or row["distortions"] != "resize 20 x 16 px bicubic"
        last = row["distortions"].split("; ")[-1].split()[0]
        suffixes = {"jpeg": "jpg", "webp": "webp"}
        assert row["file"].rpartition(".")[2] == suffixes.get(last, "png")


def test_seed_and_name_determine_a_file(source, tmp_path):
    degrade_folder(source, tmp_path / "one", MIX, seed=3)
    degrade_folder(source, tmp_path / "again", MIX, seed=3)
    degrade_folder(source, tmp_path / "other", MIX, seed=4)
    one = contents(tmp_path / "one")
    assert contents(tmp_path / "again") == one
    assert contents(tmp_path / "other") != one
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "7.png").write_bytes((source / "7.png").read_bytes())
    degrade_folder(alone, tmp_path / "part", MIX, seed=3)
    part = contents(tmp_path / "part")
    del part[TABLE]
    assert part.items() <= one.items()


def test_a_folder_without_pictures_or_with_two_of_a_name_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="must hold pictures.* Received: 0 pictures"):
        degrade_folder(tmp_path, tmp_path / "lr", MIX, seed=3)
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes((source / "7.png").read_bytes())
    with pytest.raises(ValueError, match="Received: 2 pictures with 1 names"):
        degrade_folder(tmp_path, tmp_path / "lr", MIX, seed=3)


def test_a_sheet_shows_degraded_patches_beside_hr(source, tmp_path):
    clean = DegradationMix((replace(MIX.processes[1], share=1.0),))
    for name, mix in (("clean", clean), ("wild", MIX)):
        write_sheet_of_degradations(tmp_path / f"{name}.png", source, mix, seed=1)
    clean, wild = (
        decode_rgb((tmp_path / f"{name}.png").read_bytes()).astype(int)
        for name in ("clean", "wild")
    )
    side = 4 * SHEET_SIDE
    assert clean.shape == wild.shape == (8 * side, 16 * side, 3)
    cells = clean[:64, :].reshape(64, 16, side, 3)[:, :, :80]
    assert np.abs(cells[:, 0::2] - cells[:, 1::2]).mean() < 10
    assert np.abs(wild - clean).max() > 20
