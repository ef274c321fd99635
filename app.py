"""Start the server, or a worker of jobs. Run `python app.py --help`."""

import argparse
import logging
import logging.config
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from api.observability.logs import logging_config
from config import ROOT, InvalidSetting, Settings
from service.build import Application, create_app, create_cluster_backend, create_worker_context
from service.checks import check_queue, check_server, check_worker, read_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Check settings and graphs, then become the production server.

    Exits with 1 if a setting or a graph is wrong, with 2 if an argument is.
    """
    parser = argparse.ArgumentParser(
        prog="app.py", description="Start the server. All settings are environment variables."
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings and graphs, print the settings, exit"
    )
    only_check = parser.parse_args(arguments).check
    try:
        settings = read_settings(partial(check_server, changes_nothing=only_check))
    except InvalidSetting as error:
        sys.exit(f"app.py: {error}")
    if only_check:
        print_lines(settings.lines())
        return
    configuration = str(ROOT / "gunicorn.conf.py")
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--config", configuration])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines for as long as somebody reads them."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        if not isinstance(error, BrokenPipeError):
            sys.exit(f"Standard output must be writable. Received: {error.strerror}.")


def from_environment() -> Application:
    """Build and start the application of a server process from the environment."""
    logging.captureWarnings(True)  # puts them into log records
    app = create_app(Settings.from_env())
    app.start()
    return app


def work(alive_file: Path) -> int:
    """Run a worker of a cluster until SIGTERM, and return its exit code.

    Args:
        alive_file: file that the worker touches while it is healthy.
    """
    from jobs.cluster.worker import WorkerTimings
    from jobs.cluster.worker_process import run_worker

    try:
        settings = read_settings(check_worker)
    except InvalidSetting as error:
        sys.exit(f"python -m jobs: {error}")
    logging.config.dictConfig(logging_config(settings.log_format, settings.log_level))
    logging.captureWarnings(True)
    context = create_worker_context(settings)
    timings = WorkerTimings(frame_s=settings.deadline_s, stop_s=settings.graceful_timeout_s)
    backend = create_cluster_backend(settings)
    return run_worker(backend, context, timings, alive_file, settings.worker_metrics_port)


def adopt() -> int:
    """Make the storage of this machine that of the cluster, and return the exit code."""
    from jobs.cluster.ledger import LedgerUnavailable
    from jobs.cluster.storage_watch import adopt_storage

    try:
        backend = create_cluster_backend(read_settings(check_queue))
        identity = adopt_storage(backend.ledger, backend.storage)
    except InvalidSetting as error:
        sys.exit(f"python -m jobs: {error}")
    except (LedgerUnavailable, OSError) as error:
        sys.exit(f"python -m jobs: Redis and the storage must answer. Received: {error}")
    print_lines([f"All servers and workers must have this storage now: {identity}"])
    return 0


if __name__ == "__main__":
    main()
