"""A result sent as a file: whole, or the part that is asked for.

Source: RFC 9110, sections 13.1.5 and 14.
"""

import unicodedata
from urllib.parse import quote

from flask import Response, request
from werkzeug.http import parse_range_header
from werkzeug.wsgi import FileWrapper

from jobs.engine import OpenResult

CHUNK_BYTES = 256 * 1024
UNIT = "bytes"
UNQUOTED = "!#$&+-.^_`|~"  # attr-char of RFC 8187
PRIVATE = "private, no-cache"


def send_result(opened: OpenResult) -> Response:
    """The answer to a request for a result, with validators, so that it can be resumed.

    Raises:
        RequestedRangeNotSatisfiable: if the part asked for is none of it.
    """
    result = opened.result
    response = Response(FileWrapper(opened.file, CHUNK_BYTES), mimetype=result.mimetype)
    response.headers.set("Content-Disposition", "attachment", **names_of(result.name))
    response.headers["Accept-Ranges"] = UNIT
    response.headers["Cache-Control"] = PRIVATE
    response.content_length = result.size
    response.set_etag(result.digest)
    response.make_conditional(
        request.environ,
        accept_ranges=True,
        complete_length=result.size if asks_for_one_part() else None,
    )
    return response


def names_of(name: str) -> dict[str, str]:
    """A name for all browsers, and in full where it has other letters (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    if plain == name:
        return {"filename": name}
    return {"filename": plain, "filename*": f"UTF-8''{quote(name, safe=UNQUOTED)}"}


def asks_for_one_part() -> bool:
    """Whether Range is to be obeyed: one that is not understood, or of several parts, is not."""
    asked = parse_range_header(request.headers.get("Range"))
    return asked is not None and asked.units == UNIT and len(asked.ranges) == 1
