import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from config import ROOT
from core.files import (
    atomic_write,
    create_locked_folder,
    private_folder,
    scratch_folder,
    sweep_private_folders,
    sweep_scratch_folders,
)


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


def test_a_private_folder_goes_with_its_block_and_what_was_created_for_it(tmp_path):
    parent = tmp_path / "new" / "out"
    with pytest.raises(ZeroDivisionError), private_folder(parent) as folder:
        (folder / "half").touch()
        raise ZeroDivisionError
    assert names_in(tmp_path) == []
    with private_folder(parent) as folder:
        (folder / "whole").touch()
        (folder / "whole").rename(parent / "whole")
    assert names_in(parent) == ["whole"]


def test_only_private_folders_of_dead_processes_are_swept(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from core.files import private_folder\n"
        "with private_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
    (left,) = names_in(tmp_path)
    with private_folder(tmp_path) as alive:
        sweep_private_folders(tmp_path)
        assert names_in(tmp_path) == [alive.name]
        assert alive.name != left


@pytest.fixture
def left():
    """A private folder among the temporary files whose process has ended."""
    folder, lock = create_locked_folder(Path(tempfile.gettempdir()), "enhancer-scratch-")
    (folder / "upload").touch()
    os.close(lock)
    return folder


def test_scratch_folders_are_swept_without_those_in_use(left):
    with scratch_folder() as alive:
        sweep_scratch_folders()
        assert (left.exists(), alive.exists()) == (False, True)
    assert not alive.exists()


def test_folders_of_other_users_and_links_are_not_swept(left, monkeypatch, tmp_path):
    (tmp_path / "enhancer-scratch-link").symlink_to(left)
    monkeypatch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)
    sweep_scratch_folders()
    assert (left / "upload").exists()
