"""Tables inside Markdown documents, between two marks."""

from pathlib import Path


def write_between(document: Path, table: str, first_mark: str, last_mark: str) -> None:
    """Put a table between two marks of a document, in place of what is there.

    Raises:
        ValueError: if one of the marks is not there exactly once.
    """
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(first_mark)
    _, after = rest.split(last_mark)
    document.write_text(f"{before}{first_mark}\n{table}{last_mark}{after}", encoding="utf-8")
