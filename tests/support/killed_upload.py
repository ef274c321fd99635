"""A server that is killed while it opens an upload: `python -m tests.support.killed_upload STEP`.

The step is `estimate`, or `submit` to a cluster. Nothing but its temporary files is left of it.
"""

import io
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from core.options import OutputOptions
from jobs.cluster.client import connect
from jobs.cluster.engine import ClusterJobs
from jobs.cluster.ledger import JobLedger, LedgerLimits
from jobs.cluster.storage import Storage
from jobs.embedded.engine import EmbeddedJobs, EmbeddedLimits
from tests.support.stand_in_worker import letters_context

CONTENT = b"upload"
FOLDER = "jobs"
"""Name of the folder of jobs among the temporary files."""


def embedded(context):
    return EmbeddedJobs(EmbeddedLimits(Path(gettempdir(), FOLDER), 1000, 3), context)


def die(*_arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def main(step):
    context = replace(letters_context(), open_medium=die)
    if step == "estimate":
        embedded(context).estimate(io.BytesIO(CONTENT), OutputOptions())
    ledger = JobLedger(connect("redis://127.0.0.1:1/0"), LedgerLimits(3, 1000, 60))
    jobs = ClusterJobs(ledger, Storage(gettempdir()), None, context)
    submit = partial(jobs.submit, io.BytesIO(CONTENT), "a.txt", OutputOptions())
    submit(key=None, caller="")


if __name__ == "__main__":
    main(*sys.argv[1:])
