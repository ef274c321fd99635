import mmap
import os

import pytest

import core.runtime.machine
from core.runtime.machine import (
    count_cores,
    has_bfloat16,
    held_memory,
    memory_limit,
    resident_memory,
)


@pytest.fixture
def cgroup(monkeypatch, tmp_path):
    """An empty control group on a machine of eight cores."""
    monkeypatch.setattr(core.runtime.machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")

    return lambda files: write(**files)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.max": "3200000 100000"}, 8),
        ({"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, 8),
        ({"cpu__cpu.cfs_quota_us": "200000", "cpu__cpu.cfs_period_us": "100000"}, 2),
    ],
)
def test_cores_are_those_of_the_quota(cgroup, files, cores):
    cgroup(files)
    assert count_cores() == cores


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "536870912"}, 536870912),
        ({"memory__memory.limit_in_bytes": "1073741824"}, 1073741824),
    ],
)
def test_memory_is_that_of_the_limit(cgroup, files, limit):
    cgroup(files)
    assert memory_limit() == limit


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max"},
        {"memory__memory.limit_in_bytes": "9223372036854771712"},
    ],
)
def test_without_a_limit_memory_is_that_of_the_machine(cgroup, files):
    cgroup(files)
    assert memory_limit() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_resident_memory_grows_with_what_is_held():
    before = resident_memory()
    with mmap.mmap(-1, 50_000_000) as held:  # memory of its own, whatever else was freed
        held.write(bytes(50_000_000))
        assert resident_memory() > before + 40_000_000


def test_pages_of_files_are_not_held(tmp_path):
    (tmp_path / "large").write_bytes(bytes(50_000_000))
    before, held_before = resident_memory(), held_memory()
    with (
        (tmp_path / "large").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
    ):
        assert pages[:: mmap.PAGESIZE].count(0) == len(pages[:: mmap.PAGESIZE])
        assert resident_memory() > before + 40_000_000
        assert held_memory() < held_before + 20_000_000


def test_all_memory_counts_as_held_if_file_pages_are_not_reported(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("VmRSS:\t1000 kB\n")
    monkeypatch.setattr(core.runtime.machine, "STATUS", status)
    assert held_memory() == 1_024_000


def test_resident_memory_must_be_stated(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(core.runtime.machine, "STATUS", tmp_path / "status")
    with pytest.raises(OSError, match="VmRSS"):
        resident_memory()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n", True),
        ("flags : amx_bf16\n", True),
        ("flags : avx512f avx2\n", False),
        ("flags : avx2\nbugs : avx512_bf16\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bfloat16_is_what_the_processor_lists(monkeypatch, tmp_path, text, expected):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(core.runtime.machine, "CPU_INFO", path)
    assert has_bfloat16() is expected
