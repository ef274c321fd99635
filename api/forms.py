"""Read what a multipart form holds: one file, and fields with the options of the result."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from flask import request
from flask_restx.reqparse import RequestParser
from werkzeug import formparser
from werkzeug.datastructures import FileStorage, Headers
from werkzeug.http import parse_options_header, quote_header_value
from werkzeug.sansio.multipart import MultipartDecoder

from api.context import current_service
from api.errors import LONGEST_QUOTE, InvalidField, InvalidUpload
from core.options import (
    AUTO,
    JOB_OPTIONS,
    MODEL,
    PICTURE_FORMATS,
    PICTURE_OPTIONS,
    PNG,
    RESTORE,
    Option,
    OutputOptions,
    Restore,
    check_format_has,
    check_size_options,
)
from core.values import Values

MEDIA_TYPES = {name: f"image/{name}" for name in PICTURE_FORMATS}
"""Media type of each picture format."""


class ShareOrAutoSchema(str):
    """Type of an option that is a number or `auto`, for the OpenAPI document only.

    OpenAPI 2 has no alternatives for form fields, so it is a text with a pattern.
    """

    __schema__: ClassVar = {"type": "string", "pattern": rf"^({AUTO}|0?\.[0-9]+|[01](\.0+)?)$"}


FILE_FIELDS = ("image", "file")
"""Names of the form fields of files."""

FILE_NAME = re.compile(
    r'; *filename="?(?P<name>.*?)"?(?P<rest>; *name=("[^"]*"|[^";]*))?$', re.DOTALL
)
"""Matches the file name in the `Content-Disposition` of a part, and the field's name after it."""


class PartDecoder(MultipartDecoder):
    """Decodes a form, and takes any file name for a name.

    Browsers send a backslash as it is, so that one before the closing quote looks escaped; some
    programs send names in other encodings than UTF-8. A part without a name is a file if its
    field is one for files, and it has the media type of one.

    Source: HTML Standard, section 4.10.21.8; RFC 7578, sections 4.2 and 5.1.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        headers = super()._parse_headers(data.decode(errors="replace").encode())
        disposition = headers.get("Content-Disposition")
        if disposition is not None:
            media_type = headers.get("Content-Type", "text/plain")
            headers["Content-Disposition"] = with_file_name(disposition, media_type)
        return headers


# Werkzeug's parser has no option for its decoder.
formparser.MultipartDecoder = PartDecoder  # type: ignore[attr-defined]


def with_file_name(disposition: str, media_type: str) -> str:
    r"""Return the `Content-Disposition` of a part with a file name that can be parsed.

    Args:
        disposition: as it was received.
        media_type: of the part.

    >>> print(with_file_name('form-data; name="image"; filename="a\\"', "image/png"))
    form-data; name="image"; filename="a\\"
    >>> with_file_name('form-data; name="image"', "image/png")
    'form-data; name="image"; filename=""'
    """
    _, options = parse_options_header(disposition)
    if "name" in options and "filename" in options:
        return disposition
    found = FILE_NAME.search(disposition)
    if found is not None:
        name = quote_header_value(found["name"], allow_token=False)
        return f"{disposition[: found.start()]}{found['rest'] or ''}; filename={name}"
    is_file = options.get("name") in FILE_FIELDS and not media_type.startswith("text/")
    return f'{disposition}; filename=""' if is_file else disposition


NUMBER_TYPES = {float: "number", int: "integer"}
"""Name in the OpenAPI document of each type of number."""


DefaultRestore = Callable[[str | None], Restore]
"""Name of a model, or None -> strength of restoring of requests that do not state it."""


def read_upload(field: str, kind: str = "a picture") -> FileStorage:
    """Return the one file in a form field, at its beginning. Large files are on disk.

    Args:
        field: name of the form field.
        kind: what the file must be in words, for messages.

    Raises:
        InvalidUpload: if the field holds no file, more than one file, or an empty one.
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
    """Return in words what the request holds instead of one file."""
    if count:
        return f"{count} files"
    if request.mimetype != "multipart/form-data":
        return f"Content-Type {request.mimetype!r}"
    if field in request.form:
        return f"a text in the field `{field}`"
    names = sorted(str(name) for name in {*request.files, *request.form})  # a name may be None
    return f"the fields {names}" if names else "no fields"


def document_options(parser: RequestParser, options: Sequence[Option]) -> None:
    """Add options to a parser that documents the form fields of a route."""
    for option in options:
        parser.add_argument(
            option.name,
            location="form",
            type=schema_type(option),
            choices=option.values.words if option.values.type is str else (),
            default=SERVICE_DEFAULTS.get(option, option.default),
            help=option.help,
        )


def model_default() -> str:
    """Return the name of the model that the service uses without a field `model`."""
    return current_service().models.default.name


def restore_default() -> str:
    """Return what the service uses without a field `restore`, as a caller would write it."""
    restore = current_service().restore
    return restore if restore == AUTO else f"{restore:g}"


SERVICE_DEFAULTS = {MODEL: model_default, RESTORE: restore_default}
"""Functions that return the defaults that depend on the service."""


def schema_type(option: Option) -> type:
    """Return the type of an option for the OpenAPI document."""
    if option.values.type is float and option.values.words:
        return ShareOrAutoSchema
    return str if option.values.type is str else number_schema(option.values)


def number_schema(values: Values) -> type:
    """Return a type of numbers for the OpenAPI document, which states their range."""
    name = NUMBER_TYPES[values.type]
    schema = {"type": name, "minimum": values.least, "maximum": values.most}
    return type(name, (values.type,), {"__schema__": schema})


def read_picture_options(*, has_note: bool, restore: DefaultRestore) -> OutputOptions:
    """Return the options of a picture that the request asks for. Other fields are ignored.

    Without a field `format`, the Accept header decides the format.

    Args:
        has_note: whether files say that their detail is synthetic.
        restore: returns the strength of restoring without a field `restore`.

    Raises:
        InvalidField: if a field is given twice, or as a file.
        InvalidModel: if there is no model of the name.
        InvalidOptions: if a field has a value that is not allowed, or if fields contradict each
            other.
    """
    values = read_fields(PICTURE_OPTIONS)
    values = {"format": accepted_format(), "restore": restore(values.get("model"))} | values
    options = OutputOptions(has_note=has_note, **values)
    check_size_options(options)
    return options


def read_job_options(*, has_note: bool, restore: DefaultRestore) -> OutputOptions:
    """Return the options of a job that the request asks for.

    Args:
        has_note: whether files say that their detail is synthetic.
        restore: returns the strength of restoring without a field `restore`.

    Raises:
        InvalidField: if a field is unknown, or is given twice, or as a file.
        InvalidModel: if there is no model of the name.
        InvalidOptions: if a field has a value that is not allowed, if fields contradict each
            other, or if the output format does not have the option.
    """
    check_names(JOB_OPTIONS)
    values = read_fields(JOB_OPTIONS)
    values = {"restore": restore(values.get("model"))} | values
    options = OutputOptions(has_note=has_note, **values)
    check_format_has(request.form, options.format)
    check_size_options(options)
    return options


def accepted_format() -> str:
    """Return the picture format that the Accept header names, if it is just one; else PNG."""
    images = [
        media_type for media_type in request.accept_mimetypes.values() if "image/" in media_type
    ]
    for name, media_type in MEDIA_TYPES.items():
        if images == [media_type]:
            return name
    return PNG


def check_names(options: Sequence[Option]) -> None:
    """Raise InvalidField if the form has a field that is none of the options."""
    names = [option.name for option in options]
    unknown = sorted(str(name) for name in request.form if name not in names)
    if unknown:
        raise InvalidField(
            f"Fields must be among file, {', '.join(names)}. "
            f"Received: {unknown[0][:LONGEST_QUOTE]!r}"
        )


def read_fields(options: Sequence[Option]) -> dict[str, Any]:
    """Return the values of those options that the form has, by attribute of `OutputOptions`."""
    texts = [(option, read_text(option.name)) for option in options]
    return {option.attribute: option.parse(text) for option, text in texts if text is not None}


def read_text(name: str) -> str | None:
    """Return the text of a form field, stripped; None if the form does not have the field.

    Raises:
        InvalidField: if the field holds a file, or is given more than once.
    """
    texts = request.form.getlist(name)
    if name in request.files:
        raise InvalidField(f"`{name}` must be a text. Received: a file.")
    if len(texts) > 1:
        raise InvalidField(f"`{name}` must be given once. Received: {len(texts)} fields.")
    return texts[0].strip() if texts else None
