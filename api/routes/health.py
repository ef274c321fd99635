"""GET /health/live and /health/ready: probes that decide on restarts and on traffic."""

from http import HTTPStatus

from flask import request
from flask_restx import Namespace, Resource, fields

DRAINING = "enhancer.draining"
"""Name of a flag in the WSGI environment: true once the server is stopping."""

LIVE = {"status": "live"}
READY = {"status": "ready"}
STARTING = {"status": "starting"}
"""Sent by the worker until the application is loaded."""

STOPPING = {"status": "stopping"}

health = Namespace("health", description="Probes for operators", path="/health")

health_schema = health.model("Health", {"status": fields.String(required=True, example="ready")})


@health.route("/live")
class LiveRoute(Resource):
    """Liveness probe."""

    @health.doc("live", security=[])
    @health.response(200, "The process answers", health_schema)
    def get(self) -> dict[str, str]:
        """Check that the process answers."""
        return LIVE


@health.route("/ready")
class ReadyRoute(Resource):
    """Readiness probe."""

    @health.doc("ready", security=[])
    @health.response(200, "The service accepts pictures", health_schema)
    @health.response(503, "The model is being loaded, or the server is stopping", health_schema)
    def get(self) -> tuple[dict[str, str], HTTPStatus]:
        """Check that the service accepts pictures."""
        if request.environ.get(DRAINING, False):
            return STOPPING, HTTPStatus.SERVICE_UNAVAILABLE
        return READY, HTTPStatus.OK
