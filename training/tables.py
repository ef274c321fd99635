"""CSV tables: UTF-8, a line of column names, replaced whole or not at all."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from training.errors import CommandFailed

Row = Mapping[str, str | int]


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table; a cell that is not there is empty.

    Raises:
        CommandFailed: if it is no CSV in UTF-8, or lacks one of `columns`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            present = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandFailed(f"{path} must be a CSV table in UTF-8. Received: {error}.") from error
    if not set(columns) <= set(present):
        raise CommandFailed(
            f"{path} must have the columns {', '.join(columns)}. "
            f"Received: {', '.join(present) or 'no columns'}."
        )
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table; interrupted, it leaves what was there before.

    What UTF-8 cannot hold (names of files in another encoding) is written as `\\udc..`.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
