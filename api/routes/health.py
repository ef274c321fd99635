"""GET /health/live and /health/ready: whether to restart the service, whether to send it work."""

from http import HTTPStatus

from flask import request
from flask_restx import Namespace, Resource, fields

DRAINING = "enhancer.draining"  # in the WSGI environment, true once the server is being stopped

LIVE = {"status": "live"}
READY = {"status": "ready"}
STARTING = {"status": "starting"}
"""Answered by the server as long as there is no application."""
STOPPING = {"status": "stopping"}

health = Namespace("health", description="For those who run the service", path="/health")

health_schema = health.model("Health", {"status": fields.String(required=True, example="ready")})


@health.route("/live")
class LiveRoute(Resource):
    """Whether the process answers at all."""

    @health.doc("live", security=[])
    @health.response(200, "The process answers", health_schema)
    def get(self) -> dict[str, str]:
        """Whether the process answers"""
        return LIVE


@health.route("/ready")
class ReadyRoute(Resource):
    """Whether pictures are welcome."""

    @health.doc("ready", security=[])
    @health.response(200, "The network has answered once; pictures are welcome", health_schema)
    @health.response(503, "The model is being loaded, or the server stopped", health_schema)
    def get(self) -> tuple[dict[str, str], HTTPStatus]:
        """Whether pictures are welcome"""
        if request.environ.get(DRAINING, False):
            return STOPPING, HTTPStatus.SERVICE_UNAVAILABLE
        return READY, HTTPStatus.OK
