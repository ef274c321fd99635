"""Whose a photograph is: its licence, and the tables that state it."""

from dataclasses import dataclass
from pathlib import Path

from training.tables import read_table

TABLES = ("manifest.csv", "licences.csv")
"""Names of tables that are read; in the same folder the later one prevails."""

COLUMNS = ("file", "licence")
"""What such a table must have; `source` and `author` are read if they are there."""


@dataclass(frozen=True)
class Origin:
    """Under which licence a photograph is had, from where, by whom."""

    licence: str
    source: str = ""
    author: str = ""


def read_origins(folder: Path) -> dict[Path, Origin]:
    """Origin of every file that a table in the folder, or deeper in it, names.

    Paths in a table start at its own folder. Where two tables name the same file, the
    one that is nearer to it prevails. A row without a licence says nothing.

    Raises:
        CommandFailed: if a table cannot be read.
    """
    tables = [table for name in TABLES for table in folder.rglob(name)]
    origins = {}
    for table in sorted(tables, key=lambda table: len(table.parts)):
        for row in read_table(table, COLUMNS):
            if row["licence"].strip():
                origins[table.parent / row["file"]] = origin_of(row)
    return origins


def origin_of(row: dict[str, str]) -> Origin:
    return Origin(row["licence"].strip(), row.get("source", ""), row.get("author", ""))
