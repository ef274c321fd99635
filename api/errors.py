"""Error responses: the status, message and headers of every exception."""

import sys
from http import HTTPStatus

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_restx import Api
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
    TooManyRequests,
    Unauthorized,
)

from api.access import CHALLENGE
from api.context import JOBS_PATH, current_service
from api.server.connection import RequestTimeout
from core.errors import (
    ClipTooLarge,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidDetail,
    InvalidModel,
    InvalidOptions,
    InvalidRestore,
    ModelUnavailable,
    Overloaded,
    RequestAbandoned,
    RetryLater,
    SuperResolutionError,
    TooMuchMemory,
    UnreadableArchive,
    UnreadableClip,
    UnreadableImage,
    UnsupportedClip,
    UnsupportedImage,
)
from jobs.errors import (
    EngineUnavailable,
    JobUnfinished,
    KeyReused,
    OutOfSpace,
    ResultGone,
    TooManyJobs,
    TooManyWatchers,
    UnknownJob,
)

LONGEST_QUOTE = 40
"""Largest number of characters of a caller's text in an error message."""

CLIENT_CLOSED_REQUEST = 499
"""Status that nginx logs for a client that hung up. Nobody reads the response."""

STATUS: dict[type[SuperResolutionError], int] = {
    UnreadableImage: HTTPStatus.BAD_REQUEST,
    UnsupportedImage: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    UnreadableClip: HTTPStatus.BAD_REQUEST,
    UnsupportedClip: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ClipTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnreadableArchive: HTTPStatus.BAD_REQUEST,
    InvalidOptions: HTTPStatus.BAD_REQUEST,
    InvalidDetail: HTTPStatus.BAD_REQUEST,
    InvalidRestore: HTTPStatus.BAD_REQUEST,
    InvalidModel: HTTPStatus.BAD_REQUEST,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooMuchMemory: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    RequestAbandoned: CLIENT_CLOSED_REQUEST,
    UnknownJob: HTTPStatus.NOT_FOUND,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    JobUnfinished: HTTPStatus.CONFLICT,
    ResultGone: HTTPStatus.GONE,
    OutOfSpace: HTTPStatus.INSUFFICIENT_STORAGE,
    TooManyJobs: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyWatchers: HTTPStatus.SERVICE_UNAVAILABLE,
    EngineUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Status by error of the core or of jobs; subclasses have that of their nearest ancestor."""


class InvalidRequest(Exception):
    """The request is not one that the route accepts."""


class InvalidUpload(InvalidRequest):
    """The request does not carry exactly one file in the right field."""


class InvalidField(InvalidRequest):
    """A form field has a value that it must not have."""


class InvalidHeader(InvalidRequest):
    """A header has a value that it must not have."""


class UnknownRequest(InvalidRequest):
    """This process is working on no such request."""


def register_errors(app: Flask, api: Api) -> None:
    """Answer every error with `{"message": ...}`, on the routes of the API and elsewhere.

    There is one handler, because Flask-RESTX calls the first one that matches, not the nearest.
    """
    api.errorhandler(Exception)(error_response)
    app.register_error_handler(Exception, error_response_outside_api)


def error_response(error: Exception) -> ResponseReturnValue:
    """Return the body, status and headers for an error."""
    status = status_of(error)
    return {"message": message_of(error, status)}, status, headers_of(error)


def error_response_outside_api(error: Exception) -> ResponseReturnValue:
    """Log a failure, which only Flask-RESTX does by itself, and return the error response."""
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        current_app.log_exception(sys.exc_info())
    return error_response(error)


def status_of(error: Exception) -> int:
    """Return the status of an error: 500 if neither it nor an ancestor is known."""
    if isinstance(error, HTTPException) and error.code is not None:
        return error.code
    if isinstance(error, UnknownRequest):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, InvalidRequest):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, RequestTimeout):
        return HTTPStatus.REQUEST_TIMEOUT
    for cls in type(error).__mro__:
        if issubclass(cls, SuperResolutionError) and cls in STATUS:
            return STATUS[cls]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def message_of(error: Exception, status: int) -> str:
    """Return the message for the caller. Details of internal errors are only logged."""
    if isinstance(error, SuperResolutionError) and status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return str(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return HTTPStatus(status).phrase
    if isinstance(error, NotFound):
        return not_found_message()
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return f"Method must be one of {allowed}. Received: {request.method}"
    if isinstance(error, RequestEntityTooLarge):
        return exceeded_limit_message()
    if isinstance(error, RequestedRangeNotSatisfiable):
        return (
            f"Range must begin within the {error.length} bytes of the result. "
            f"Received: {request.headers.get('Range', '')[:LONGEST_QUOTE]!r}"
        )
    if isinstance(error, TooManyRequests):
        return f"Requests must be at most {error.description}. Received: one more."
    if isinstance(error, HTTPException):
        return str(error.description)
    return str(error)


def not_found_message() -> str:
    """Return a message that names the known paths, or says that jobs are turned off."""
    if f"{request.path}/".startswith(f"{JOBS_PATH}/") and current_service().jobs is None:
        return (
            "Jobs must be enabled for this path, and are turned off on this server (DISABLE_JOBS). "
            f"Received: {request.path}"
        )
    return f"Path must be one of {', '.join(known_paths())}. Received: {request.path}"


def known_paths() -> list[str]:
    """Return the paths without parameters, for messages."""
    return sorted({rule.rule for rule in current_app.url_map.iter_rules() if not rule.arguments})


def exceeded_limit_message() -> str:
    """Return a message that names the exceeded limit on the size of the request."""
    config, length = current_app.config, request.content_length
    limit = request.max_content_length
    if length is None or limit is None or length > limit:
        return f"Request must have at most {limit} bytes. Received: {received_length()}."
    parts, field_bytes = config["MAX_FORM_PARTS"], config["MAX_FORM_MEMORY_SIZE"]
    return (
        f"Request must have at most {parts} parts, and at most {field_bytes} bytes in the "
        "parts that are not files. Received: more."
    )


def received_length() -> str:
    """Return the length of the current request in words."""
    length = request.content_length
    return "more, of unstated length" if length is None else f"{length} bytes"


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers that the status requires, as 405 requires `Allow`."""
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(sorted(error.valid_methods or ()))}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": CHALLENGE}
    if isinstance(error, RequestedRangeNotSatisfiable):
        return {"Content-Range": f"{error.units} */{error.length}"}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(g.get("retry_after_s", 1))}
    if isinstance(error, RetryLater):
        return {"Retry-After": str(error.retry_after_s)}
    return {}
