import json
import sys

import pytest

from benchmarks.isolated import OUT_OF_MEMORY, CallFailed, call_isolated, find_reason
from tests.support import isolated_functions


def test_a_function_is_called_in_a_process_of_its_own():
    result, peak_mb = call_isolated(json.dumps, obj=[1, "a"])
    assert result == '[1, "a"]'
    assert peak_mb > 1


def test_a_failure_is_reported_in_one_line():
    with pytest.raises(CallFailed, match=r"^math domain error|^expected a nonnegative input"):
        call_isolated(isolated_functions.square_root, of=-1)


def test_a_missing_interpreter_is_reported():
    with pytest.raises(CallFailed, match="no-python"):
        call_isolated(json.dumps, python="/no-python", obj=1)


def test_too_much_memory_ends_only_the_isolated_process(monkeypatch):
    monkeypatch.setattr("benchmarks.isolated.free_memory_bytes", lambda: 500_000_000)
    with pytest.raises(CallFailed, match=OUT_OF_MEMORY):
        call_isolated(isolated_functions.allocate, count=2_000_000_000)
    assert call_isolated(isolated_functions.allocate, count=1_000)[0] == 1_000


@pytest.mark.parametrize(
    ("code", "stderr", "expected"),
    [
        (1, "Traceback\nMemoryError\n", OUT_OF_MEMORY),
        (-6, "terminate called after throwing 'std::bad_alloc'", OUT_OF_MEMORY),
        (1, "ResourceExhaustedError: OOM when allocating tensor\nmore\n", OUT_OF_MEMORY),
        (1, "CallFailed to allocate 3317760000 bytes of memory", OUT_OF_MEMORY),
        (-9, "", "ended with -9"),
        (1, "Traceback\nModuleNotFoundError: No module named 'x'\n", "No module named 'x'"),
    ],
)
def test_the_reason_is_the_last_line_of_the_process(code, stderr, expected):
    assert find_reason(code, stderr) == expected


def test_the_interpreter_can_be_chosen():
    assert call_isolated(json.dumps, python=sys.executable, obj=1)[0] == "1"
