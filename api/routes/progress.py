"""GET /model/progress/{id}: where a picture is whose request is under way.

Known are the requests of this process, as long as they are under way; so there are never more
of them than threads. Another process, or another replica, knows its own only.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from flask import current_app, g
from flask_restx import Resource, fields

from api.context import ServiceContext, current_service, error_schema, model
from api.errors import LONGEST_QUOTE, UnknownRequest
from api.responses import NOT_STORED, OrNull
from core.runtime.scheduler import RequestDeadline

ERRANDS = "enhancer.errands"  # among the extensions of an application


class ProgressState(StrEnum):
    """What happens to a picture."""

    WAITING = "waiting"
    DECODING = "decoding"
    COMPUTING = "computing"


progress_schema = model.model(
    "Progress",
    {
        "state": fields.String(required=True, enum=[state.value for state in ProgressState]),
        "pictures_before": OrNull(fields.Integer(), "Null unless it is waiting"),
        "tiles_done": fields.Integer(required=True),
        "tiles_total": fields.Integer(required=True, description="0 before it is decoded"),
        "seconds_left": OrNull(fields.Float(), "Of computing; null before it is computed"),
    },
)


@dataclass(eq=False)
class RequestProgress:
    """A picture under way, for those who ask from other threads.

    Attributes:
        patience: of its caller, by which queue and lane know it.
        tiles_done: that the network has computed, and that were taken.
        tiles_total: of the picture; 0 before it is decoded.
    """

    patience: RequestDeadline
    tiles_done: int = 0
    tiles_total: int = 0

    def tell(self, done: int, total: int) -> None:
        """Note how many tiles are done; a `core.model.upscaler.Progress`."""
        self.tiles_done, self.tiles_total = done, total


class RequestProgressRegistry:
    """Pictures under way in this process, by the ids of their requests."""

    def __init__(self) -> None:
        self._errands: dict[tuple[bytes, str], RequestProgress] = {}
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, request_id: str, errand: RequestProgress) -> Iterator[None]:
        """Let the current caller find an errand for as long as the block runs.

        Of two with one id, the later is found.
        """
        name = name_of(request_id)
        with self._lock:
            self._errands[name] = errand
        try:
            yield
        finally:
            with self._lock:
                if self._errands.get(name) is errand:
                    del self._errands[name]

    def find(self, request_id: str) -> RequestProgress:
        """The errand of the current caller that has this id.

        Raises:
            UnknownRequest: if there is none.
        """
        with self._lock:
            errand = self._errands.get(name_of(request_id))
        if errand is None:
            raise UnknownRequest(
                "Request must be one for a picture that is under way in this process. "
                f"Received: {request_id[:LONGEST_QUOTE]!r}"
            )
        return errand


def name_of(request_id: str) -> tuple[bytes, str]:
    """The id among those of the caller's key: ids are made up, and may be guessed."""
    return g.get("key_digest", b""), request_id


def current_errands() -> RequestProgressRegistry:
    return cast(RequestProgressRegistry, current_app.extensions[ERRANDS])


@model.route("/progress/<string:request_id>")
class ProgressRoute(Resource):
    """A request for a picture, seen from another one."""

    @model.doc("progress", params={"request_id": "The `X-Request-Id` that the picture came with"})
    @model.response(200, "Where the picture is", progress_schema)
    @model.response(401, "No key, or a wrong one, where keys are set", error_schema)
    @model.response(404, "Answered already, or not known to this process", error_schema)
    def get(self, request_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Where a picture is that was posted to /model/predict"""
        errand = current_errands().find(request_id)
        return describe(errand, current_service()), 200, {"Cache-Control": NOT_STORED}


def describe(errand: RequestProgress, service: ServiceContext) -> dict[str, Any]:
    """Where a picture is: in the line for memory, on its way to the lane, or in it."""
    before = service.admission.before(errand.patience)
    if before is not None:
        return answer(errand, ProgressState.WAITING, before=before)
    if not errand.tiles_total:
        return answer(errand, ProgressState.DECODING)
    standing = service.upscaler.scheduler.position(errand.patience)
    if standing is None:  # about to come, or done: its file is being written
        return answer(errand, ProgressState.COMPUTING, left_s=0.0)
    if standing.before:
        return answer(errand, ProgressState.WAITING, before=standing.before, left_s=standing.left_s)
    return answer(errand, ProgressState.COMPUTING, left_s=standing.left_s)


def answer(
    errand: RequestProgress,
    state: ProgressState,
    *,
    before: int | None = None,
    left_s: float | None = None,
) -> dict[str, Any]:
    return {
        "state": state.value,
        "pictures_before": before,
        "tiles_done": errand.tiles_done,
        "tiles_total": errand.tiles_total,
        "seconds_left": None if left_s is None else round(left_s, 1),
    }
