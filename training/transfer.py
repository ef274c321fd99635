"""One file over HTTP, resumed where it broke off.

Beside an unfinished `<name>.partial` lies `<name>.validator`, the ETag or date of what
is in it, so that the rest of another file is never appended to it (RFC 9110, sec. 13.1.5
and 14.2).
"""

import re
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import requests
from urllib3.exceptions import HTTPError

from training.session import BACKOFF_S, TIMEOUT_S

ATTEMPTS = 5  # at a file whose transfer breaks off
CHUNK_BYTES = 2**16
MAX_FILE_BYTES = 64 * 2**20


class TransferFailed(Exception):
    """A file could not be had; the message says why."""


class Partial:
    """The unfinished file at a path, and what tells whether it is still the same."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._validator = path.with_name(f"{path.name}.validator")

    def range_headers(self) -> dict[str, str]:
        """What asks for the rest; nothing if there is no beginning to trust."""
        if not self.size or not self._validator.exists():
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._validator.read_text()}

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, response: requests.Response) -> BinaryIO:
        """Open the file for what comes: at its end if that is the rest, else anew."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            return self.path.open("ab")
        self._validator.unlink(missing_ok=True)
        file = self.path.open("wb")
        if validator := validator_of(response):
            self._validator.write_text(validator)
        return file

    def finish(self, path: Path) -> None:
        self.path.replace(path)
        self._validator.unlink(missing_ok=True)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)


def validator_of(response: requests.Response) -> str:
    """A strong ETag, else the date of change, else nothing: what `If-Range` may hold."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def fetch(session: requests.Session, url: str, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Download a file; what an earlier attempt has of it is not asked for again.

    Args:
        session: what requests are made with.
        url: of the file, http or https.
        path: file to write, when it is complete; `<name>.partial` until then.
        max_bytes: of the file, whatever the server announces.

    Raises:
        TransferFailed: if it could not be had. A transfer that broke off leaves its
            partial file to the next run.
    """
    partial = Partial(path)
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF_S * (2**attempt - 1))
        with suppress(HTTPError):  # while the body was read
            if fetch_rest(session, url, partial, max_bytes):
                partial.finish(path)
                return
    raise TransferFailed(
        f"File must arrive in {ATTEMPTS} attempts. "
        f"Received: {partial.size} bytes, then the connection broke."
    )


def fetch_rest(session: requests.Session, url: str, partial: Partial, max_bytes: int) -> bool:
    """Ask for what is missing, and write it; False if the partial file was of no use."""
    with request(session, url, partial) as response:
        if not fits(response, partial):
            partial.discard()
            return False
        if not response.ok:
            raise TransferFailed(
                f"Server must answer 200 or 206. Received: {response.status_code} "
                f"{response.reason}."
            )
        write_body(response, partial, max_bytes)
        return True


def request(session: requests.Session, url: str, partial: Partial) -> requests.Response:
    try:
        headers = partial.range_headers()
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:  # the latter of odd addresses
        raise TransferFailed(f"Server must answer. Received: {error}.") from error


def fits(response: requests.Response, partial: Partial) -> bool:
    """Whether the answer is a whole file, or begins where the partial file ends."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return True
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return bool(start) and int(start[1]) == partial.size


def write_body(response: requests.Response, partial: Partial, max_bytes: int) -> None:
    """Append what comes; a file over the limit is thrown away."""
    with partial.begin(response) as file:
        # Unlike `iter_content`, this loses nothing of what came before the connection broke.
        while chunk := response.raw.read1(CHUNK_BYTES):
            if file.tell() + len(chunk) > max_bytes:
                partial.discard()
                raise TransferFailed(f"File must have at most {max_bytes} bytes. Received: more.")
            file.write(chunk)
