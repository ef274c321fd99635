"""The answers of a trial, in one SQLite file.

Each answer is on the disk when `add` returns, so a killed server or a power failure loses none.
Raters have a random code and a number; nothing else identifies them.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from training import CommandFailed
from training.opinion.trial import OWNER_ONLY

BUSY_S = 30.0  # to wait for another process that writes

CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is mistaken for another
CODE_LENGTH = 10  # 49 bits: nobody guesses a code

TABLES = """
create table if not exists raters (
    number integer primary key,
    code text not null unique,
    screen text not null,
    distance text not null,
    light text not null
);
create table if not exists answers (
    rater integer not null references raters on delete cascade,
    question integer not null,
    value integer not null,
    duration_ms integer not null,
    pixel_ratio real not null,
    primary key (rater, question)
) without rowid;
"""


class TrialFull(Exception):
    """Every order of questions has a rater."""


class UnknownRater(Exception):
    """No rater has this code, perhaps because the rater withdrew."""


class AnsweredAlready(Exception):
    """A question is not the next one: the same rater answered it, perhaps in another tab."""


@dataclass(frozen=True)
class Conditions:
    """How a rater looks at the pictures, as chosen on the page."""

    screen: str
    distance: str
    light: str


@dataclass(frozen=True)
class Answer:
    """An answer to a question.

    Attributes:
        rater: number of the rater, from 0.
        question: index of the question in the rater's order.
        value: score, or which of a pair is better.
        duration_ms: time from showing the picture to the answer.
        pixel_ratio: device pixels per CSS pixel, including the zoom of the page.
    """

    rater: int
    question: int
    value: int
    duration_ms: int
    pixel_ratio: float


class AnswerStore:
    """The tables of raters and answers.

    It may be used by several threads, and the file by several processes. The file must be on a
    local disk: in write-ahead mode, SQLite needs shared memory.

    Args:
        path: file, created if necessary.

    Raises:
        CommandFailed: if the file is locked, cannot be written, or is something else.
    """

    def __init__(self, path: Path) -> None:
        path.touch(OWNER_ONLY)  # who knows a code can answer for its rater
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = full")
            self._connection.execute("pragma foreign_keys = on")
            self._connection.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise CommandFailed(
                f"{path} must be a file of answers that can be written. Received: {error}."
            ) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def enrol(self, conditions: Conditions, most: int) -> str:
        """Add a rater with the lowest free number, and return the code.

        Args:
            conditions: what the rater chose.
            most: greatest number of raters.

        Raises:
            TrialFull: if there are as many raters.
        """
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
        with self._writing() as connection:
            taken = {number for (number,) in connection.execute("select number from raters")}
            free = min(set(range(most)) - taken, default=None)
            if free is None:
                raise TrialFull
            row = {"number": free, "code": code} | asdict(conditions)
            connection.execute(
                "insert into raters values (:number, :code, :screen, :distance, :light)", row
            )
        return code

    def find(self, code: str) -> tuple[int, int]:
        """Return the number of a rater, and the index of the rater's next question.

        Raises:
            UnknownRater: if no rater has the code.
        """
        with self._lock:
            return self._find(code)

    def add(
        self, code: str, question: int, value: int, duration_ms: int, pixel_ratio: float
    ) -> None:
        """Store an answer to the next question of a rater. It is then on the disk.

        Repeating an answer changes nothing: a page may not have heard that it arrived.

        Args:
            code: code of the rater.
            question: see `Answer`, as the others.
            value: the answer.
            duration_ms: time that it took.
            pixel_ratio: of the screen.

        Raises:
            UnknownRater: if no rater has the code.
            AnsweredAlready: if the next question is another one.
        """
        with self._writing() as connection:
            rater, expected = self._find(code)
            if question == expected:
                answer = Answer(rater, question, value, duration_ms, pixel_ratio)
                connection.execute("insert into answers values (?, ?, ?, ?, ?)", astuple(answer))
                return
            query = "select value from answers where rater = ? and question = ?"
            if connection.execute(query, [rater, question]).fetchone() != (value,):
                raise AnsweredAlready

    def withdraw(self, code: str) -> None:
        """Delete a rater and all answers of this rater. Another rater gets the number.

        Raises:
            UnknownRater: if no rater has the code.
        """
        with self._writing() as connection:
            rater, _ = self._find(code)
            connection.execute("delete from raters where number = ?", [rater])

    def _find(self, code):
        query = """
            select number, (select count(*) from answers where rater = number)
            from raters where code = ?
        """
        row = self._connection.execute(query, [code]).fetchone()
        if row is None:
            raise UnknownRater
        return row

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself may have rolled back
                    self._connection.execute("rollback")
                raise


def read_answers(path: Path) -> tuple[dict[int, Conditions], list[Answer]]:
    """Return the raters by number, and all answers. A server may add answers meanwhile.

    Raises:
        CommandFailed: if there is no file of answers.
    """
    if not path.is_file():
        raise CommandFailed(
            f"{path} must exist: `opinion serve` writes it. Received: no such file."
        )
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("begin")
        raters = connection.execute("select number, screen, distance, light from raters")
        conditions = {number: Conditions(*chosen) for number, *chosen in raters}
        rows = connection.execute("select * from answers order by rater, question").fetchall()
    except sqlite3.DatabaseError as error:
        raise CommandFailed(f"{path} must be a file of answers. Received: {error}.") from None
    finally:
        connection.close()
    return conditions, [Answer(*row) for row in rows]
