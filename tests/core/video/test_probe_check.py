from dataclasses import replace
from fractions import Fraction

import pytest

from core.errors import ClipTooLarge
from core.video.probe import check_probe, probe_clip
from tests.support.clip_files import LIMITS, scenes, write_clip


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    path = write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", scenes(5))
    (probe,) = probe_clip(path, LIMITS)
    return probe


def test_a_probe_of_a_clip_is_accepted(probe):
    assert check_probe(probe, LIMITS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": ()},
        {"starts": (3, 2, 1), "keys": ()},
        {"keys": (-1,)},
        {"keys": (0,) * 6},
        {"end": -1},
        {"format": "avi"},
        {"height": 0},
        {"time_base": Fraction(0)},
        {"rate": Fraction(-1)},
        {"rate": Fraction(2**62)},
        {"copied": (("attachment", "ttf"),)},
    ],
)
def test_a_probe_that_no_clip_has_is_refused(probe, changes):
    with pytest.raises(ValueError, match="a clip"):
        check_probe(replace(probe, **changes), LIMITS)


def test_the_number_of_frames_is_checked_before_their_order(probe):
    limits = replace(LIMITS, frame=replace(LIMITS.frame, max_frames=4))
    with pytest.raises(ClipTooLarge, match="at most 4 frames"):
        check_probe(replace(probe, starts=(5, 4, 3, 2, 1)), limits)


def test_a_probe_beyond_the_limits_is_refused(probe):
    with pytest.raises(ClipTooLarge):
        check_probe(replace(probe, height=10**6), LIMITS)
    with pytest.raises(ClipTooLarge):
        check_probe(replace(probe, starts=(0, 10**12), keys=()), LIMITS)
