"""Download photographs that a Pixabay search finds.

Pixabay's rules: at most 100 requests in 60 seconds; cache answers for 24 hours; download
files instead of linking to them; no systematic mass downloads.

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

from training import CommandFailed
from training.data.download import (
    LONGEST_WAIT_S,
    TIMEOUT_S,
    Download,
    DownloadOutcome,
    RequestPacer,
    download_all,
    open_session,
    suffix_of,
)
from training.data.photos import Origin

BASE_URL = "https://pixabay.com/api/"
LICENCE = "Pixabay Content License"
FEWEST_PER_PAGE, MOST_PER_PAGE = 3, 200  # limits of the service
CACHE_S = 24 * 3600


@dataclass(frozen=True)
class PixabaySearch:
    """What to search for.

    Attributes:
        query: up to 100 characters.
        count: number of photographs; the search may find fewer (the service stops at 500).
        key: the user's API key, a secret: it is sent, but never written.
        base_url: address of the API.
    """

    query: str
    count: int
    key: str
    base_url: str = BASE_URL


def download_found(search: PixabaySearch, target: Path, per_minute: float) -> DownloadOutcome:
    """Download the photographs that a search finds.

    Args:
        search: what to search for.
        target: folder to write; it is created if it does not exist. Answers are cached in
            its subfolder `.pixabay`.
        per_minute: greatest number of requests per minute, for answers and photographs.

    Raises:
        CommandFailed: if the service does not answer as documented.
    """
    pace = RequestPacer(per_minute)
    with open_session(pace) as session:
        downloads = PixabayFinder(search, target / ".pixabay", session, pace).find()
        return download_all(downloads, target, session)


class PixabayFinder:
    """Requests the pages of a search, and caches the answers.

    Args:
        search: what to search for.
        cache: folder of cached answers.
        session: session that makes the requests.
        pace: its pacer, which is paused when the quota is used up.
    """

    def __init__(
        self, search: PixabaySearch, cache: Path, session: requests.Session, pace: RequestPacer
    ) -> None:
        self._session = session
        self._search = search
        self._cache = cache
        self._pace = pace

    def find(self) -> list[Download]:
        """Return as many photographs as asked for, without repetition."""
        downloads: dict[str, Download] = {}
        for hits in self.pages():
            downloads |= {download.name: download for download in map(as_download, hits)}
            if len(downloads) >= self._search.count:
                break
        return list(downloads.values())[: self._search.count]

    def pages(self) -> Iterator[list]:
        """Yield the hits of every page, until the last or an empty one."""
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

    def answer_to(self, params: dict[str, str | int]) -> dict:
        """Return the cached answer to a request if it is recent, else request it."""
        cache_key = json.dumps([self._search.base_url, params])
        path = self._cache / f"{sha256(cache_key.encode()).hexdigest()}.json"
        if path.exists() and time.time() - path.stat().st_mtime < CACHE_S:
            return json.loads(path.read_text(encoding="utf-8"))
        answer = parse_answer(self.request(params))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(answer), encoding="utf-8")
        partial.replace(path)
        return answer

    def request(self, params: dict[str, str | int]) -> requests.Response:
        """Send a request; errors do not show the address, because it holds the key."""
        try:
            response = self._session.get(
                self._search.base_url,
                params={"key": self._search.key, **params},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise CommandFailed(f"Pixabay must answer. Received: {kind}.") from None
        self.respect_quota(response)
        if response.status_code != HTTPStatus.OK:
            text = response.text
            for key in (self._search.key, quote_plus(self._search.key)):
                text = text.replace(key, "...")
            raise CommandFailed(
                f"Pixabay must answer 200. Received: {response.status_code}, {text[:200]}."
            )
        return response

    def respect_quota(self, response: requests.Response) -> None:
        """Pause until the quota is renewed if this response used it up."""
        if response.headers.get("X-RateLimit-Remaining") == "0":
            reset = response.headers.get("X-RateLimit-Reset", "")
            self._pace.pause(int(reset) if reset.isdigit() else LONGEST_WAIT_S)


def parse_answer(response: requests.Response) -> dict:
    """Return what is needed of an answer: `totalHits`, and four fields of each hit."""
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


def as_download(hit: dict) -> Download:
    """Return the download of a hit."""
    name = f"pixabay-{hit['id']}{suffix_of(hit['largeImageURL'])}"
    return Download(hit["largeImageURL"], name, Origin(LICENCE, hit["pageURL"], hit["user"]))
