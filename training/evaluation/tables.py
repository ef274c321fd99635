"""Tables of figures in Markdown, and their places in documents."""

from collections.abc import Callable, Mapping
from pathlib import Path

from training import CommandFailed

Means = dict[str, dict[str, dict[str, float]]]
"""Group, such as a test set -> output -> figure -> mean over the group."""

FormatCell = Callable[[str, float | None], str]
"""Name of a figure, and the figure or None if it was not measured -> text of the cell."""


def markdown_table(
    group: str, means: Means, headings: Mapping[str, str], format_cell: FormatCell
) -> str:
    """Return a Markdown table with one row per group and output.

    Args:
        group: heading of the column of groups.
        means: the figures.
        headings: of the columns of figures, by name and in their order; those that no output has
            are left out.
        format_cell: returns the text of a cell.
    """
    measured = {
        key for outputs in means.values() for figures in outputs.values() for key in figures
    }
    keys = [key for key in headings if key in measured]
    lines = [
        f"| {group} | output | {' | '.join(headings[key] for key in keys)} |",
        "|---|---|" + "---|" * len(keys),
    ]
    for name, outputs in means.items():
        for output, figures in outputs.items():
            cells = " | ".join(format_cell(key, figures.get(key)) for key in keys)
            lines.append(f"| {name} | {output} | {cells} |")
    return "\n".join(lines) + "\n"


def write_between(document: Path, table: str, first_mark: str, last_mark: str) -> None:
    """Replace the text between two marks of a document by a table.

    Raises:
        CommandFailed: if a mark does not occur exactly once.
    """
    require_marks(document, first_mark, last_mark)
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(first_mark)
    _, after = rest.split(last_mark)
    document.write_text(f"{before}{first_mark}\n{table}{last_mark}{after}", encoding="utf-8")


def require_marks(document: Path, *marks: str) -> None:
    """Raise CommandFailed unless each mark occurs once in a document. Call it before measuring."""
    text = document.read_text(encoding="utf-8")
    for mark in marks:
        if text.count(mark) != 1:
            raise CommandFailed(
                f"{document} must hold {mark} once. Received: {text.count(mark)} times."
            )
