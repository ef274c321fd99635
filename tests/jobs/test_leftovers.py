"""Uploads that a killed server leaves among the temporary files."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from config import ROOT
from tests.support.folders import files_in
from tests.support.killed_upload import CONTENT, FOLDER, embedded
from tests.support.stand_in_worker import letters_context


@pytest.mark.parametrize("step", ["estimate", "submit"])
def test_the_next_start_deletes_what_a_killed_server_has_left(step):
    folder = Path(tempfile.gettempdir())
    command = [sys.executable, "-m", "tests.support.killed_upload", step]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(folder)}, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = files_in(folder)
    assert left.read_bytes() == CONTENT
    jobs = embedded(letters_context())
    jobs.start()
    jobs.close()
    assert [path.name for path in folder.iterdir()] == [FOLDER]
