"""The one file that a request carries."""

from flask import request
from werkzeug.datastructures import FileStorage

from api.errors import InvalidUpload


def read_upload(field: str, kind: str = "a picture") -> FileStorage:
    """The one file in a field, at its beginning; large ones are on disk.

    Args:
        field: of the form.
        kind: what it must be, for messages.

    Raises:
        InvalidUpload: if there is none, more than one, or an empty one.
    """
    files = request.files.getlist(field)
    if len(files) != 1:
        raise InvalidUpload(
            f"Request must be multipart/form-data with one file in the field `{field}`. "
            f"Received: {describe_request(field, len(files))}."
        )
    file = files[0]
    if not file.stream.read(1):
        raise InvalidUpload(f"The file in the field `{field}` must be {kind}. Received: 0 bytes.")
    file.stream.seek(0)
    return file


def describe_request(field: str, count: int) -> str:
    """What came instead of one file."""
    if count:
        return f"{count} files"
    if request.mimetype != "multipart/form-data":
        return f"Content-Type {request.mimetype!r}"
    if field in request.form:
        return f"a text in the field `{field}`"
    names = sorted(str(name) for name in {*request.files, *request.form})  # None without one
    return f"the fields {names}" if names else "no fields"
