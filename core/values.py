"""Allowed values of an option: how a caller's text becomes one, and how messages describe them."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""A name that is also the name of a file, in its folder and without a suffix."""

MAX_DIGITS = 9
"""Number of digits up to which a text is read as a number, and of decimals. Python is slow to read
long ones, or refuses them."""

DECIMAL = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}(\.[0-9]{{1,{MAX_DIGITS}}})?")
"""A number without sign and exponent."""


class Values(NamedTuple):
    """Allowed values of an option.

    Attributes:
        type: type of the texts: `str` for words, `int` or `float` for numbers.
        parse: returns the value of a text; raises ValueError for one that is not allowed.
        expected: the allowed values in words, for messages.
        summary: the allowed values in short, for the help of the command line.
        words: allowed words; empty for numbers. Besides numbers, words may be allowed.
        least: lowest number; None for words.
        most: highest number; None for words.
    """

    type: type
    parse: Callable[[str], Any]
    expected: str
    summary: str
    words: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


def words(values: Mapping[str, str | bool], aliases: Mapping[str, str] | None = None) -> Values:
    """Return `Values` that are words, in any case.

    Args:
        values: value of each word.
        aliases: other spellings, which messages do not mention, and their words.
    """
    spellings = {word: word for word in values} | dict(aliases or {})

    def parse(text: str) -> str | bool:
        word = spellings.get(text.lower())
        if word is None:
            raise ValueError(text)
        return values[word]

    return Values(str, parse, f"one of {', '.join(values)}", "|".join(values), tuple(values))


def choices(allowed: Iterable[str], aliases: Mapping[str, str] | None = None) -> Values:
    """Return `Values` that are words which stand for themselves."""
    return words({word: word for word in allowed}, aliases)


def whole_number(least: int, most: int) -> Values:
    """Return `Values` that are whole numbers from `least` to `most`, in ASCII digits."""

    def parse(text: str) -> int:
        is_short = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        if not (is_short and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    expected = f"a whole number from {least} to {most}"
    return Values(int, parse, expected, f"{least}-{most}", least=least, most=most)


def decimal(least: int, most: int) -> Values:
    """Return `Values` that are numbers from `least` to `most`, with decimals or without."""

    def parse(text: str) -> float:
        if not (DECIMAL.fullmatch(text) and least <= float(text) <= most):
            raise ValueError(text)
        return float(text)

    expected = (
        f"a number from {least} to {most}, such as 2 or 1.5, with up to {MAX_DIGITS} decimals"
    )
    return Values(float, parse, expected, f"{least}-{most}", least=least, most=most)


def name(longest: int) -> Values:
    """Return `Values` that are names of at most `longest` characters, see `NAME`."""

    def parse(text: str) -> str:
        if not NAME.fullmatch(text) or len(text) > longest:
            raise ValueError(text)
        return text

    expected = f"a name of at most {longest} letters, digits, dots, hyphens and underscores"
    return Values(str, parse, expected, "NAME")


def share_or(word: str) -> Values:
    """Return `Values` that are numbers from 0 to 1, or a word, in any case."""

    def parse(text: str) -> float | str:
        if text.lower() == word:
            return word
        number = float(text)
        if not 0 <= number <= 1:
            raise ValueError(text)
        return number

    return Values(float, parse, f"a number from 0 to 1, or {word}", f"0-1|{word}", (word,))
