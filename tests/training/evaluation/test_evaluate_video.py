import json
from dataclasses import replace

import numpy as np
import pytest

from config import ROOT, Settings
from core.images import encode_png, resize_bicubic
from core.model.card import read_card
from core.picture import Picture
from tests.support.stand_ins import noise
from training.evaluation.evaluate_video import (
    ABSENT,
    FIRST_MARK,
    LAST_MARK,
    ORIGINAL,
    ClipMetrics,
    VideoEvaluation,
    as_table,
)

HEIGHT, WIDTH, FRAMES = 64, 80, 4


def sliding(step):
    """Soft texture that moves to the left by so many px a frame: (4, 64, 80, 3) uint8."""
    wide = resize_bicubic(noise(11, 20), HEIGHT + 24, 160)
    return np.stack([wide[12:-12, n * step : n * step + WIDTH] for n in range(FRAMES)])


@pytest.fixture
def video(tmp_path):
    for name, step in (("slow", 1), ("fast", 3)):
        folder = tmp_path / "video" / name / "HR"
        folder.mkdir(parents=True)
        for number, frame in enumerate(sliding(step)):
            (folder / f"{number}.png").write_bytes(encode_png(Picture(frame)))
    return tmp_path / "video"


@pytest.fixture
def evaluation(card_path, video, perceptual_folder, tmp_path):
    document = tmp_path / "video.md"
    document.write_text(f"before\n{FIRST_MARK}\n{LAST_MARK}\nafter\n")
    return VideoEvaluation(
        card_path,
        video=video,
        perceptual=perceptual_folder,
        document=document,
        report=tmp_path / "video.json",
    )


def test_everything_is_measured_and_written_down(evaluation):
    means = evaluation.run()
    assert list(means) == ["fast", "slow"]
    outputs = means["slow"]
    assert {"original", "bicubic", "tiny, frame by frame", "tiny, coherent"} <= outputs.keys()
    keys = {"warping_error", "tof_px", "tlp", "psnr_y_db", "ssim_y", "lpips_sq"}
    assert outputs["tiny, coherent"].keys() == keys
    assert outputs["tiny, coherent"] != outputs["tiny, frame by frame"]
    assert json.loads(evaluation.report.read_text())["means"] == means
    table = as_table(means)
    expected = f"before\n{FIRST_MARK}\n{table}{LAST_MARK}\nafter\n"
    assert evaluation.document.read_text() == expected


def test_pans_have_exact_flow_and_without_weights_nothing_is_said_of_perception(
    evaluation, tmp_path
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = Picture(resize_bicubic(noise(30, 40), 240, 320))
    (folder / "wall.png").write_bytes(encode_png(picture))
    means = replace(evaluation, video=None, pans=folder, perceptual=None).run()
    assert list(means) == ["pans", "noisy pans"]
    assert "tiny, coherent, exact flow" in means["pans"]
    assert means["pans"]["bicubic"].keys() == {"warping_error", "tof_px", "psnr_y_db", "ssim_y"}


def test_a_copy_of_the_original_has_no_fault_but_that_of_warping():
    hr = sliding(2)
    yardstick = ClipMetrics(hr, None)
    alone = yardstick.measure(hr)
    assert list(alone) == ["warping_error"]
    nearly = [np.clip(frame.astype(int) + 1, 0, 255).astype(np.uint8) for frame in hr]
    figures = yardstick.measure(nearly)
    assert figures["warping_error"] == pytest.approx(alone["warping_error"], rel=0.1)
    assert figures["tof_px"] < 0.05


def test_flicker_is_noticed():
    hr = sliding(2)
    yardstick = ClipMetrics(hr, None)
    drawn = np.random.default_rng(0).normal(0, 8, hr.shape)
    flickering = list(np.clip(hr + drawn, 0, 255).astype(np.uint8))
    steady = list(np.clip(hr.astype(int) + 1, 0, 255).astype(np.uint8))
    noisy, clean = yardstick.measure(flickering), yardstick.measure(steady)
    assert noisy["warping_error"] > 3 * clean["warping_error"]
    assert noisy["tof_px"] > 3 * clean["tof_px"]


def test_what_was_not_measured_is_a_dash():
    means = {"slow": {ORIGINAL: {"warping_error": 1e-3}, "x": {"warping_error": 2e-3, "tlp": 0.05}}}
    lines = as_table(means).splitlines()
    assert lines[2] == f"| slow | original | 10.00 | {ABSENT} |"
    assert lines[3] == "| slow | x | 20.00 | 5.00 |"


def shipped():
    return json.loads((ROOT / "docs" / "video.json").read_text())["means"]


def test_the_document_is_that_of_the_figures():
    assert f"{FIRST_MARK}\n{as_table(shipped())}{LAST_MARK}" in (
        ROOT / "docs" / "video.md"
    ).read_text(encoding="utf-8")


def test_coherence_of_the_shipped_model_is_worth_it():
    name = read_card(Settings().card).name
    for clip in ("calendar", "city"):
        apart, coherent = (
            shipped()[clip][f"{name}, {how}"] for how in ("frame by frame", "coherent")
        )
        assert coherent["warping_error"] <= 0.7 * apart["warping_error"]
        assert coherent["tof_px"] <= 0.7 * apart["tof_px"]
        assert coherent["lpips_sq"] <= 1.02 * apart["lpips_sq"]
        assert coherent["psnr_y_db"] >= apart["psnr_y_db"]
