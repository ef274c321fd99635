"""The share of the network's time that the background gets while there are pictures."""

DEFAULT_SHARE = 0.2
"""Share of the background unless another one is set."""

MOST_SHARE = 0.9
"""Largest share that can be set."""

MOST_OWED_S = 0.5
"""Time that the background is owed at most while it has no task.

By default it makes up for a pause of two seconds between two frames. It is also how long the first
frame of a job may go before pictures.
"""


class BackgroundShare:
    """An account of the time that pictures owe the background.

    Each second that the network works for pictures earns the background share / (1 - share)
    seconds. The next task of the background is due when it has earned the time of that task. So
    while both have tasks, of any period the background gets its share, less the time of one task,
    and pictures get the rest, less the time of one task.

    Attributes:
        share: of the time, in [0, `MOST_SHARE`]; with 0, no task is ever due.
    """

    def __init__(self, share: float = DEFAULT_SHARE) -> None:
        self.share = share
        self._owed_s = 0.0

    def is_due(self, task_s: float) -> bool:
        """Return whether a task of the background, which takes this long, goes before pictures."""
        return self.share > 0 and self._owed_s >= min(task_s, MOST_OWED_S)

    def add_picture(self, seconds: float, *, is_background_waiting: bool) -> None:
        """Count a time in which the network worked for a picture."""
        owed_s = self._owed_s + seconds * self.share / (1 - self.share)
        if is_background_waiting:
            self._owed_s = owed_s
        else:
            self._owed_s = min(owed_s, max(self._owed_s, MOST_OWED_S))

    def add_background(self, seconds: float, *, was_due: bool) -> None:
        """Count a time in which the network worked for the background.

        Args:
            seconds: the time.
            was_due: False if it ran because there was no picture. Then it pays what is owed, but
                leaves no debt.
        """
        least_s = float("-inf") if was_due else min(self._owed_s, 0.0)
        self._owed_s = max(self._owed_s - seconds, least_s)
