import traceback

import pytest

from jobs.cluster import storage as storage_module
from jobs.cluster.storage import IDENTITY_NAME, Storage, WrongStorage
from tests.support.folders import files_in
from tests.support.s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def s3_environment():
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return str(tmp_path / "storage")
    for name, value in request.getfixturevalue("s3_environment").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture
def storage(url):
    return Storage(url)


@pytest.fixture
def put(storage, tmp_path):
    def put(content, name):
        source = tmp_path / "source"
        source.write_bytes(content)
        storage.put(source, name)

    return put


def read(storage, name):
    with storage.open(name) as file:
        return file.read()


def test_a_stored_file_is_seen_from_another_machine(put, url, tmp_path):
    other = Storage(url)
    with pytest.raises(FileNotFoundError):
        other.open("job/parts/1")
    put(b"segment", "job/parts/1")
    assert read(other, "job/parts/1") == b"segment"
    other.fetch("job/parts/1", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"segment"


def test_a_missing_file_cannot_be_fetched(storage, tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.fetch("job/source", tmp_path / "copy")


def test_a_file_is_read_from_the_middle(put, storage):
    put(bytes(range(250)) * 100_000, "job/result")
    with storage.open("job/result") as file:
        file.seek(20_000_003)
        assert file.read(2) == bytes([3, 4])
        file.seek(-1, 2)
        assert file.read() == bytes([249])


def test_a_file_is_replaced(put, storage):
    put(b"old", "job/result")
    put(b"new", "job/result")
    assert read(storage, "job/result") == b"new"


def test_only_deleted_files_are_gone(put, storage):
    for name in ("a/source", "a/parts/1", "a/parts/2", "b/source"):
        put(b"x", name)
    storage.delete("a/parts")
    assert read(storage, "a/source") == b"x"
    storage.delete("a")
    with pytest.raises(FileNotFoundError):
        storage.open("a/source")
    assert read(storage, "b/source") == b"x"


def test_deleting_a_missing_file_does_nothing(put, storage):
    put(b"x", "a/source")
    storage.delete("nobody")
    assert read(storage, "a/source") == b"x"


def test_a_storage_is_known_by_its_identity_on_all_machines(put, storage, url):
    assert storage.identity() is None
    identity = storage.identify()
    assert Storage(url).identity() == identity
    storage.expected = identity
    storage.check()
    put(b"x", "a/source")


def test_nothing_is_written_to_or_deleted_from_another_storage(put, storage, url):
    put(b"x", "a/source")
    storage.expected = "abc"
    rule = "The storage of this machine must be .* has the text 'abc'. Received: "
    with pytest.raises(WrongStorage, match=f"{rule}no such file"):
        put(b"y", "a/source")
    Storage(url).identify()
    with pytest.raises(WrongStorage, match=f"{rule}one with '"):
        storage.delete("a")
    assert read(Storage(url), "a/source") == b"x"


def test_a_folder_is_checked_each_time_and_s3_now_and_then(storage, url, monkeypatch):
    storage.expected = storage.identify()
    storage.check()
    Storage(url).delete(IDENTITY_NAME)
    if storage.folder is None:
        storage.check()
        monkeypatch.setattr(storage_module, "CHECK_EVERY_S", 0.0)
    with pytest.raises(WrongStorage):
        storage.check()


def test_a_check_that_must_not_be_late_is_made_at_once(storage, url):
    storage.expected = storage.identify()
    storage.check()
    Storage(url).delete(IDENTITY_NAME)
    with pytest.raises(WrongStorage):
        storage.check(at_once=True)
    with pytest.raises(WrongStorage):  # also of S3, as the last check failed
        storage.check()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    storage = Storage(str(tmp_path / "storage"))
    with pytest.raises(FileNotFoundError):
        storage.put(tmp_path / "nothing", "job/source")
    assert files_in(tmp_path / "storage") == []


def test_errors_do_not_show_the_id_of_a_job(put, storage, tmp_path):
    job_id = "k3Jd"
    put(b"x", job_id)
    transfers = [
        lambda: storage.fetch(f"{job_id}/source", tmp_path / "copy"),
        lambda: storage.open(f"{job_id}/source"),
    ]
    if storage.folder:
        transfers.append(lambda: put(b"x", f"{job_id}/source"))
    for transfer in transfers:
        with pytest.raises(OSError) as raised:
            transfer()
        assert "k3Jd" not in "".join(traceback.format_exception(raised.value))


def test_an_open_file_in_a_folder_can_be_read_after_it_is_deleted(tmp_path):
    (tmp_path / "source").write_bytes(b"result")
    storage = Storage(str(tmp_path / "storage"))
    storage.put(tmp_path / "source", "job/result")
    with storage.open("job/result") as file:
        storage.delete("job")
        assert file.read() == b"result"


def test_a_storage_that_does_not_answer_raises_an_oserror(monkeypatch, tmp_path):
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(OSError):
        Storage("s3://bucket/jobs").put(tmp_path / "source", "job/source")
