"""Configuration of the production server: one process per copy of the model, requests in threads.

The application is loaded after the fork, because TensorFlow does not survive a fork.
"""

import os
import shutil
import socket
import sys
import tempfile
from math import ceil
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the server may start in any folder

from config import ANY_HOST, ROOT, Settings
from core.files import create_locked_folder, sweep_private_folders

SCRIPT_NAME = "SCRIPT_NAME"
if SCRIPT_NAME in os.environ:  # gunicorn answers every path without it with 500, even probes
    os.environ.setdefault("ENHANCER_PATH_PREFIX", os.environ.pop(SCRIPT_NAME))

settings = Settings.from_env()

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # must be set before prometheus_client is imported
METRICS_PREFIX = "enhancer-shared-metrics-"
# A folder in memory, or else the default folder of temporary files.
MEMORY_FOLDER = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())

IDLE_CONNECTIONS = 500  # connections that occupy no thread

sweep_private_folders(MEMORY_FOLDER, METRICS_PREFIX)  # of servers that were killed
os.environ.setdefault(SHARED_METRICS, "")
if settings.workers == 1:
    del os.environ[SHARED_METRICS]
elif METRICS_PREFIX not in os.environ[SHARED_METRICS]:  # a reload keeps the folder
    metrics_folder, _lock = create_locked_folder(MEMORY_FOLDER, METRICS_PREFIX)  # until the end
    os.environ[SHARED_METRICS] = str(metrics_folder)

from api.observability.logs import logging_config  # noqa: E402
from api.server.worker import WorkerTimeouts, create_worker_class  # noqa: E402


def addresses_to_bind() -> list[str]:
    """Return the addresses to listen on. Where there is IPv6, its sockets serve IPv4, too."""
    if settings.host != ANY_HOST:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return [f"{host}:{settings.port}"]
    ipv4, ipv6 = f"0.0.0.0:{settings.port}", f"[::]:{settings.port}"
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::", 0))
            is_ipv6_only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [ipv4]
    return [ipv4, ipv6] if is_ipv6_only else [ipv6]


def keep_relative_paths() -> None:
    """Make the paths of settings absolute: workers run in another folder than this process."""
    for path in ("CARD", "MODELS", "JOBS_FOLDER", "STORAGE_URL"):
        name = f"ENHANCER_{path}"
        if os.environ.get(name) and "://" not in os.environ[name]:
            os.environ[name] = str(Path(os.environ[name]).absolute())


keep_relative_paths()

wsgi_app = "app:from_environment()"
chdir = str(ROOT)
bind = addresses_to_bind()
workers = settings.workers
worker_class = create_worker_class(
    WorkerTimeouts(settings.read_timeout_s, settings.write_timeout_s, settings.drain_s),
    watchers=settings.job_watchers,
)
threads = settings.request_threads
preload_app = False
worker_connections = settings.request_threads + settings.job_watchers + IDLE_CONNECTIONS
graceful_timeout = ceil(settings.drain_s) + settings.graceful_timeout_s
sendfile = False  # sendfile would wait for ever for a client that does not read
forwarded_allow_ips = ""  # ENHANCER_PROXIES decides which proxies are trusted
logger_class = "api.observability.logs.ServerLogger"
logconfig_dict = logging_config(settings.log_format, settings.log_level)
control_socket_disable = True  # gunicorn's control client is not used
timeout = 120  # seconds without a heartbeat from a process; loading takes about 5
worker_tmp_dir = str(MEMORY_FOLDER)  # the heartbeat is a file: keep it off slow disks


def child_exit(_server: Any, worker: Any) -> None:
    """Drop the gauges of a process that has ended, and keep its counters."""
    if SHARED_METRICS in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Delete the folder of shared metrics."""
    if SHARED_METRICS in os.environ:
        shutil.rmtree(os.environ[SHARED_METRICS], ignore_errors=True)
