"""The HTTP API: routes, headers, OpenAPI document and error responses."""

from typing import Any

from flask import Flask, request
from flask_restx import Api
from werkzeug.http import parse_date

from api.access import (
    SECURITY_SCHEMES,
    KeyRing,
    register_keys,
    register_rate_limit,
    register_security_headers,
)
from api.context import EXTENSION, AccessPolicy, JobServiceContext, ServiceContext, model
from api.errors import register_errors
from api.observability.metrics import METRICS, Metrics, metrics
from api.observability.tracing import register_tracing
from api.responses import STREAM_LIMIT, EventStreamLimit
from api.routes import estimate, predict, progress
from api.routes import status as metadata
from api.routes.jobs import jobs
from api.routes.page import register_page
from api.routes.progress import PROGRESS_REGISTRY, RequestProgressRegistry
from api.routes.status import health

__all__ = [
    "AccessPolicy",
    "JobServiceContext",
    "ServiceContext",
    "create_api",
    "estimate",
    "metadata",
    "predict",
    "progress",
]

TITLE = "MAX Image Resolution Enhancer"
VERSION = "1.0.0"

MAX_FORM_PARTS = 32
MAX_FORM_BYTES = 128 * 1024  # of all text fields together; more than Werkzeug reads at once

DATE_CONDITIONS = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")
"""Headers that make a request conditional and may hold a date, as WSGI names them."""

NO_DATE = "no date"
"""Text that is neither a date nor the ETag of a file."""


class RelocatableApi(Api):
    """API whose OpenAPI document names the path below which the current request found it.

    Flask-RESTX builds the document once, with the path of the first request.
    """

    @property
    def __schema__(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return {**super().__schema__, "basePath": self.base_path.rstrip("/") or "/"}


def create_api(
    app: Flask,
    service: ServiceContext,
    access: AccessPolicy | None = None,
    *,
    shared_metrics: bool = False,
    has_page: bool = True,
) -> Api:
    """Add the API to an application: routes, error responses, headers, metrics.

    Args:
        app: the application.
        service: what the routes work with.
        access: who may use the service, and how often; None for no limits.
        shared_metrics: whether several processes count in the same files.
        has_page: whether to serve the web page.
    """
    access = access or AccessPolicy()
    keys = KeyRing(access.keys)
    configure(app, service)
    api = RelocatableApi(
        app,
        version=VERSION,
        title=TITLE,
        description=api_description(service, has_page=has_page),
        authorizations=SECURITY_SCHEMES if keys else None,
        security=list(SECURITY_SCHEMES) if keys else None,
        license="Apache-2.0",
        license_url="https://www.apache.org/licenses/LICENSE-2.0",
    )
    add_namespaces(api, service)
    app.extensions[METRICS] = Metrics(service, shared=shared_metrics, version=VERSION)
    app.before_request(ignore_dates_out_of_range)
    register_errors(app, api)
    register_tracing(app, [app.extensions[METRICS].observe])  # first, to trace refusals too
    register_security_headers(app)
    register_keys(app, keys)
    register_rate_limit(app, access.rate_limit, access.rate_limit_storage)
    if has_page:
        register_page(app)
    return api


def configure(app: Flask, service: ServiceContext) -> None:
    """Set the options of Flask and Flask-RESTX, and what routes find in the application."""
    app.config.update(
        MAX_CONTENT_LENGTH=service.max_upload_bytes,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES,
        RESTX_MASK_SWAGGER=False,
        ERROR_INCLUDE_MESSAGE=False,
        SWAGGER_UI_DOC_EXPANSION="list",
    )
    app.extensions[EXTENSION] = service
    app.extensions[PROGRESS_REGISTRY] = RequestProgressRegistry()
    if service.jobs is not None:
        app.extensions[STREAM_LIMIT] = EventStreamLimit(service.jobs.watchers)


def ignore_dates_out_of_range() -> None:
    """Replace dates with numbers that are too large: Werkzeug raises instead of ignoring them.

    Source: RFC 9110, sections 13.1.3 to 13.1.5: conditions with an invalid date are ignored, and
    the whole file is sent if that of `If-Range` is invalid.
    """
    for name in DATE_CONDITIONS:
        try:
            parse_date(request.environ.get(name))
        except OverflowError:
            request.environ[name] = NO_DATE


def add_namespaces(api: Api, service: ServiceContext) -> None:
    """Add the routes, in the order in which Swagger UI shows them."""
    namespaces = [model, health, metrics]
    if service.jobs is not None:
        namespaces.insert(1, jobs)
    for namespace in namespaces:
        api.add_namespace(namespace)


def api_description(service: ServiceContext, *, has_page: bool) -> str:
    """Return the text that Swagger UI shows above the routes, in Markdown."""
    upscaler = service.upscaler
    sentences = [
        f"Upscales pictures {upscaler.scale} times in width and height, or to another size.",
        upscaler.card.description,
        "Details are synthesised, not recovered.",
    ]
    if has_page:
        sentences.append("To upscale pictures by hand, open [the web page](app/).")
    return " ".join(sentences)
