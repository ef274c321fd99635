"""How commands and their options are declared, and how values of options are read.

The functions that read values raise ValueError, which argparse turns into its own message.
"""

import math
from collections.abc import Callable
from pathlib import Path

MAX_PORT = 65_535


def add_subcommand(subparsers, name: str, summary: str, run: Callable | None = None):
    """Add a command with its summary, and return its parser.

    Args:
        subparsers: what `add_subparsers` returned.
        name: name of the command.
        summary: one line, shown in the list of commands and in the help of the command.
        run: function that runs the command; None if it has subcommands.
    """
    description = f"{summary[0].upper()}{summary[1:]}."
    parser = subparsers.add_parser(name, help=summary, description=description)
    parser.set_defaults(command=run)
    return parser


def whole(text: str) -> int:
    """Parse a whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def count(text: str) -> int:
    """Parse a whole number of 0 or more."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def port(text: str) -> int:
    """Parse a TCP port, 1 to 65535."""
    number = whole(text)
    if number > MAX_PORT:
        raise ValueError(text)
    return number


def labelled_folder(text: str) -> tuple[str, Path]:
    """Parse a label and a folder, for example `srgan=outputs/srgan`."""
    label, _, folder = text.partition("=")
    if not label or not folder:
        raise ValueError(text)
    return label, Path(folder)


def screen_size(text: str) -> tuple[int, int]:
    """Parse width and height, for example `1280x720`."""
    width, _, height = text.partition("x")
    return whole(width), whole(height)


def positive(text: str) -> float:
    """Parse a number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def share(text: str) -> tuple[Path, float]:
    """Parse a run's folder and its share, for example `runs/a=0.5`."""
    folder, _, number = text.rpartition("=")
    if not folder or not math.isfinite(float(number)):
        raise ValueError(text)
    return Path(folder), float(number)
