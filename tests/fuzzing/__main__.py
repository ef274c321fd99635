"""Send damaged files to the decoders or to a server, and keep those that do harm.

Run `python -m tests.fuzzing`. The exit status is 0 if no file did harm, else 1.
"""

import argparse
import sys
from pathlib import Path
from random import Random

from tests.fuzzing.campaign import run, summarise
from tests.fuzzing.seeds import built_in_seeds
from tests.fuzzing.targets import ServerTarget, default_decoders


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return its exit status."""
    options = parse_arguments(arguments)
    target = ServerTarget(options.url) if options.url else default_decoders()
    seeds = read_folder(options.seeds) if options.seeds else built_in_seeds()
    random = Random(options.random)
    tally = run(target, seeds, random, seconds=60 * options.minutes, folder=options.keep)
    sys.stdout.write(summarise(tally))
    return 1 if tally.kept else 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seeds", type=Path, help="folder of files to damage; default built in")
    parser.add_argument("--url", help="URL of a running server; default the decoders themselves")
    parser.add_argument("--minutes", type=float, default=10.0, help="duration; default 10")
    parser.add_argument("--random", type=int, help="seed that repeats a run")
    parser.add_argument(
        "--keep", type=Path, default=Path("runs/fuzz"), help="folder for files that do harm"
    )
    return parser.parse_args(arguments)


def read_folder(folder: Path) -> list[bytes]:
    """Return the content of every file in a folder."""
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


if __name__ == "__main__":
    sys.exit(main())
