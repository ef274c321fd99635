"""From errors to answers: one table, one place."""

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
from api.server.connection import RequestTimeout
from core.errors import (
    ClipTooLarge,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidDetail,
    InvalidOptions,
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

LONGEST_QUOTE = 40  # characters of a caller's text in an answer
CLIENT_CLOSED_REQUEST = 499  # for the log, as nginx has it: nobody reads the answer

STATUS: dict[type[SuperResolutionError], int] = {
    UnreadableImage: HTTPStatus.BAD_REQUEST,
    UnsupportedImage: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    UnreadableClip: HTTPStatus.BAD_REQUEST,
    UnsupportedClip: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ClipTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnreadableArchive: HTTPStatus.BAD_REQUEST,
    InvalidOptions: HTTPStatus.BAD_REQUEST,
    InvalidDetail: HTTPStatus.BAD_REQUEST,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    TooMuchMemory: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
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


class InvalidRequest(Exception):
    """The request is not what the route takes."""


class InvalidUpload(InvalidRequest):
    """The request does not carry exactly one file where it should."""


class InvalidField(InvalidRequest):
    """A form field is none of what it may be."""


class InvalidHeader(InvalidRequest):
    """A header is none of what it may be."""


class UnknownRequest(InvalidRequest):
    """There is no such request under way, in this process."""


def register_errors(app: Flask, api: Api) -> None:
    """Answer every error as `{"message": ...}`, on the API's routes and elsewhere.

    Flask-RESTX takes the first handler that matches, not the nearest: so there is one.
    """
    api.errorhandler(Exception)(answer)
    app.register_error_handler(Exception, answer_elsewhere)


def answer(error: Exception) -> ResponseReturnValue:
    """Body, status and headers for an error."""
    status = status_of(error)
    return {"message": message_of(error, status)}, status, headers_of(error)


def answer_elsewhere(error: Exception) -> ResponseReturnValue:
    """The same outside the API's routes, where Flask-RESTX logs no failure."""
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        current_app.log_exception(sys.exc_info())
    return answer(error)


def status_of(error: Exception) -> int:
    """Status of the nearest listed ancestor; anything unlisted is our own fault."""
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
    """What the caller may read: of our own faults the phrase only, the rest is logged."""
    if isinstance(error, SuperResolutionError) and status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return str(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return HTTPStatus(status).phrase
    if isinstance(error, NotFound):
        return f"Path must be one of {', '.join(known_paths())}. Received: {request.path}"
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(error.valid_methods or ())
        return f"Method must be one of {allowed}. Received: {request.method}"
    if isinstance(error, RequestEntityTooLarge):
        return describe_excess()
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


def known_paths() -> list[str]:
    """Paths of the documented routes."""
    return sorted({rule.rule for rule in current_app.url_map.iter_rules() if not rule.arguments})


def describe_excess() -> str:
    """Which limit on the whole request is passed."""
    config, length = current_app.config, request.content_length
    limit = request.max_content_length
    if length is None or limit is None or length > limit:
        return f"Request must have at most {limit} bytes. Received: {received_length()}."
    parts, field_bytes = config["MAX_FORM_PARTS"], config["MAX_FORM_MEMORY_SIZE"]
    return (
        f"Request must have at most {parts} parts, and at most {field_bytes} bytes in those "
        "that are no files. Received: more."
    )


def received_length() -> str:
    length = request.content_length
    return "more, of unstated length" if length is None else f"{length} bytes"


def headers_of(error: Exception) -> dict[str, str]:
    """Headers that belong to the status, as `Allow` does to 405."""
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(error.valid_methods or ())}
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": CHALLENGE}
    if isinstance(error, RequestedRangeNotSatisfiable):
        return {"Content-Range": f"{error.units} */{error.length}"}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(g.get("retry_after_s", 1))}
    if isinstance(error, RetryLater):
        return {"Retry-After": str(error.retry_after_s)}
    return {}
