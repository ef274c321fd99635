"""How the service logs: one line a record, as JSON or as text, under the id of its request."""

import logging
import re
from typing import Any

from flask import g, has_request_context
from gunicorn.glogging import Logger
from pythonjsonlogger.core import RESERVED_ATTRS

QUERY = re.compile(r"\?[^\s'\"]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # ends a line, or moves the cursor

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
    """Configuration of all loggers, Gunicorn's own among them, for `logging.config`.

    Args:
        log_format: `json` or `text`.
        level: lowest that is logged, in lower case.
    """
    ours = {"handlers": ["lines"], "level": level.upper(), "propagate": False}
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
        "loggers": {"gunicorn.error": {**ours, "filters": ["query"]}},
    }


class ServerLogger(Logger):
    """Gunicorn's logger without its access log: the application knows more of a request."""

    def access(self, *_request: Any) -> None:
        """Write nothing."""


class RequestId(logging.Filter):
    """Gives what is logged on behalf of a request the id of that request."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context() and "trace" in g and not hasattr(record, "request_id"):
            record.request_id = g.trace.request_id
        return True


class WithoutQuery(logging.Filter):
    """Takes query strings, which may hold secrets, out of what Gunicorn says of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = QUERY.sub("?...", record.getMessage()), ()
        return True


class TextLines(logging.Formatter):
    """Time, level, logger, message, and what else is known as `name=value`.

    Only a traceback takes more lines, which are indented: no caller can forge one.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        known = record.__dict__.items()
        others = (f" {name}={value!r}" for name, value in known if name not in RESERVED_ATTRS)
        return CONTROL.sub(_escape, super().formatMessage(record) + "".join(others))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        lines = super().formatException(ei).splitlines()
        return "\n".join("    " + CONTROL.sub(_escape, line) for line in lines)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
