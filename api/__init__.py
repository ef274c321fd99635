"""HTTP and nothing but HTTP: routes, headers, documentation, errors."""

from flask import Flask
from flask_restx import Api

from api import metadata, predict
from api.errors import register_errors
from api.page import register_page
from api.service import EXTENSION, Service, model
from api.tracing import register_tracing

__all__ = ["Service", "create_api", "metadata", "predict"]

TITLE = "MAX Image Resolution Enhancer"
VERSION = "1.0.0"


def create_api(app: Flask, service: Service, *, has_page: bool = True) -> Api:
    """Put the API on an application: its routes, its error answers, its headers.

    Args:
        has_page: whether there is a page for browsers too.
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
        description=describe(service, has_page=has_page),
        license="Apache-2.0",
        license_url="https://www.apache.org/licenses/LICENSE-2.0",
    )
    api.add_namespace(model)
    register_errors(app, api)
    register_tracing(app)
    if has_page:
        register_page(app)
    return api


def describe(service: Service, *, has_page: bool) -> str:
    """What Swagger UI says above the routes, Markdown."""
    upscaler = service.upscaler
    sentences = [
        f"Makes pictures {upscaler.scale} times as wide and high.",
        upscaler.card.description,
        "Details are invented, not recovered.",
    ]
    if has_page:
        sentences.append("For pictures by hand there is [a page](app/).")
    return " ".join(sentences)
