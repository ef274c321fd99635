"""HTTP and nothing but HTTP: routes, headers, documentation, errors."""

from flask import Flask
from flask_restx import Api

from api.access import SCHEMES, KeyRing, register_headers, register_keys, register_rate_limit
from api.context import EXTENSION, AccessPolicy, JobServiceContext, ServiceContext, model
from api.errors import register_errors
from api.observability.metrics import METRICS, Metrics, metrics
from api.observability.tracing import register_tracing
from api.responses import WATCHERS, EventStreamLimit
from api.routes import metadata, predict, progress
from api.routes.health import health
from api.routes.jobs import jobs
from api.routes.page import register_page
from api.routes.progress import ERRANDS, RequestProgressRegistry

__all__ = [
    "AccessPolicy",
    "JobServiceContext",
    "ServiceContext",
    "create_api",
    "metadata",
    "predict",
    "progress",
]

TITLE = "MAX Image Resolution Enhancer"
VERSION = "1.0.0"

MOST_FORM_PARTS = 32
MOST_FORM_BYTES = 128 * 1024  # of all fields that are no files; more than Werkzeug reads at once


def create_api(
    app: Flask,
    service: ServiceContext,
    access: AccessPolicy | None = None,
    *,
    shared_metrics: bool = False,
    has_page: bool = True,
) -> Api:
    """Put the API on an application: its routes, its error answers, its headers.

    Args:
        access: who may use it, and how often; None for everybody, always.
        shared_metrics: whether other processes count in the same files.
        has_page: whether there is a page for browsers too.
    """
    access = access or AccessPolicy()
    keys = KeyRing(access.keys)
    app.config.update(
        MAX_CONTENT_LENGTH=service.max_upload_bytes,
        MAX_FORM_PARTS=MOST_FORM_PARTS,
        MAX_FORM_MEMORY_SIZE=MOST_FORM_BYTES,
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
        authorizations=SCHEMES if keys else None,
        security=list(SCHEMES) if keys else None,
        license="Apache-2.0",
        license_url="https://www.apache.org/licenses/LICENSE-2.0",
    )
    app.extensions[ERRANDS] = RequestProgressRegistry()
    namespaces = [model, health, metrics]
    if service.jobs is not None:
        namespaces.insert(1, jobs)
        app.extensions[WATCHERS] = EventStreamLimit(service.jobs.watchers)
    for namespace in namespaces:
        api.add_namespace(namespace)
    figures = app.extensions[METRICS] = Metrics(service, shared=shared_metrics, version=VERSION)
    register_errors(app, api)
    register_tracing(app, [figures.observe])  # first, so that refusals are traced too
    register_headers(app)
    register_keys(app, keys)
    register_rate_limit(app, access.rate_limit, access.rate_limit_storage)
    if has_page:
        register_page(app)
    return api


def describe(service: ServiceContext, *, has_page: bool) -> str:
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
