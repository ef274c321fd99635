"""When packets are decoded, so that their frames can be shown when they should."""

from collections.abc import Sequence


def decoding_times(starts: Sequence[int]) -> list[int]:
    """Times of decoding, ascending and never after the time of showing.

    Encoders know theirs only within what they encoded; behind each other, those of two
    segments would go back in time.

    Args:
        starts: when the frame of each packet is shown, in order of decoding, all different.

    >>> decoding_times([0, 3, 1, 2, 4])  # the frame at 3 is decoded before those it is made of
    [-1, 0, 1, 2, 3]
    """
    if not starts:
        return []
    shown = sorted(starts)
    place = {start: index for index, start in enumerate(shown)}
    delay = max(index - place[start] for index, start in enumerate(starts))
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    before = [shown[0] - step * count for count in range(delay, 0, -1)]
    return (before + shown)[: len(starts)]
