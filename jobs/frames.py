"""Frames of jobs on their way through the service's network: behind all pictures."""

import time
from contextlib import ExitStack

from core.admission import Admission
from core.coherence import PIXEL_BYTES
from core.costs import Plan
from core.errors import Overloaded
from core.picture import Header, Picture
from core.recurrence import MOST_BYTES
from core.scheduler import LOOK_EVERY_S, Patience, check_patience
from core.upscaler import Upscaler

HELD_WHOLE = "whole"
"""A format of `core.costs.Plan` that is none which is sent while it is made."""


class FrameUpscaler:
    """Upscales frames one after the other, in the background; a `core.clips.UpscalePicture`.

    The memory of a frame is admitted before it is upscaled and held until the next one, as
    the medium that asked still works on it. If a picture waits for memory then, it goes
    first.

    Args:
        upscaler: of the service.
        admission: of the service.
        detail: how much is made up, in [0, 1].
        is_clip: whether frames are upscaled with a memory of those before.
        patience: with the network and with admission; says when the job is to be left.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        admission: Admission,
        *,
        detail: float,
        is_clip: bool,
        patience: Patience,
    ) -> None:
        self._upscaler = upscaler
        self._is_clip = is_clip
        self._admission = admission
        self._detail = detail
        self._patience = patience
        self._held_bytes = 0
        self._holding = ExitStack()

    def __call__(self, lr: Picture) -> Picture:
        """Upscale a frame.

        Raises:
            TooMuchMemory: if it needs more than there is for all.
            RequestAbandoned, DeadlineExceeded: as `patience` says.
        """
        self._hold(self.cost(lr))
        return self._upscaler.upscale(
            lr, detail=self._detail, patience=self._patience, is_background=True
        )

    def cost(self, lr: Picture) -> int:
        """Bytes of memory that a frame takes at most."""
        header = Header(lr.height, lr.width, lr.channels, lr.bits)
        return frame_bytes(self._upscaler, header, is_clip=self._is_clip)

    def close(self) -> None:
        """Hold nothing any more."""
        self._holding.close()
        self._held_bytes = 0

    def _hold(self, cost: int) -> None:
        if self._held_bytes >= cost and not self._admission.waiting:
            return
        self.close()
        while True:
            try:
                self._holding.enter_context(self._admission.admit(cost, self._patience))
                self._held_bytes = cost
                return
            except Overloaded:  # the line is for pictures: stand behind it
                time.sleep(LOOK_EVERY_S)
                check_patience(self._patience, time.monotonic())


def frame_bytes(upscaler: Upscaler, header: Header, *, is_clip: bool) -> int:
    """Bytes of memory that a frame of this kind takes at most.

    Args:
        upscaler: of the service.
        header: of the frame.
        is_clip: whether others before it are remembered.
    """
    rows = upscaler.plan(header.height, header.width, is_background=True)
    alone = Plan(header, rows, HELD_WHOLE, upscaler.scale).memory_bytes
    sr_pixels = upscaler.scale**2 * header.height * header.width
    return alone + is_clip * (MOST_BYTES + PIXEL_BYTES * sr_pixels)
