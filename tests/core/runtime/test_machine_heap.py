import subprocess
import sys

import pytest

AGAIN_AND_AGAIN = """
import resource
import numpy as np
from core.runtime.machine import keep_heap

if {is_kept}:
    keep_heap()
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(5_000_000)  # 40 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


FREED_BELOW_A_SMALL_ARRAY = """
import numpy as np
from core.runtime.machine import give_back_heap, held_memory, keep_heap

keep_heap()
large = [np.ones(1_000_000) for _ in range(10)]  # 80 MB
above = np.ones(1000)
del large
before = held_memory()
give_back_heap()
print(before - held_memory())
"""


def page_faults(*, is_kept):
    code = AGAIN_AND_AGAIN.format(is_kept=is_kept)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of the GNU C library")
def test_large_arrays_reuse_pages_of_the_heap():
    assert page_faults(is_kept=True) * 10 < page_faults(is_kept=False)


@pytest.mark.skipif(sys.platform != "linux", reason="of the GNU C library")
def test_freed_memory_of_the_heap_can_be_given_back():
    command = [sys.executable, "-c", FREED_BELOW_A_SMALL_ARRAY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000
