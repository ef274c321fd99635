"""One file over HTTP, resumed where it broke off.

Beside an unfinished `<name>.partial` lies `<name>.validator`, the ETag or date of what
is in it, so that the rest of another file is never appended to it (RFC 9110, sec. 13.1.5
and 14.2).

Requests that a server can bear: paced, retried with patience, with a name.

Photographs from the web, with their licences: what `prepare` can begin with.
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
from training.data.photos import Origin, read_table, write_table
from training.data.selection import LIMITS
from training.errors import CommandFailed

RETRIES = 4  # of a request that got no answer, or one of TRY_AGAIN
TRY_AGAIN = (429, 500, 502, 503, 504)
BACKOFF_S = 1.0  # between retries, doubled each time, unless the server says how long
LONGEST_WAIT_S = 120  # whatever the server asks for
TIMEOUT_S = (10, 60)  # to connect; between two packets

USER_AGENT = "max-image-resolution-enhancer (collecting training photographs)"


class RequestPacer:
    """Spaces requests evenly, and stands still when it is told to."""

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
        """Let no request be made for so long, but not longer than `LONGEST_WAIT_S`."""
        self._next_s = max(self._next_s, self._clock() + min(seconds, LONGEST_WAIT_S))


class ServerDelayRetry(Retry):
    """Waits as long as the server says, in whichever of two headers it says it."""

    def get_retry_after(self, response):
        """Seconds of Retry-After, else of X-RateLimit-Reset, else None."""
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
        self._pace.wait()
        return super().send(*args, **kwargs)


def open_session(pace: RequestPacer) -> requests.Session:
    """A session that keeps a pace, and tries again when it makes sense.

    Nothing but http and https is spoken, also after a redirect.
    """
    # urllib3 warns of every retry with the path it asks for, and the path may hold a key.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    retries = ServerDelayRetry(
        total=RETRIES,
        status_forcelist=TRY_AGAIN,
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


ATTEMPTS = 5  # at a file whose transfer breaks off
CHUNK_BYTES = 2**16
MAX_FILE_BYTES = 64 * 2**20


class TransferFailed(Exception):
    """A file could not be had; the message says why."""


class PartialFile:
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
    partial = PartialFile(path)
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


def fetch_rest(session: requests.Session, url: str, partial: PartialFile, max_bytes: int) -> bool:
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


def request(session: requests.Session, url: str, partial: PartialFile) -> requests.Response:
    try:
        headers = partial.range_headers()
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:  # the latter of odd addresses
        raise TransferFailed(f"Server must answer. Received: {error}.") from error


def fits(response: requests.Response, partial: PartialFile) -> bool:
    """Whether the answer is a whole file, or begins where the partial file ends."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return True
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return bool(start) and int(start[1]) == partial.size


def write_body(response: requests.Response, partial: PartialFile, max_bytes: int) -> None:
    """Append what comes; a file over the limit is thrown away."""
    with partial.begin(response) as file:
        # Unlike `iter_content`, this loses nothing of what came before the connection broke.
        while chunk := response.raw.read1(CHUNK_BYTES):
            if file.tell() + len(chunk) > max_bytes:
                partial.discard()
                raise TransferFailed(f"File must have at most {max_bytes} bytes. Received: more.")
            file.write(chunk)


LICENCES = "licences.csv"
FAILED = "failed.csv"
COLUMNS = ("file", "licence", "source", "author")


class Download(NamedTuple):
    """A file to download.

    Attributes:
        url: where it is; http or https.
        name: of the file to write, without a path; never the server's choice.
        origin: its licence, its page, its author.
    """

    url: str
    name: str
    origin: Origin


class DownloadOutcome(NamedTuple):
    """What became of the jobs, in numbers."""

    downloaded: int
    already_there: int
    failed: int


def download_list(
    addresses: Path, target: Path, licence: str | None, per_minute: float
) -> DownloadOutcome:
    """Download what a list names.

    Args:
        addresses: text file: a line holds a URL, then perhaps a licence and an author,
            separated by tabs; empty lines and those that begin with # are skipped.
        target: folder to write; made if it is not there.
        licence: of the files whose line states none.
        per_minute: requests, at most.

    Raises:
        CommandFailed: if the list cannot be read, or leaves a licence open.
    """
    jobs = read_jobs(addresses, licence)
    with open_session(RequestPacer(per_minute)) as session:
        return download(jobs, target, session)


def read_jobs(addresses: Path, licence: str | None) -> list[Download]:
    """One job for every address in a list, in its order."""
    try:
        lines = addresses.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"LIST must be a text file in UTF-8. Received: {error}.") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    jobs = [
        read_job(line, licence, f"Line {number} of {addresses}")
        for number, line in numbered
        if line and not line.startswith("#")
    ]
    if not jobs:
        raise CommandFailed(f"LIST must hold an address. Received: {addresses}, without any.")
    return list({job.url: job for job in jobs}.values())


def read_job(line: str, licence: str | None, place: str) -> Download:
    url, stated, author = (*(cell.strip() for cell in line.split("\t")), "", "")[:3]
    if not (stated or licence):
        raise CommandFailed(f"{place} must state a licence, or --licence must. Received: {line}")
    stem = sha256(url.encode()).hexdigest()[:16]
    return Download(url, stem + suffix_of(url), Origin(stated or licence, url, author))


def suffix_of(url: str) -> str:
    """Suffix of the path, if it is that of a picture; else a guess that does no harm.

    What a file is, its bytes say: nothing here decodes by suffix.
    """
    suffix = PurePosixPath(re.split("[?#]", url)[0]).suffix.lower()
    return suffix if suffix in SUFFIXES else ".jpg"


def download(jobs: Sequence[Download], target: Path, session: requests.Session) -> DownloadOutcome:
    """Download what is not there yet; one that fails does not stop the others.

    In the folder: the files, `licences.csv`, and in `failed.csv` what failed this time.
    """
    target.mkdir(parents=True, exist_ok=True)
    record_licences(jobs, target)
    missing = [job for job in jobs if not (target / job.name).exists()]
    failures = []
    for job in tqdm(missing, unit="photo", disable=None):
        try:
            download_one(job, target, session)
        except TransferFailed as failure:
            failures.append({"url": job.url, "reason": str(failure)})
    write_table(target / FAILED, ("url", "reason"), failures)
    return DownloadOutcome(len(missing) - len(failures), len(jobs) - len(missing), len(failures))


def record_licences(jobs: Sequence[Download], target: Path) -> None:
    """Add the files to the table before they come, so that none is ever without a licence."""
    path = target / LICENCES
    rows = {row["file"]: row for row in read_table(path, COLUMNS)} if path.exists() else {}
    rows |= {job.name: {"file": job.name, **asdict(job.origin)} for job in jobs}
    write_table(path, COLUMNS, rows.values())


def download_one(job: Download, target: Path, session: requests.Session) -> None:
    """Download a file, and keep it if it is a picture.

    Raises:
        TransferFailed: if it could not be had, or is none.
    """
    if not job.url.lower().startswith(("http://", "https://")):
        raise TransferFailed(f"Address must begin with http:// or https://. Received: {job.url}")
    path = target / f".{job.name}"
    fetch(session, job.url, path)
    try:
        decode_image(path.read_bytes(), LIMITS)
        path.replace(target / job.name)
    except SuperResolutionError as error:
        path.unlink()
        raise TransferFailed(str(error)) from error
