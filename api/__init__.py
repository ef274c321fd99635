"""HTTP and nothing but HTTP: routes, headers, documentation, errors."""

from flask import Flask
from flask_restx import Api

from api import metadata, predict
from api.errors import register_errors
from api.health import health
from api.metrics import METRICS, Metrics, metrics
from api.service import EXTENSION, Service, model
from api.tracing import register_tracing

__all__ = ["Service", "create_api", "metadata", "predict"]

TITLE = "MAX Image Resolution Enhancer"
VERSION = "1.0.0"


def create_api(app: Flask, service: Service, *, shared_metrics: bool = False) -> Api:
    """Put the API on an application: its routes, its error answers, its headers.

    Args:
        shared_metrics: whether other processes count in the same files.
    """
    app.config.update(
        MAX_CONTENT_LENGTH=service.max_upload_bytes,
        RESTX_MASK_SWAGGER=False,
        ERROR_INCLUDE_MESSAGE=False,
        SWAGGER_UI_DOC_EXPANSION="list",
    )
    app.extensions[EXTENSION] = service
    api = Api(
        app,
        version=VERSION,
        title=TITLE,
        description=(
            f"Makes pictures {service.upscaler.scale} times as wide and high. "
            f"{service.upscaler.card.description} Details are invented, not recovered."
        ),
        license="Apache-2.0",
        license_url="https://www.apache.org/licenses/LICENSE-2.0",
    )
    for namespace in (model, health, metrics):
        api.add_namespace(namespace)
    figures = app.extensions[METRICS] = Metrics(service, shared=shared_metrics, version=VERSION)
    register_errors(app, api)
    register_tracing(app, [figures.observe])
    return api
