import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from config import ROOT, Settings
from core.images import encode_png, resize_bicubic
from core.model.card import read_card
from core.picture import Picture
from core.temporal.fusion import FLOW_SCALE, find_motion
from tests.support.stand_ins import noise
from training import CommandFailed
from training.evaluation.evaluate_video import (
    ABSENT,
    FIRST_MARK,
    LAST_MARK,
    ORIGINAL,
    PAN_FRAMES,
    PAN_STEP,
    VideoEvaluation,
    as_table,
    find_motion_by_farneback,
    make_pans,
    read_clips,
)
from training.evaluation.metrics import grey

HEIGHT, WIDTH, FRAMES = 64, 80, 4


def sliding(step):
    """Return soft texture that moves to the left by `step` px a frame, (4, 64, 80, 3) uint8."""
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


def test_an_evaluation_measures_everything_and_writes_all_its_files(evaluation):
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


def test_pans_have_exact_flow_and_without_weights_no_perceptual_figures(evaluation, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = Picture(resize_bicubic(noise(30, 40), 240, 320))
    (folder / "wall.png").write_bytes(encode_png(picture))
    means = replace(evaluation, video=None, pans=folder, perceptual=None).run()
    assert list(means) == ["pans", "noisy pans"]
    assert "tiny, coherent, exact flow" in means["pans"]
    assert means["pans"]["bicubic"].keys() == {"warping_error", "tof_px", "psnr_y_db", "ssim_y"}


def test_a_missing_figure_is_a_dash():
    means = {"slow": {ORIGINAL: {"warping_error": 1e-3}, "x": {"warping_error": 2e-3, "tlp": 0.05}}}
    lines = as_table(means).splitlines()
    assert lines[2] == f"| slow | original | 10.00 | {ABSENT} |"
    assert lines[3] == "| slow | x | 20.00 | 5.00 |"


def write_frames(folder, count, height=42, width=50):
    folder.mkdir(parents=True)
    for number in range(count):
        picture = Picture(noise(height, width, seed=number))
        (folder / f"{number:03}.png").write_bytes(encode_png(picture))


def test_frames_come_in_the_order_of_their_names(tmp_path):
    write_frames(tmp_path / "street" / "HR", 3)
    (clip,) = read_clips(tmp_path)
    assert (clip.group, clip.name, clip.motions) == ("street", "street", ())
    assert np.array_equal(clip.hr[2], noise(42, 50, seed=2)[:40, :48])
    assert np.array_equal(clip.lr[1], resize_bicubic(clip.hr[1], 10, 12))


@pytest.mark.parametrize("count", [0, 1])
def test_a_clip_has_two_frames_or_more(tmp_path, count):
    write_frames(tmp_path / "street" / "HR", count)
    with pytest.raises(CommandFailed, match=f"two frames or more. Received: {count}"):
        read_clips(tmp_path)


def test_a_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(CommandFailed, match="Received: none"):
        read_clips(tmp_path)


@pytest.fixture
def pans(tmp_path):
    coarse = noise(60, 80).astype(np.uint8)
    picture = resize_bicubic(coarse, 480, 640)
    (tmp_path / "wall.png").write_bytes(encode_png(Picture(picture)))
    return make_pans(tmp_path)


def test_there_is_a_pan_with_noise_and_one_without(pans):
    clean, noisy = pans
    assert [clip.group for clip in pans] == ["pans", "noisy pans"]
    assert len(clean.hr) == len(clean.lr) == len(clean.motions) + 1 == PAN_FRAMES
    assert np.array_equal(clean.hr, noisy.hr)
    assert 2 < (noisy.lr.astype(float) - clean.lr).std() < 3


def test_the_known_motion_of_a_pan_equals_the_estimated_one(pans):
    clip = pans[0]
    for before, present, known in zip(clip.lr, clip.lr[1:], clip.motions, strict=False):
        found = find_motion(grey(present), grey(before))
        assert known.flow.shape == found.flow.shape
        inner = np.s_[FLOW_SCALE * 8 : -FLOW_SCALE * 8, FLOW_SCALE * 8 : -FLOW_SCALE * 8]
        assert np.median(np.abs(known.flow - found.flow)[inner]) < 0.05


def test_a_pan_moves_by_its_step(pans):
    middle = pans[0].motions[0].flow
    centre = middle[middle.shape[0] // 2, middle.shape[1] // 2]
    assert 4 * centre == pytest.approx(PAN_STEP, abs=0.05)


def texture(shift):
    """Return soft grey texture, (96, 128) uint8, moved to the right by `shift` px."""
    large = cv2.resize(noise(40, 50), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    move = np.array([[1, 0, shift - 60], [0, 1, -60]], np.float64)
    return cv2.warpAffine(large, move, (128, 96), flags=cv2.INTER_CUBIC)[..., 0]


@pytest.mark.parametrize("side", [20, 96])
def test_farneback_finds_the_same_motion_as_dis(side):
    present, before = (texture(shift)[:side] for shift in (1.5, 0))
    one, other = (find(present, before) for find in (find_motion, find_motion_by_farneback))
    assert one.flow.shape == other.flow.shape
    assert one.confidence.shape == other.confidence.shape
    gaps = np.abs(one.flow - other.flow)[8:-8, 24:-24]
    assert np.median(gaps) < 0.2


def shipped():
    return json.loads((ROOT / "docs" / "video.json").read_text())["means"]


def test_the_video_document_shows_the_shipped_figures():
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
