"""An S3-compatible server for tests."""

import subprocess
import sys
from contextlib import contextmanager

import boto3
import requests

from benchmarks.server import free_port
from tests.support.waiting import wait_until

BUCKET = "enhancer"
START_S = 40


@contextmanager
def s3_server():
    """Start a server with a bucket, and yield the environment variables that point to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: answers(url), START_S)
            keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
            client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
            client.create_bucket(Bucket=BUCKET)
            client.close()
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
            }
        finally:
            server.kill()


def answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
