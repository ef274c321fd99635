"""Photographs from the web, with their licences: what `prepare` can begin with."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import requests
from tqdm import tqdm

from core.errors import SuperResolutionError
from core.images import SUFFIXES, decode_image
from training.checks import LIMITS
from training.errors import CommandFailed
from training.origins import Origin
from training.session import Pace, open_session
from training.tables import read_table, write_table
from training.transfer import TransferFailed, fetch

LICENCES = "licences.csv"
FAILED = "failed.csv"
COLUMNS = ("file", "licence", "source", "author")


class Job(NamedTuple):
    """A file to download.

    Attributes:
        url: where it is; http or https.
        name: of the file to write, without a path; never the server's choice.
        origin: its licence, its page, its author.
    """

    url: str
    name: str
    origin: Origin


class Outcome(NamedTuple):
    """What became of the jobs, in numbers."""

    downloaded: int
    already_there: int
    failed: int


def download_list(addresses: Path, target: Path, licence: str | None, per_minute: float) -> Outcome:
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
    with open_session(Pace(per_minute)) as session:
        return download(jobs, target, session)


def read_jobs(addresses: Path, licence: str | None) -> list[Job]:
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


def read_job(line: str, licence: str | None, place: str) -> Job:
    url, stated, author = (*(cell.strip() for cell in line.split("\t")), "", "")[:3]
    if not (stated or licence):
        raise CommandFailed(f"{place} must state a licence, or --licence must. Received: {line}")
    stem = sha256(url.encode()).hexdigest()[:16]
    return Job(url, stem + suffix_of(url), Origin(stated or licence, url, author))


def suffix_of(url: str) -> str:
    """Suffix of the path, if it is that of a picture; else a guess that does no harm.

    What a file is, its bytes say: nothing here decodes by suffix.
    """
    suffix = PurePosixPath(re.split("[?#]", url)[0]).suffix.lower()
    return suffix if suffix in SUFFIXES else ".jpg"


def download(jobs: Sequence[Job], target: Path, session: requests.Session) -> Outcome:
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
    return Outcome(len(missing) - len(failures), len(jobs) - len(missing), len(failures))


def record_licences(jobs: Sequence[Job], target: Path) -> None:
    """Add the files to the table before they come, so that none is ever without a licence."""
    path = target / LICENCES
    rows = {row["file"]: row for row in read_table(path, COLUMNS)} if path.exists() else {}
    rows |= {job.name: {"file": job.name, **asdict(job.origin)} for job in jobs}
    write_table(path, COLUMNS, rows.values())


def download_one(job: Job, target: Path, session: requests.Session) -> None:
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
