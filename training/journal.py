"""What a run leaves to read: `log.csv`, and events for TensorBoard in `tensorboard/`."""

import csv
from pathlib import Path
from uuid import uuid4

import numpy as np
from tensorboardX import SummaryWriter

LOG = "log.csv"
EVENTS = "tensorboard"


class Journal:
    """Written to at every validation; a run that goes on writes on.

    Args:
        folder: of the run.
        step: at which it goes on; TensorBoard is told to forget later ones.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self._log = folder / LOG
        self._events = SummaryWriter(
            str(folder / EVENTS),
            purge_step=step + 1,
            filename_suffix=f".{uuid4().hex}",  # or two of one second share a file
        )

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._events.close()

    def note(self, step: int, line: dict[str, float]) -> None:
        """Append the figures of a step."""
        is_new = not self._log.exists()
        with self._log.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *line])
            if is_new:
                writer.writeheader()
            writer.writerow({"step": step} | line)
        for name, value in line.items():
            self._events.add_scalar(name, value, step)

    def show(self, step: int, sample: np.ndarray) -> None:
        """Keep a sample picture, (H, W, 3) uint8, for TensorBoard."""
        self._events.add_image("validation", sample, step, dataformats="HWC")
        self._events.flush()
