"""Photographs that Pixabay finds for a query.

Its rules: at most 100 requests in 60 seconds, answers to be kept for 24 hours, files to
be downloaded rather than linked to, no systematic mass downloads.

Source: https://pixabay.com/api/docs/
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote_plus

import requests

from core.files import atomic_write
from training.data.download import (
    LONGEST_WAIT_S,
    TIMEOUT_S,
    Download,
    DownloadOutcome,
    RequestPacer,
    download,
    open_session,
    suffix_of,
)
from training.data.photos import Origin
from training.errors import CommandFailed

BASE_URL = "https://pixabay.com/api/"
LICENCE = "Pixabay Content License"
FEWEST_PER_PAGE, MOST_PER_PAGE = 3, 200  # that the service accepts
KEEP_ANSWERS_S = 24 * 3600


@dataclass(frozen=True)
class PixabaySearch:
    """What to look for.

    Attributes:
        query: up to 100 characters.
        count: photographs wanted; fewer come if there are fewer (the service stops at 500).
        key: of the user, secret: it is sent, but never written.
        base_url: of the service.
    """

    query: str
    count: int
    key: str
    base_url: str = BASE_URL


def download_found(search: PixabaySearch, target: Path, per_minute: float) -> DownloadOutcome:
    """Download the photographs of a search.

    Args:
        search: what to look for.
        target: folder to write; made if it is not there. Answers are kept in `.pixabay`.
        per_minute: requests, at most, for answers and photographs together.

    Raises:
        CommandFailed: if the service does not answer as it should.
    """
    pace = RequestPacer(per_minute)
    with open_session(pace) as session:
        jobs = PixabayFinder(search, target / ".pixabay", session, pace).find()
        return download(jobs, target, session)


class PixabayFinder:
    """Asks for page after page, and keeps the answers."""

    def __init__(
        self, search: PixabaySearch, answers: Path, session: requests.Session, pace: RequestPacer
    ) -> None:
        self._session = session
        self._search = search
        self._answers = answers
        self._pace = pace

    def find(self) -> list[Download]:
        """As many photographs as are wanted, without repetition."""
        jobs: dict[str, Download] = {}
        for hits in self.pages():
            jobs |= {job.name: job for job in map(job_of, hits)}
            if len(jobs) >= self._search.count:
                break
        return list(jobs.values())[: self._search.count]

    def pages(self) -> Iterator[list]:
        """Hits of every page, until the last or an empty one."""
        per_page = min(max(self._search.count, FEWEST_PER_PAGE), MOST_PER_PAGE)
        page, total = 1, 1
        while (page - 1) * per_page < total:
            answer = self.answer_to(
                {
                    "q": self._search.query,
                    "image_type": "photo",
                    "per_page": per_page,
                    "page": page,
                }
            )
            total = answer["totalHits"] if answer["hits"] else 0
            yield answer["hits"]
            page += 1

    def answer_to(self, question: dict[str, str | int]) -> dict:
        """The answer kept from the last 24 hours, or a new one."""
        asked = json.dumps([self._search.base_url, question])
        path = self._answers / f"{sha256(asked.encode()).hexdigest()}.json"
        if path.exists() and time.time() - path.stat().st_mtime < KEEP_ANSWERS_S:
            return json.loads(path.read_text(encoding="utf-8"))
        answer = read_answer(self.ask(question))
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(answer), encoding="utf-8")
        return answer

    def ask(self, question: dict[str, str | int]) -> requests.Response:
        """Ask the service; what goes wrong is told without the address, which holds the key."""
        try:
            response = self._session.get(
                self._search.base_url,
                params={"key": self._search.key, **question},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise CommandFailed(f"Pixabay must answer. Received: {kind}.") from None
        self.obey(response)
        if response.status_code != HTTPStatus.OK:
            text = response.text
            for key in (self._search.key, quote_plus(self._search.key)):
                text = text.replace(key, "...")
            raise CommandFailed(
                f"Pixabay must answer 200. Received: {response.status_code}, {text[:200]}."
            )
        return response

    def obey(self, response: requests.Response) -> None:
        """Stand still until the next window when this one is used up."""
        if response.headers.get("X-RateLimit-Remaining") == "0":
            reset = response.headers.get("X-RateLimit-Reset", "")
            self._pace.pause(int(reset) if reset.isdigit() else LONGEST_WAIT_S)


def read_answer(response: requests.Response) -> dict:
    """What is needed of an answer: `totalHits`, and of each hit what a job is made of."""
    try:
        answer = response.json()
        hits = [
            {
                "id": int(hit["id"]),
                "largeImageURL": str(hit["largeImageURL"]),
                "pageURL": str(hit["pageURL"]),
                "user": str(hit["user"]),
            }
            for hit in answer["hits"]
        ]
        return {"totalHits": int(answer["totalHits"]), "hits": hits}
    except (ValueError, TypeError, KeyError) as error:
        raise CommandFailed(
            "Pixabay must answer with totalHits and hits of id, largeImageURL, pageURL and user. "
            f"Received: {type(error).__name__}: {error}."
        ) from error


def job_of(hit: dict) -> Download:
    name = f"pixabay-{hit['id']}{suffix_of(hit['largeImageURL'])}"
    return Download(hit["largeImageURL"], name, Origin(LICENCE, hit["pageURL"], hit["user"]))
