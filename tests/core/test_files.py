import pytest

from core.files import atomic_write


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_the_target_appears_when_the_block_ends(tmp_path, durable):
    target = tmp_path / "new folder" / "target"
    with atomic_write(target, durable=durable) as partial:
        partial.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert names_in(target.parent) == ["target"]


def test_a_failed_write_leaves_the_previous_file(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"before"
    assert names_in(tmp_path) == ["target"]


def test_the_last_of_two_simultaneous_writers_wins(tmp_path):
    target = tmp_path / "target"
    with atomic_write(target) as slow:
        slow.write_bytes(b"slow")
        with atomic_write(target) as fast:
            fast.write_bytes(b"fast")
        assert target.read_bytes() == b"fast"
    assert target.read_bytes() == b"slow"


def test_a_temporary_file_is_hidden_and_called_partial(tmp_path):
    with atomic_write(tmp_path / "target") as partial:
        partial.touch()
        assert partial.parent == tmp_path
        assert partial.name.startswith(".target.")
        assert partial.suffix == ".partial"
