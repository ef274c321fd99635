"""Logging: one line per record, as JSON or as text, with the id of its request."""

import logging
import re
from typing import Any

from flask import g, has_request_context
from gunicorn.glogging import Logger
from pythonjsonlogger.core import RESERVED_ATTRS

QUERY = re.compile(r"\?[^\s'\"]+")
CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
)  # end a line, or move the cursor

FORMATTERS: dict[str, dict[str, Any]] = {
    "json": {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "fmt": ["levelname", "name", "message"],
        "rename_fields": {"levelname": "level", "name": "logger"},
        "timestamp": "time",
    },
    "text": {"()": "api.observability.logs.TextLines"},
}


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return the configuration of all loggers, including gunicorn's, for `logging.config`.

    Args:
        log_format: `json` or `text`.
        level: lowest level that is logged, in lower case.
    """
    logger = {"handlers": ["lines"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": FORMATTERS[log_format]},
        "filters": {
            "request": {"()": "api.observability.logs.RequestId"},
            "query": {"()": "api.observability.logs.WithoutQuery"},
        },
        "handlers": {
            "lines": {
                "class": "logging.StreamHandler",
                "formatter": "lines",
                "filters": ["request"],
            }
        },
        "root": {"handlers": ["lines"], "level": level.upper()},
        "loggers": {"gunicorn.error": {**logger, "filters": ["query"]}},
    }


class ServerLogger(Logger):
    """Gunicorn's logger without the access log.

    The application logs requests itself, because it knows more about them.
    """

    def access(self, *_request: Any) -> None:
        """Log nothing."""


class RequestId(logging.Filter):
    """Adds the id of the current request to a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id, unless the record has one. Keep every record."""
        if has_request_context() and "trace" in g and not hasattr(record, "request_id"):
            record.request_id = g.trace.request_id
        return True


class WithoutQuery(logging.Filter):
    """Removes query strings, which may hold secrets, from messages of gunicorn."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace query strings. Keep every record."""
        record.msg, record.args = QUERY.sub("?...", record.getMessage()), ()
        return True


class TextLines(logging.Formatter):
    """Formats a record as time, level, logger, message, and `name=value` for other fields.

    Control characters are escaped, and only the indented lines of a traceback follow. So a
    caller cannot forge a record.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the record as one line, without the traceback."""
        fields = record.__dict__.items()
        others = (f" {name}={value!r}" for name, value in fields if name not in RESERVED_ATTRS)
        return CONTROL_CHARACTERS.sub(_escape, super().formatMessage(record) + "".join(others))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented."""
        lines = super().formatException(ei).splitlines()
        return "\n".join("    " + CONTROL_CHARACTERS.sub(_escape, line) for line in lines)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
