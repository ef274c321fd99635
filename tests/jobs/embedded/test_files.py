import errno
import hashlib
import io
import os

import pytest

from core.files import atomic_write
from jobs.embedded.files import JobFiles
from jobs.errors import OutOfSpace, disk_full_reported
from jobs.execution import file_digest


@pytest.fixture
def files(tmp_path):
    files = JobFiles(tmp_path / "jobs", budget_bytes=10**6)
    files.create()
    return files


def test_only_the_owner_can_read_the_folder(files):
    files.create()
    assert files.folder.stat().st_mode & 0o077 == 0


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="must belong to the user that serves"):
        JobFiles(tmp_path, 1).create()


def test_a_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="be no link"):
        JobFiles(tmp_path / "link", 1).create()


def test_an_upload_is_received_under_a_lock(files):
    lock, (path, digest, size) = files.receive("a", io.BytesIO(b"content"))
    assert digest == hashlib.sha256(b"content").hexdigest() == file_digest(files.source("a"))
    assert (path, size) == (files.source("a"), 7)
    assert files.lock("a") is None
    lock.release()
    again = files.lock("a")
    assert again is not None
    again.release()


def test_a_job_without_a_folder_has_no_lock(files):
    assert files.lock("none") is None


def test_an_unfinished_file_is_not_seen(files):
    target = files.folder / "target"
    with pytest.raises(ZeroDivisionError), atomic_write(target, durable=True) as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert list(files.folder.iterdir()) == []
    with atomic_write(target, durable=True) as path:
        path.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"


def test_an_upload_that_fills_the_disk_leaves_nothing(files):
    class Broken(io.BytesIO):
        def read(self, _size=-1):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutOfSpace, match="it is full"):
        files.receive("a", Broken())
    assert list(files.folder.iterdir()) == []


def test_other_errors_of_the_system_are_not_translated():
    with pytest.raises(PermissionError), disk_full_reported():
        raise PermissionError(errno.EACCES, "Not yours")


def test_files_must_fit_into_the_budget(files):
    files.receive("a", io.BytesIO(bytes(600_000)))[0].release()
    assert 600_000 <= files.used_bytes() < 700_000
    files.check_space(300_000)
    with pytest.raises(OutOfSpace, match="at most 1 MB. Received: 400000 bytes more"):
        files.check_space(400_000)


def test_files_must_fit_on_the_disk(files, monkeypatch):
    class Usage:
        free = 5

    monkeypatch.setattr("jobs.embedded.files.shutil.disk_usage", lambda _path: Usage)
    files.check_space(5)
    with pytest.raises(OutOfSpace, match="which has 5 bytes left. Received: 6 bytes"):
        files.check_space(6)
