import shutil
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from core.images import decode_rgb, encode_png, resize_bicubic
from core.picture import Picture
from core.pixels import unit_from_uint8
from tests.support.photographs import rows_of
from tests.support.stand_ins import noise, repeat
from training.data.patches import (
    PatchSampler,
    TaughtSampler,
    fill_cache,
    orient,
    orient_back,
    read_patches,
)
from training.data.photos import Pair, make_pair


@pytest.fixture
def pairs():
    """Pairs whose HR is LR with every pixel repeated, so that misalignment shows."""
    lrs = [noise(12, 20, seed=1), noise(30, 9, seed=2)]
    return [Pair(repeat(lr), lr) for lr in lrs]


def sampler(pairs, **changes):
    return PatchSampler(pairs, **({"patch": 8, "batch": 16, "seed": 5} | changes))


def test_lr_and_hr_patches_show_the_same_place_in_the_same_orientation(pairs):
    lr_batch, hr_batch = sampler(pairs).draw(0)
    assert lr_batch.shape == (16, 8, 8, 3)
    for lr, hr in zip(lr_batch, hr_batch, strict=True):
        np.testing.assert_array_equal(hr, repeat(lr))


def test_patches_are_unit_float32(pairs):
    for side in sampler(pairs).draw(0):
        assert side.dtype == np.float32
        assert side.min() >= 0
        assert 0.9 < side.max() <= 1


def test_all_eight_orientations_occur():
    lr = noise(8, 8)
    lr_batch, _ = sampler([Pair(repeat(lr), lr)], batch=100).draw(0)
    assert len({patch.tobytes() for patch in lr_batch}) == 8


def test_a_batch_depends_on_seed_and_step_alone(pairs):
    first, again = sampler(pairs).draw(7)[0], sampler(pairs).draw(7)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, sampler(pairs).draw(8)[0])
    assert not np.array_equal(first, sampler(pairs, seed=6).draw(7)[0])


def test_a_batch_without_degradation_draws_only_photographs_positions_and_orientations(pairs):
    rng = np.random.default_rng((5, 7))  # seed, step
    chosen = rng.choice(2, 16, p=np.array([240, 270]) / 510)
    for received, lr in zip(sampler(pairs).draw(7)[0], [pairs[k].lr for k in chosen], strict=True):
        top, left = rng.integers(lr.shape[0] - 7), rng.integers(lr.shape[1] - 7)
        expected = orient(lr[top : top + 8, left : left + 8], rng.integers(4), rng.integers(2))
        np.testing.assert_array_equal(received, unit_from_uint8(expected))


def test_batches_drawn_ahead_come_in_order_from_the_first_step(pairs):
    drawn = sampler(pairs)
    for step, (lr, _) in enumerate(islice(drawn.batches(30), 12), start=30):
        np.testing.assert_array_equal(lr, drawn.draw(step)[0])


def test_a_degraded_batch_depends_on_seed_and_step_alone(degradation):
    pairs = [make_pair(noise(80, 120))]
    first, again = (sampler(pairs, degradation=degradation).draw(7) for _ in range(2))
    for received, expected in zip(again, first, strict=True):
        np.testing.assert_array_equal(received, expected)
    assert not np.array_equal(first[0], sampler(pairs, degradation=degradation).draw(8)[0])


def test_degraded_patches_have_the_orientation_of_hr(degradation):
    pair = make_pair(resize_bicubic(noise(9, 12, seed=3), 144, 192))
    lr, hr = sampler([pair], batch=64, degradation=degradation).draw(0)
    clean = hr.reshape(64, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    oriented = [[orient(patch, k % 4, k // 4) for patch in clean] for k in range(8)]
    as_drawn, *otherwise = (np.abs(np.stack(patches) - lr).mean() for patches in oriented)
    assert as_drawn < 0.05 < 0.1 < min(otherwise)


def test_photographs_smaller_than_a_patch_are_left_out(pairs):
    assert len(sampler(pairs, patch=10).pairs) == 1
    with pytest.raises(ValueError, match="must be 52 px high and wide"):
        sampler(pairs, patch=13)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", range(2))
def test_orient_back_inverts_orient(turns, mirrored):
    pictures = np.random.default_rng(0).random((2, 6, 4, 3))
    turned = orient(pictures, turns, mirrored)
    assert turned.shape == ((2, 6, 4, 3) if turns % 2 == 0 else (2, 4, 6, 3))
    np.testing.assert_array_equal(orient_back(turned, turns, mirrored), pictures)


def test_the_eight_orientations_differ():
    pictures = np.random.default_rng(0).random((1, 4, 4, 1))
    seen = {orient(pictures, k, m).tobytes() for k in range(4) for m in range(2)}
    assert len(seen) == 8


ORIGIN = {"teacher": "inverted", "seed": 5}
COUNT = 6


def inverted(lr):
    """A teacher whose SR is a negative."""
    return 255 - repeat(lr)


def fill(cache, pairs, count=COUNT, origin=ORIGIN, teacher=inverted, **changes):
    fill_cache(cache, sampler(pairs, **changes), count, origin, teacher)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def cache(pairs, tmp_path):
    fill(tmp_path / "cache", pairs)
    return tmp_path / "cache"


def taught(pairs, cache, share=0.5, **changes):
    options = {"patch": 8, "batch": 16, "seed": 5} | changes
    return TaughtSampler(pairs, cache=cache, share=share, **options)


def test_a_cache_holds_lr_and_the_sr_of_the_teacher_for_every_patch(cache, pairs):
    rows = rows_of(cache / "patches.csv")
    assert [row["file"] for row in rows] == [f"{index:06}.png" for index in range(COUNT)]
    for row in rows:
        lr, sr = (decode_rgb((cache / kind / row["file"]).read_bytes()) for kind in ("lr", "sr"))
        top, left = int(row["top"]), int(row["left"])
        whole = pairs[int(row["pair"])].lr
        np.testing.assert_array_equal(lr, whole[top : top + 8, left : left + 8])
        np.testing.assert_array_equal(sr, inverted(lr))


@pytest.mark.parametrize("moment", ["teacher", "row"])
def test_a_cache_survives_a_kill(pairs, cache, tmp_path, moment):
    """Killed in the fourth patch: before its SR, or within its row."""
    again = tmp_path / "again"
    calls = []

    def killed(lr):
        calls.append(lr)
        if moment == "teacher" and len(calls) == 4:
            raise KeyboardInterrupt
        return inverted(lr)

    if moment == "teacher":
        with pytest.raises(KeyboardInterrupt):
            fill(again, pairs, teacher=killed)
    else:
        fill(again, pairs, count=4, teacher=killed)
        table = again / "patches.csv"
        table.write_text(table.read_text()[:-5])
    assert len(read_patches(again)) == 3
    before = len(calls)
    fill(again, pairs, teacher=killed if moment == "row" else inverted)
    assert moment == "teacher" or len(calls) - before == COUNT - 3
    assert [path.relative_to(again) for path in contents(again)] == [
        path.relative_to(cache) for path in contents(cache)
    ]
    assert list(contents(again).values()) == list(contents(cache).values())


def test_a_cache_can_grow(pairs, cache, tmp_path):
    fill(tmp_path / "small", pairs, count=2)
    fill(tmp_path / "small", pairs, count=COUNT)
    assert list(contents(tmp_path / "small").values()) == list(contents(cache).values())


def test_a_cache_of_another_teacher_is_not_continued(pairs, cache):
    with pytest.raises(ValueError, match="Received: a cache with another teacher"):
        fill(cache, pairs, origin=ORIGIN | {"teacher": "other"})


def test_degraded_patches_are_taught_and_clean_ones_left_out(degradation, tmp_path):
    pairs = [make_pair(resize_bicubic(noise(8, 10, seed=3), 160, 200))]
    half = replace(degradation, clean_share=0.5, noise_sigma=[8.0, 8.0])
    fill(tmp_path, pairs, degradation=half, teacher=None)
    assert not (tmp_path / "sr").exists()
    for row in rows_of(tmp_path / "patches.csv"):
        lr = decode_rgb((tmp_path / "lr" / row["file"]).read_bytes())
        top, left = int(row["top"]), int(row["left"])
        clean = pairs[0].lr[top : top + 8, left : left + 8]
        assert np.sqrt(np.mean((lr - clean.astype(float)) ** 2)) >= 4


def test_a_share_of_the_patches_has_the_sr_of_the_teacher_as_target(pairs, cache):
    drawing, count = taught(pairs, cache, share=0.25), 0
    for step in range(20):
        lr, hr, target = drawing.draw(step)
        assert hr.shape == target.shape == (16, 32, 32, 3)
        for patch, high, wanted in zip(lr, hr, target, strict=True):
            np.testing.assert_array_equal(high, repeat(patch))
            is_taught = not np.array_equal(wanted, high)
            if is_taught:
                np.testing.assert_allclose(wanted, 1 - high, atol=1e-6)
            count += is_taught
    assert 40 < count < 120


def test_seed_and_step_determine_a_taught_batch(pairs, cache):
    for first, again in zip(
        taught(pairs, cache).draw(3), taught(pairs, cache).draw(3), strict=True
    ):
        np.testing.assert_array_equal(first, again)
    assert taught(pairs, cache, share=1.0).draw(3)[0].shape == (16, 8, 8, 3)


def test_outputs_of_another_program_can_have_another_format(pairs, cache):
    expected = taught(pairs, cache, share=1.0).draw(0)
    for path in (cache / "sr").iterdir():
        path.rename(path.with_suffix(".PNG"))
    for one, other in zip(expected, taught(pairs, cache, share=1.0).draw(0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_missing_outputs_are_reported(pairs, cache):
    (cache / "sr" / "000002.png").unlink()
    with pytest.raises(ValueError, match="Received: 5 files; 1 of 6 patches lack one"):
        taught(pairs, cache)
    shutil.rmtree(cache / "sr")
    with pytest.raises(ValueError, match="Received: 0 files; 6 of 6 patches lack one"):
        taught(pairs, cache)


def test_outputs_of_the_wrong_size_are_refused(pairs, cache):
    for path in (cache / "sr").iterdir():
        path.write_bytes(encode_png(Picture(noise(16, 16))))
    with pytest.raises(ValueError, match=r"must be 4 times as high and wide as LR, \(32, 32\)"):
        taught(pairs, cache, share=1.0).draw(0)


def test_changed_lr_is_noticed(pairs, cache):
    (cache / "lr" / "000003.png").write_bytes(encode_png(Picture(noise(8, 8, seed=99))))
    with pytest.raises(ValueError, match="000003.png must be as `teach` wrote it"):
        taught(pairs, cache)
    with pytest.raises(ValueError, match="000003.png must be as `teach` wrote it"):
        fill(cache, pairs)


def test_a_cache_of_other_photographs_is_refused(pairs, cache):
    with pytest.raises(ValueError, match="must be filled from these photographs"):
        taught(pairs[::-1], cache)
    with pytest.raises(ValueError, match="must be filled from these photographs"):
        taught(pairs, cache, patch=4)
