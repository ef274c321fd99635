"""The production server: one process per copy of the model, requests in threads.

The application is not loaded before the fork: TensorFlow does not survive one.
"""

import os
import shutil
import tempfile
from math import ceil
from typing import Any

from config import ROOT, Settings

settings = Settings.from_env()

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # read when prometheus_client is imported: first of all
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # else where temporary files go
OURS = "enhancer-metrics-"

IDLE_CONNECTIONS = 500  # that take no thread

os.environ.setdefault(SHARED_METRICS, "")
if settings.workers == 1:
    del os.environ[SHARED_METRICS]
elif OURS not in os.environ[SHARED_METRICS]:  # there already when the server is reloaded
    os.environ[SHARED_METRICS] = tempfile.mkdtemp(prefix=OURS, dir=MEMORY)

from api.observability.logs import logging_config  # noqa: E402
from api.server.worker import WorkerTimeouts, create_worker_class  # noqa: E402

host = f"[{settings.host}]" if ":" in settings.host else settings.host

wsgi_app = "app:from_environment()"
chdir = str(ROOT)
bind = f"{host}:{settings.port}"
workers = settings.workers
worker_class = create_worker_class(
    WorkerTimeouts(settings.read_timeout_s, settings.write_timeout_s, settings.drain_s),
    watchers=settings.job_watchers,
)
threads = settings.request_threads
preload_app = False
worker_connections = settings.request_threads + settings.job_watchers + IDLE_CONNECTIONS
graceful_timeout = ceil(settings.drain_s) + settings.graceful_timeout_s
sendfile = False  # it would wait for ever for a caller who does not read
forwarded_allow_ips = ""  # ENHANCER_PROXIES says who is believed
logger_class = "api.observability.logs.ServerLogger"
logconfig_dict = logging_config(settings.log_format, settings.log_level)
control_socket_disable = True  # nobody here runs gunicorn's own control client
timeout = 120  # seconds without a sign of life from a process, of which loading takes about 5
worker_tmp_dir = MEMORY  # the sign of life is a file: keep it off slow disks


def child_exit(_server: Any, worker: Any) -> None:
    """What a process had at the moment is gone with it; what it counted stays."""
    if SHARED_METRICS in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    if SHARED_METRICS in os.environ:
        shutil.rmtree(os.environ[SHARED_METRICS], ignore_errors=True)
