"""GET /model/progress/{id}: the progress of a request for a picture.

Each process knows its own requests only, and only while they are being answered. So there are
never more of them than threads.
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
from core.runtime.tile_tasks import RequestDeadline

PROGRESS_REGISTRY = "enhancer.progress"
"""Name of the registry among the extensions of the application."""


class ProgressState(StrEnum):
    """What the service does with a picture."""

    WAITING = "waiting"
    DECODING = "decoding"
    COMPUTING = "computing"


progress_schema = model.model(
    "Progress",
    {
        "state": fields.String(required=True, enum=[state.value for state in ProgressState]),
        "pictures_before": OrNull(
            fields.Integer(), "Number of pictures before this one. Null unless it is waiting"
        ),
        "tiles_done": fields.Integer(required=True, description="Number of tiles upscaled"),
        "tiles_total": fields.Integer(
            required=True, description="Number of tiles of the picture. 0 before it is decoded"
        ),
        "seconds_left": OrNull(
            fields.Float(), "Estimated seconds to the last tile. Null before it is decoded"
        ),
    },
)


@dataclass(eq=False)
class RequestProgress:
    """Progress of one picture, written by the thread of its request and read by others.

    Attributes:
        deadline: of the request; admission and the lane identify the picture by it.
        tiles_done: number of tiles that are computed and taken from the lane.
        tiles_total: number of tiles of the picture; 0 before it is decoded.
    """

    deadline: RequestDeadline
    tiles_done: int = 0
    tiles_total: int = 0

    def update(self, done: int, total: int) -> None:
        """Set how many tiles are done. Called by the upscaler after each tile."""
        self.tiles_done, self.tiles_total = done, total


class RequestProgressRegistry:
    """Pictures that this process is working on, by the ids of their requests."""

    def __init__(self) -> None:
        self._requests: dict[tuple[bytes, str], RequestProgress] = {}
        self._lock = threading.Lock()

    @contextmanager
    def registered(self, request_id: str, progress: RequestProgress) -> Iterator[None]:
        """Let the current caller find the progress of a request while the block runs.

        If a caller uses an id twice at a time, the later request is found.
        """
        key = registry_key(request_id)
        with self._lock:
            self._requests[key] = progress
        try:
            yield
        finally:
            with self._lock:
                if self._requests.get(key) is progress:
                    del self._requests[key]

    def find(self, request_id: str) -> RequestProgress:
        """Return the progress of the current caller's request with this id.

        Raises:
            UnknownRequest: if this process is working on no such request.
        """
        with self._lock:
            progress = self._requests.get(registry_key(request_id))
        if progress is None:
            raise UnknownRequest(
                "Request must be one for a picture that is under way in this process. "
                f"Received: {request_id[:LONGEST_QUOTE]!r}"
            )
        return progress


def registry_key(request_id: str) -> tuple[bytes, str]:
    """Return the id with the caller's API key: another caller may guess the id."""
    return g.get("key_digest", b""), request_id


def current_registry() -> RequestProgressRegistry:
    """Return the registry of the current application."""
    return cast(RequestProgressRegistry, current_app.extensions[PROGRESS_REGISTRY])


@model.route("/progress/<string:request_id>")
class ProgressRoute(Resource):
    """Progress of a request that another connection waits for."""

    @model.doc("progress", params={"request_id": "The `X-Request-Id` that the picture came with"})
    @model.response(200, "Progress of the picture", progress_schema)
    @model.response(401, "No key, or a wrong one, where keys are set", error_schema)
    @model.response(404, "Answered already, or not known to this process", error_schema)
    def get(self, request_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Get the progress of a picture posted to /model/predict."""
        progress = current_registry().find(request_id)
        return describe_progress(progress, current_service()), 200, {"Cache-Control": NOT_STORED}


def describe_progress(progress: RequestProgress, service: ServiceContext) -> dict[str, Any]:
    """Return the progress as JSON: waiting for memory, decoding, waiting for the lane, in it."""
    before = service.admission.before(progress.deadline)
    if before is not None:
        return progress_json(progress, ProgressState.WAITING, before=before)
    if not progress.tiles_total:
        return progress_json(progress, ProgressState.DECODING)
    position = service.upscaler.scheduler.position(progress.deadline)
    if position is None:  # not in the lane yet, or done and being encoded
        return progress_json(progress, ProgressState.COMPUTING, left_s=0.0)
    state = ProgressState.WAITING if position.before else ProgressState.COMPUTING
    before = position.before or None
    return progress_json(progress, state, before=before, left_s=position.left_s)


def progress_json(
    progress: RequestProgress,
    state: ProgressState,
    *,
    before: int | None = None,
    left_s: float | None = None,
) -> dict[str, Any]:
    """Return the progress in the form of `progress_schema`."""
    return {
        "state": state.value,
        "pictures_before": before,
        "tiles_done": progress.tiles_done,
        "tiles_total": progress.tiles_total,
        "seconds_left": None if left_s is None else round(left_s, 1),
    }
