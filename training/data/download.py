"""Download photographs with their licences, as input for `prepare`.

Requests are limited to a rate, and retried when that makes sense. A transfer that breaks off
is resumed: beside an unfinished `<name>.partial` there is `<name>.validator` with the ETag
or date of the file, so that the rest of another version is never appended (RFC 9110,
sec. 13.1.5 and 14.2).
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from core.errors import SuperResolutionError
from core.images import SUFFIXES, decode_image
from training import CommandFailed
from training.data.photos import LICENCES, Origin, read_table, write_table
from training.data.selection import LIMITS

FAILED = "failed.csv"
COLUMNS = ("file", "licence", "source", "author")

USER_AGENT = "max-image-resolution-enhancer (collecting training photographs)"
TIMEOUT_S = (10, 60)  # to connect; between two packets
RETRIES = 4  # of a request that got no answer, or one of RETRIED_STATUSES
RETRIED_STATUSES = (429, 500, 502, 503, 504)
BACKOFF_S = 1.0  # before the first retry, doubled each time, unless the server states a delay
LONGEST_WAIT_S = 120  # longest delay, whatever the server states

ATTEMPTS = 5  # at a file whose transfer breaks off
CHUNK_BYTES = 2**16
MAX_FILE_BYTES = 64 * 2**20


class TransferFailed(Exception):
    """A file could not be downloaded; the message gives the reason."""


class Download(NamedTuple):
    """A file to download.

    Attributes:
        url: its address; http or https.
        name: name of the file to write, without a path; never the server's choice.
        origin: its licence, source and author.
    """

    url: str
    name: str
    origin: Origin


class DownloadOutcome(NamedTuple):
    """Number of files that were downloaded, that existed before, and that failed."""

    downloaded: int
    already_there: int
    failed: int


def download_list(
    addresses: Path, target: Path, licence: str | None, per_minute: float
) -> DownloadOutcome:
    """Download the files of a list.

    Args:
        addresses: text file. A line holds a URL and optionally a licence and an author,
            separated by tabs. Empty lines and lines that begin with # are skipped.
        target: folder to write; it is created if it does not exist.
        licence: licence of files whose line states none.
        per_minute: greatest number of requests per minute.

    Raises:
        CommandFailed: if the list cannot be read, or a file has no licence.
    """
    downloads = read_list(addresses, licence)
    with open_session(RequestPacer(per_minute)) as session:
        return download_all(downloads, target, session)


def read_list(addresses: Path, licence: str | None) -> list[Download]:
    """Return one download for every address in a list, in its order."""
    try:
        lines = addresses.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"LIST must be a text file in UTF-8. Received: {error}.") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    downloads = [
        parse_line(line, licence, f"Line {number} of {addresses}")
        for number, line in numbered
        if line and not line.startswith("#")
    ]
    if not downloads:
        raise CommandFailed(f"LIST must hold an address. Received: {addresses}, without any.")
    return list({download.url: download for download in downloads}.values())


def parse_line(line: str, licence: str | None, location: str) -> Download:
    """Return the download that a line of a list states.

    Args:
        line: the line.
        licence: licence if the line states none.
        location: where the line is, for the error message.
    """
    url, stated, author = (*(cell.strip() for cell in line.split("\t")), "", "")[:3]
    if not (stated or licence):
        raise CommandFailed(f"{location} must state a licence, or --licence must. Received: {line}")
    stem = sha256(url.encode()).hexdigest()[:16]
    return Download(url, stem + suffix_of(url), Origin(stated or licence, url, author))


def suffix_of(url: str) -> str:
    """Return the suffix of a URL's path if it is that of a picture, else `.jpg`.

    A wrong suffix does no harm: files are decoded by their content.
    """
    suffix = PurePosixPath(re.split("[?#]", url)[0]).suffix.lower()
    return suffix if suffix in SUFFIXES else ".jpg"


def download_all(
    downloads: Sequence[Download], target: Path, session: requests.Session
) -> DownloadOutcome:
    """Download the files that do not exist yet; a failure does not stop the others.

    The folder gets the files, `licences.csv`, and `failed.csv` with the failures of this call.
    """
    target.mkdir(parents=True, exist_ok=True)
    record_licences(downloads, target)
    missing = [download for download in downloads if not (target / download.name).exists()]
    failures = []
    for download in tqdm(missing, unit="photo", disable=None):
        try:
            download_picture(download, target, session)
        except TransferFailed as failure:
            failures.append({"url": download.url, "reason": str(failure)})
    write_table(target / FAILED, ("url", "reason"), failures)
    succeeded, already_there = len(missing) - len(failures), len(downloads) - len(missing)
    return DownloadOutcome(succeeded, already_there, len(failures))


def record_licences(downloads: Sequence[Download], target: Path) -> None:
    """Add files to `licences.csv` before they arrive, so that none is without a licence."""
    path = target / LICENCES
    rows = {row["file"]: row for row in read_table(path, COLUMNS)} if path.exists() else {}
    rows |= {
        download.name: {"file": download.name, **asdict(download.origin)} for download in downloads
    }
    write_table(path, COLUMNS, rows.values())


def download_picture(download: Download, target: Path, session: requests.Session) -> None:
    """Download a file, and keep it if it is a picture.

    Raises:
        TransferFailed: if it could not be downloaded, or is not a picture.
    """
    if not download.url.lower().startswith(("http://", "https://")):
        raise TransferFailed(
            f"Address must begin with http:// or https://. Received: {download.url}"
        )
    path = target / f".{download.name}"
    fetch(session, download.url, path)
    try:
        decode_image(path.read_bytes(), LIMITS)
        path.replace(target / download.name)
    except SuperResolutionError as error:
        path.unlink()
        raise TransferFailed(str(error)) from error


def fetch(session: requests.Session, url: str, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Download a file; resume an earlier transfer if there is one.

    Args:
        session: session that makes the requests.
        url: address of the file, http or https.
        path: file to write when it is complete; `<name>.partial` until then.
        max_bytes: greatest size of the file, whatever the server announces.

    Raises:
        TransferFailed: if it could not be downloaded. If the transfer broke off, the next
            call resumes it.
    """
    partial = PartialFile(path)
    for attempt in range(ATTEMPTS):
        time.sleep(BACKOFF_S * (2**attempt - 1))
        with suppress(HTTPError):  # raised while the body is read
            if fetch_rest(session, url, partial, max_bytes):
                partial.finish(path)
                return
    raise TransferFailed(
        f"File must arrive in {ATTEMPTS} attempts. "
        f"Received: {partial.size} bytes, then the connection broke."
    )


def fetch_rest(session: requests.Session, url: str, partial: "PartialFile", max_bytes: int) -> bool:
    """Request what is missing, and write it; return False if the partial file was unusable."""
    with request(session, url, partial) as response:
        if not is_appendable(response, partial):
            partial.discard()
            return False
        if not response.ok:
            raise TransferFailed(
                f"Server must answer 200 or 206. Received: {response.status_code} "
                f"{response.reason}."
            )
        write_body(response, partial, max_bytes)
        return True


def request(session: requests.Session, url: str, partial: "PartialFile") -> requests.Response:
    """Request the part of a file that is missing."""
    try:
        headers = partial.range_headers()
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:  # ValueError: malformed addresses
        raise TransferFailed(f"Server must answer. Received: {error}.") from error


def is_appendable(response: requests.Response, partial: "PartialFile") -> bool:
    """Return whether a response is a whole file, or begins where the partial file ends."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return True
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return bool(start) and int(start[1]) == partial.size


def write_body(response: requests.Response, partial: "PartialFile", max_bytes: int) -> None:
    """Append a response to the partial file; discard a file that exceeds the limit."""
    with partial.open_for(response) as file:
        # Unlike `iter_content`, this loses nothing that arrived before the connection broke.
        while chunk := response.raw.read1(CHUNK_BYTES):
            if file.tell() + len(chunk) > max_bytes:
                partial.discard()
                raise TransferFailed(f"File must have at most {max_bytes} bytes. Received: more.")
            file.write(chunk)


class PartialFile:
    """An unfinished file, with the validator of the version it belongs to.

    Args:
        path: final path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._validator = path.with_name(f"{path.name}.validator")

    @property
    def size(self) -> int:
        """Number of bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def range_headers(self) -> dict[str, str]:
        """Return the headers that request the rest; none if the whole file is needed."""
        if not self.size or not self._validator.exists():
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._validator.read_text()}

    def open_for(self, response: requests.Response) -> BinaryIO:
        """Open the file for a response: at its end if that is the rest, else empty."""
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            return self.path.open("ab")
        self._validator.unlink(missing_ok=True)
        file = self.path.open("wb")
        if validator := validator_of(response):
            self._validator.write_text(validator)
        return file

    def finish(self, path: Path) -> None:
        """Move the complete file to its final path."""
        self.path.replace(path)
        self._validator.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what has arrived."""
        self.path.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)


def validator_of(response: requests.Response) -> str:
    """Return a strong ETag, else the date of change, else "": the allowed values of `If-Range`."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def open_session(pace: "RequestPacer") -> requests.Session:
    """Return a session that limits its rate, and retries requests.

    It uses only http and https, also after a redirect.
    """
    # urllib3 warns of every retry with the path of the request, and the path may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    retries = ServerDelayRetry(
        total=RETRIES,
        status_forcelist=RETRIED_STATUSES,
        backoff_factor=BACKOFF_S,
        backoff_max=LONGEST_WAIT_S,
        retry_after_max=LONGEST_WAIT_S,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, PacedAdapter(pace, retries))
    return session


class RequestPacer:
    """Spaces requests evenly, and can pause them.

    Args:
        per_minute: greatest number of requests per minute.
        clock: seconds of a monotonic clock.
        sleep: function that waits for some seconds.
    """

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap_s = 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()

    def wait(self) -> None:
        """Return when the next request may be made."""
        self._sleep(max(0.0, self._next_s - self._clock()))
        self._next_s = self._clock() + self._gap_s

    def pause(self, seconds: float) -> None:
        """Delay the next request by some seconds, `LONGEST_WAIT_S` at most."""
        self._next_s = max(self._next_s, self._clock() + min(seconds, LONGEST_WAIT_S))


class ServerDelayRetry(Retry):
    """Retries after the delay that the server states in one of two headers."""

    def get_retry_after(self, response):
        """Return the seconds of Retry-After, else of X-RateLimit-Reset, else None."""
        reset = response.headers.get("X-RateLimit-Reset", "")
        if "Retry-After" in response.headers or not reset.isdigit():
            return super().get_retry_after(response)
        return min(int(reset), self.retry_after_max)


class PacedAdapter(HTTPAdapter):
    """Waits before each request, redirects included."""

    def __init__(self, pace: RequestPacer, retries: Retry) -> None:
        super().__init__(max_retries=retries)
        self._pace = pace

    def send(self, *args, **kwargs):
        """Send a request when the pace allows it."""
        self._pace.wait()
        return super().send(*args, **kwargs)
