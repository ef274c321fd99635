"""Commands for jobs on several machines: python -m jobs worker | health

`worker` computes jobs of the servers that have the same ENHANCER_QUEUE_URL, until SIGTERM. It
has the settings of the service, all in the environment. `health` says by its exit code, 0 or
1, whether the worker of this machine, or container, lives and is not stuck.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cluster.health import is_healthy, usual_sign


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("worker", "health"))
    parser.add_argument(
        "--sign",
        type=Path,
        default=usual_sign(),
        help="file by which the worker shows that it lives; workers of one machine need several",
    )
    parsed = parser.parse_args(arguments)
    if parsed.command == "health":
        return 0 if is_healthy(parsed.sign) else 1
    from app import work  # takes seconds, which `health` need not wait for

    return work(parsed.sign)


if __name__ == "__main__":
    sys.exit(main())
