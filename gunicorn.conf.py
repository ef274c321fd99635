"""The production server: one process per copy of the model, requests in threads.

The application is not loaded before the fork: TensorFlow does not survive one.
"""

from pathlib import Path

from api.logs import logging_config
from config import ROOT, Settings

settings = Settings.from_env()

wsgi_app = "app:from_environment()"
chdir = str(ROOT)
bind = (
    f"[{settings.host}]:{settings.port}"
    if ":" in settings.host
    else f"{settings.host}:{settings.port}"
)
workers = settings.workers
worker_class = "gthread"
threads = settings.request_threads
preload_app = False
graceful_timeout = settings.graceful_timeout_s
logger_class = "api.logs.ServerLogger"
logconfig_dict = logging_config(settings.log_format, settings.log_level)
control_socket_disable = True  # nobody here runs gunicorn's own control client
timeout = 120  # seconds without a sign of life from a process, of which loading takes about 5
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"  # the sign of life is a file: keep it off slow disks
