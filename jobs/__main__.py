"""Commands for jobs on several machines: `python -m jobs worker|health|adopt`.

`worker` computes jobs of the servers that have the same ENHANCER_QUEUE_URL, until SIGTERM. It
takes the settings of the service from the environment. `health` exits with 0 if the worker of
this machine or container is alive and not stuck, else with 1. A worker shows that by touching a
file every few seconds. A probe runs `health` as often, so this module imports next to nothing.
`adopt` makes the storage of this machine that of all servers and workers, after the storage was
emptied or replaced. Jobs whose files are not there fail.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MAX_AGE_S = 60.0
"""Age in seconds from which the file says that the worker is dead or stuck."""


def default_alive_file() -> Path:
    """Return the file of the worker, if there is only one on this machine."""
    return Path(tempfile.gettempdir()) / "enhancer-worker.alive"


def is_healthy(alive_file: Path) -> bool:
    """Return whether the worker has touched its file recently.

    A file of the future is from before the clock was set back. A living worker touches it again.
    """
    with suppress(FileNotFoundError):
        return abs(time.time() - alive_file.stat().st_mtime) < MAX_AGE_S
    return False


def lock_sign(sign: Path) -> int:
    """Return the descriptor that keeps other workers from a sign; exit with 1 if one has it."""
    from core.files import lock_file

    rule = "python -m jobs: --sign must name a file of its own for each worker of a machine"
    try:
        lock = lock_file(sign.with_name(f"{sign.name}.lock"))
    except OSError as error:
        sys.exit(f"{rule}, in a writable folder. Received: {sign}, which fails with: {error}")
    if lock is None:
        sys.exit(f"{rule}. Received: {sign}, which a running worker has.")
    return lock


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("worker", "health", "adopt"))
    parser.add_argument(
        "--sign",
        type=Path,
        default=default_alive_file(),
        help="file that a healthy worker touches; each worker of a machine needs its own",
    )
    parsed = parser.parse_args(arguments)
    if parsed.command == "health":
        return 0 if is_healthy(parsed.sign) else 1
    if parsed.command == "adopt":
        from app import adopt

        return adopt()
    _lock = lock_sign(parsed.sign)  # until the process ends
    from app import work  # takes seconds, which `health` need not wait for

    return work(parsed.sign)


if __name__ == "__main__":
    sys.exit(main())
