"""Commands for jobs on several machines: `python -m jobs worker|health`.

`worker` computes jobs of the servers that have the same ENHANCER_QUEUE_URL, until SIGTERM. It
takes the settings of the service from the environment. `health` exits with 0 if the worker of
this machine or container is alive and not stuck, else with 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cluster.health import default_alive_file, is_healthy


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
        default=default_alive_file(),
        help="file that a healthy worker touches; each worker of one machine needs its own",
    )
    parsed = parser.parse_args(arguments)
    if parsed.command == "health":
        return 0 if is_healthy(parsed.sign) else 1
    from app import work  # takes seconds, which `health` need not wait for

    return work(parsed.sign)


if __name__ == "__main__":
    sys.exit(main())
