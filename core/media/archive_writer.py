"""Write the ZIP archive of the results of an archive: names, files, and the report."""

import json
import shutil
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath

REPORT = "report.json"
"""Name of the file in a result that lists the files left out or incomplete, and why. It exists only
if there are any."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of the report, so that the result does not depend on when it was made."""

READABLE = 0o100644 << 16
"""External attributes of a plain file that everybody may read, in a ZIP archive."""

UNIX = 3
"""Code of the system whose attributes these are, in a ZIP archive."""


def result_names(files: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of results, which differ on every file system.

    Some file systems do not distinguish names by case, or by how accents are composed. Where names
    would be equal, or equal to that of a folder, the old suffix stays before the new one, or a
    number comes before it.

    Args:
        files: the name of each file, and the suffix of its result.

    >>> result_names([("a/1.jpg", ".png"), ("a/2.gif", ".png"), ("a/2.jpg", ".png")])
    ['a/1.png', 'a/2.gif.png', 'a/2.jpg.png']
    >>> result_names([("A.png", ".png"), ("a.png", ".png")])
    ['A.png', 'a_2.png']
    """
    short_paths = [PurePosixPath(name).with_suffix(suffix) for name, suffix in files]
    short_names = list(map(str, short_paths))
    folders = {comparable(str(folder)) for path in short_paths for folder in path.parents}
    occurrences = Counter([*map(comparable, short_names), *folders])
    taken = folders | {name for name, times in occurrences.items() if times == 1}
    results = []
    for (name, suffix), short in zip(files, short_names, strict=True):
        is_unique = occurrences[comparable(short)] == 1
        result = short if is_unique else free_name(name, suffix, taken)
        taken.add(comparable(result))
        results.append(result)
    return results


def comparable(name: str) -> str:
    """Return what names have in common that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """Return a name with a suffix, and a number if needed, that is not taken."""
    path = PurePosixPath(name)
    kept = name if path.suffix.lower() == suffix else f"{name}{suffix}"
    numbered = (str(path.with_name(f"{path.stem}_{number}{suffix}")) for number in count(2))
    return next(each for each in chain([kept], numbered) if comparable(each) not in taken)


def readable(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Mark an entry as a plain file that everybody may read, wherever it is written."""
    info.external_attr = READABLE
    info.create_system = UNIX
    return info


def add_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Store a file without compression: pictures and clips are compressed already."""
    with path.open("rb") as content, archive.open(readable(info), "w", force_zip64=True) as output:
        shutil.copyfileobj(content, output)


def add_report(
    archive: zipfile.ZipFile, refused: Mapping[str, str], incomplete: Mapping[str, str]
) -> None:
    """Add the report as JSON: names of files left out or incomplete, and why."""
    sections = {"left_out": refused, "incomplete": incomplete}
    report = {
        title: [{"file": name, "reason": reason} for name, reason in reasons.items()]
        for title, reasons in sections.items()
    }
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    archive.writestr(readable(zipfile.ZipInfo(REPORT, EPOCH)), text)


def describe_report(left_out: int, incomplete: int) -> str | None:
    """Return a sentence about files left out of the result, or incomplete; None without any.

    >>> describe_report(1, 2)
    '1 file is left out, 2 files are incomplete: report.json in the result says which, and why.'
    """
    counted = [(left_out, "left out"), (incomplete, "incomplete")]
    parts = [
        f"{number} {'file is' if number == 1 else 'files are'} {what}"
        for number, what in counted
        if number
    ]
    return f"{', '.join(parts)}: {REPORT} in the result says which, and why." if parts else None
