import errno
import hashlib
import io
import os

import pytest

from jobs.embedded.files import JobFiles, digest_of, full_disk_reported
from jobs.errors import OutOfSpace


@pytest.fixture
def files(tmp_path):
    files = JobFiles(tmp_path / "jobs", budget_bytes=10**6)
    files.make()
    return files


def test_the_folder_is_its_owners_only(files):
    files.make()
    assert files.folder.stat().st_mode & 0o077 == 0


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="must belong to the user that serves"):
        JobFiles(tmp_path, 1).make()


def test_a_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="be no link"):
        JobFiles(tmp_path / "link", 1).make()


def test_a_file_is_brought_in_under_a_lock(files):
    lock, digest = files.bring_in("a", io.BytesIO(b"content"))
    assert digest == hashlib.sha256(b"content").hexdigest() == digest_of(files.source("a"))
    assert files.lock("a") is None
    lock.release()
    again = files.lock("a")
    assert again is not None
    again.release()


def test_a_job_without_a_folder_has_no_lock(files):
    assert files.lock("none") is None


def test_what_is_written_by_halves_is_not_there(files):
    target = files.folder / "target"
    with pytest.raises(ZeroDivisionError), files.written(target) as path:
        path.write_bytes(b"half")
        raise ZeroDivisionError
    assert list(files.folder.iterdir()) == []
    with files.written(target) as path:
        path.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"


def test_an_upload_that_breaks_off_leaves_nothing(files):
    class Broken(io.BytesIO):
        def read(self, _size=-1):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutOfSpace, match="it is full"):
        files.bring_in("a", Broken())
    assert list(files.folder.iterdir()) == []


def test_other_failures_of_the_system_are_not_disguised():
    with pytest.raises(PermissionError), full_disk_reported():
        raise PermissionError(errno.EACCES, "Not yours")


def test_room_is_what_the_budget_leaves(files):
    files.bring_in("a", io.BytesIO(bytes(600_000)))[0].release()
    assert 600_000 <= files.used_bytes() < 700_000
    files.check_room(300_000)
    with pytest.raises(OutOfSpace, match="at most 1 MB. Received: 400000 bytes more"):
        files.check_room(400_000)


def test_room_is_no_more_than_the_disk_has(files, monkeypatch):
    class Usage:
        free = 5

    monkeypatch.setattr("jobs.embedded.files.shutil.disk_usage", lambda _path: Usage)
    files.check_room(5)
    with pytest.raises(OutOfSpace, match="which has 5 bytes left. Received: 6 bytes"):
        files.check_room(6)
