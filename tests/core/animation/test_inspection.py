from dataclasses import replace
from fractions import Fraction

import pytest

from core.animation.read import InspectedAnimation, check_inspected
from core.errors import ImageTooLarge
from core.images import Limits
from core.media.medium import ClipHeader, ClipLimits

LIMITS = ClipLimits(Limits(max_pixels=100, max_side=20, max_frames=5), max_seconds=2)
ANIMATION = InspectedAnimation(ClipHeader("GIF", 10, 10, 5, Fraction(1, 100), 2.0), plays=0)


def changed(**changes):
    return ANIMATION._replace(header=replace(ANIMATION.header, **changes))


def test_an_animation_within_the_limits_is_accepted():
    assert check_inspected(ANIMATION, LIMITS) is None


@pytest.mark.parametrize(
    "animation",
    [
        changed(width=0),
        changed(frames=0),
        changed(time_base=Fraction(0)),
        changed(seconds=-1.0),
        ANIMATION._replace(plays=-1),
    ],
)
def test_an_animation_that_no_file_has_is_refused(animation):
    with pytest.raises(ValueError, match="an animation"):
        check_inspected(animation, LIMITS)


@pytest.mark.parametrize(
    "changes", [{"width": 11}, {"height": 1, "width": 21}, {"frames": 6}, {"seconds": 2.5}]
)
def test_an_animation_beyond_the_limits_is_refused(changes):
    with pytest.raises(ImageTooLarge):
        check_inspected(changed(**changes), LIMITS)
