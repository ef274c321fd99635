import os

import pytest

from core.runtime.machine import native_stderr_held_back


def test_what_a_block_writes_is_not_shown(capfd):
    with native_stderr_held_back():
        os.write(2, b"chatter")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_what_a_failing_block_wrote_is_shown(capfd):
    with pytest.raises(RuntimeError), native_stderr_held_back():
        os.write(2, b"the reason")
        raise RuntimeError
    assert capfd.readouterr().err == "the reason"
