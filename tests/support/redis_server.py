"""A Redis server for tests."""

import shutil
import subprocess

import pytest
import redis

from benchmarks.server import free_port
from tests.support.waiting import wait_until

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


class RedisServer:
    """A server that hands each change to the system before it answers, so it survives `kill`.

    It does not wait for the disk, which other processes may keep busy for seconds.
    """

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder

    def start(self):
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "no", "loglevel": "warning"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def _answers(self):
        try:
            with redis.Redis(port=self.port) as client:
                return client.ping()
        except redis.RedisError:
            return False
