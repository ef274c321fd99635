import numpy as np
import pytest

from core.images import encode_png, resize_bicubic
from core.picture import Picture
from core.temporal.fusion import FLOW_SCALE, find_motion
from tests.support.stand_ins import noise
from training.errors import CommandFailed
from training.evaluation.motion import PAN_FRAMES, PAN_STEP, grey, make_pans, read_clips


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


def test_the_motion_that_is_known_is_the_one_that_is_seen(pans):
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
