"""Throw damaged files at the decoders, or at a server: python -m tests.fuzzing

Exit code: 0 if nothing did harm, 1 if something did; it is kept.
"""

import argparse
import sys
from pathlib import Path
from random import Random

from tests.fuzzing.campaign import describe, run
from tests.fuzzing.seeds import built_in
from tests.fuzzing.targets import ServerTarget, default_decoders


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parsed = parse(arguments)
    target = ServerTarget(parsed.url) if parsed.url else default_decoders()
    seeds = read_folder(parsed.seeds) if parsed.seeds else built_in()
    random = Random(parsed.random)
    tally = run(target, seeds, random, for_s=60 * parsed.minutes, to=parsed.keep)
    sys.stdout.write(describe(tally))
    return 1 if tally.kept else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seeds", type=Path, help="folder of files to damage; else built in")
    parser.add_argument("--url", help="of a running server; else the decoders themselves")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--random", type=int, help="number that repeats a run")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for harm")
    return parser.parse_args(arguments)


def read_folder(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


if __name__ == "__main__":
    sys.exit(main())
