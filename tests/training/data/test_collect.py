import os
import shutil
from pathlib import Path

import pytest

from tests.support.photographs import encoded, photograph, rows_of
from training import CommandFailed
from training.data.collect import PhotoRequirements, check_files, prepare
from training.data.photos import Origin, load_pairs, read_manifest

CC0 = PhotoRequirements(licence="CC0", workers=2)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


def put(folder, name, seed=1, size=(192, 256), file_format="PNG", **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(photograph(seed, *size), file_format, **options))
    return path


def refusals(target):
    return {row["file"]: row["reason"] for row in rows_of(target / "refused.csv")}


def test_a_collection_can_be_trained_on(source, target):
    put(source, "a.png", 1)
    put(source, "deep/er/a.png", 2, (200, 300))
    text = prepare(source, target, CC0)
    photos = read_manifest(target)
    assert [photo.licence for photo in photos] == ["CC0", "CC0"]
    assert {pair.hr.shape for pair in load_pairs(photos)} == {(192, 256, 3), (200, 300, 3)}
    assert text.startswith("2 accepted\n")
    assert refusals(target) == {}


def test_the_manifest_states_the_properties_of_a_photograph(source, target):
    for seed in range(40):
        put(source, f"{seed}.png", seed)
    prepare(source, target, CC0)
    rows, photos = rows_of(target / "manifest.csv"), read_manifest(target)
    assert (rows[0]["width"], rows[0]["height"]) == ("256", "192")
    splits = ["validation" if photo.is_validation else "training" for photo in photos]
    assert [row["split"] for row in rows] == splits
    assert set(splits) == {"validation", "training"}


def test_licences_come_from_tables_then_from_the_command_line(source, target):
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        put(source, name, seed)
    (source / "licences.csv").write_text(
        "file,licence,source,author\na.png,CC BY 4.0,https://example.org/a,Ann\n"
    )
    prepare(source, target, CC0)
    rows = {row["file"][0]: row for row in rows_of(target / "manifest.csv")}
    assert [rows[name]["licence"] for name in "abc"] == ["CC BY 4.0", "CC0", "CC0"]
    assert (rows["a"]["source"], rows["a"]["author"]) == ("https://example.org/a", "Ann")


@pytest.mark.parametrize("licence", [None, " "])
def test_a_file_without_a_licence_is_refused(source, target, licence):
    put(source, "a.png", 1)
    put(source, "b.png", 2)
    (source / "licences.csv").write_text("file,licence\na.png,CC0\n")
    text = prepare(source, target, PhotoRequirements(licence))
    assert list(refusals(target)) == ["b.png"]
    assert "1 refused\n  1 no licence\n" in text


def test_the_result_depends_on_the_files_alone(source, target, tmp_path):
    for seed in range(6):
        put(source, f"{seed}.png", seed)
        put(source, f"again/{5 - seed}.jpg", seed, (200, 280), "JPEG")
    (source / "broken.png").write_bytes(b"broken")
    prepare(source, target, PhotoRequirements("CC0", workers=1))
    first = {path.name: path.read_bytes() for path in target.iterdir()}
    for place, workers in ((target, 4), (tmp_path / "other", 3)):
        prepare(source, place, PhotoRequirements("CC0", workers=workers))
        assert {path.name: path.read_bytes() for path in place.iterdir()} == first


def test_of_near_duplicates_the_largest_is_kept(source, target):
    put(source, "a_small.png", 1, (192, 256))
    put(source, "b_large.jpg", 1, (384, 512), "JPEG", quality=50)
    put(source, "c_other.png", 2)
    prepare(source, target, CC0)
    assert "that shows b_large.jpg" in refusals(target)["a_small.png"]
    assert [row["width"] for row in rows_of(target / "manifest.csv")] == ["512", "256"]


def test_of_the_same_bytes_the_first_is_kept(source, target):
    shutil.copy(put(source, "b.png", 1), source / "a.png")
    assert "1 duplicate\n" in prepare(source, target, CC0)
    assert refusals(target) == {"b.png": "File must be new. Received: the same bytes as a.png."}


def test_test_pictures_are_kept_out(source, target, tmp_path):
    put(tmp_path / "eval" / "Set9" / "HR", "bird.png", 1)
    put(source, "mine.jpg", 1, (300, 400), "JPEG")
    put(source, "other.png", 2)
    prepare(source, target, PhotoRequirements("CC0", test_sets=tmp_path / "eval"))
    assert "one that shows Set9/HR/bird.png" in refusals(target)["mine.jpg"]
    assert len(read_manifest(target)) == 1


def test_empty_test_sets_are_reported(source, target, tmp_path):
    put(source, "a.png")
    with pytest.raises(CommandFailed, match="holds <set>/HR"):
        prepare(source, target, PhotoRequirements("CC0", test_sets=tmp_path))


def test_an_unreadable_test_picture_is_reported(source, target, tmp_path):
    put(source, "a.png")
    broken = tmp_path / "eval" / "Set9" / "HR" / "bird.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"broken")
    with pytest.raises(CommandFailed, match=r"bird\.png must be a picture\. .* Received: 6 bytes"):
        prepare(source, target, PhotoRequirements("CC0", test_sets=tmp_path / "eval"))


def test_unusual_file_names_are_accepted(source, target):
    names = ("Größe 1.png", "two\nlines.PNG", "日本.png", "-", "..png", "a,b.jpeg")
    names = [name if "." in name[1:] else f"{name}.png" for name in names]
    for seed, name in enumerate(names):
        put(source, name, seed)
    put(source, os.fsdecode(b"b\xe4r.png"), 10)
    put(source, os.fsdecode(b"\xe4.png"), 10, (300, 400))
    prepare(source, target, CC0)
    photos = read_manifest(target)
    assert len(photos) == len(names) + 1
    assert all(photo.path.is_file() and photo.path.name.isascii() for photo in photos)
    assert {"Grosse-1", "two-lines"} & {p.path.name.rpartition("-")[0] for p in photos}
    assert list(refusals(target)) == [r"b\udce4r.png"]


def test_links_are_followed_to_files_and_not_to_folders(source, target, tmp_path):
    put(tmp_path, "elsewhere.png", 1)
    (source / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (source / "loop").symlink_to(source)
    (source / "self.png").symlink_to(source / "self.png")
    prepare(source, target, CC0)
    (photo,) = read_manifest(target)
    assert not photo.path.is_symlink()
    assert list(refusals(target)) == ["self.png"]


def test_nothing_is_stored_twice_on_one_file_system(source, target):
    path = put(source, "a.png")
    prepare(source, target, CC0)
    assert read_manifest(target)[0].path.samefile(path)


def test_without_hard_links_files_are_copied(source, target, monkeypatch):
    def fail(*_args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    path = put(source, "a.png")
    prepare(source, target, CC0)
    stored = read_manifest(target)[0].path
    assert stored.read_bytes() == path.read_bytes()
    assert not stored.samefile(path)


def test_a_file_that_vanishes_is_refused(source, target, monkeypatch):
    gone = put(source, "a.png", 1)
    put(source, "b.png", 2)
    admit = prepare.__globals__["Selection"].admit

    def admit_and_remove(self, photo, name):
        admit(self, photo, name)
        if photo.path == gone:
            gone.unlink()

    monkeypatch.setattr("training.data.collect.Selection.admit", admit_and_remove)
    prepare(source, target, CC0)
    assert "File must stay until it is stored" in refusals(target)["a.png"]
    assert len(read_manifest(target)) == 1


def test_an_interrupted_run_leaves_the_previous_collection(source, target, monkeypatch):
    put(source, "a.png", 1)
    prepare(source, target, CC0)
    before = (target / "manifest.csv").read_bytes()
    put(source, "b.png", 2)

    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.collect.link_or_copy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, target, CC0)
    assert (target / "manifest.csv").read_bytes() == before


def test_if_nothing_is_accepted_the_reasons_are_written(source, target):
    (source / "a.jpg").write_bytes(b"")
    with pytest.raises(CommandFailed, match=r"1 that do not, see .*refused\.csv"):
        prepare(source, target, CC0)
    assert "Received: 0 bytes" in refusals(target)["a.jpg"]
    assert not (target / "manifest.csv").exists()


def test_a_refusal_does_not_keep_the_pixels_in_memory(source):
    paths = [put(source, "small.png", 1, (100, 100)), source / "broken.png"]
    paths[1].write_bytes(b"broken")
    candidates, refusals = check_files(paths, dict.fromkeys(paths, Origin("CC0")), CC0)
    assert candidates == []
    assert {r.kind for r in refusals.values()} == {"too small", "unreadable"}
    assert {r.__traceback__ or r.__cause__ for r in refusals.values()} == {None}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nowhere", "target", "SOURCE must be a folder"),
        ("full", "full", "TARGET must lie outside SOURCE"),
        ("full", "full/inside", "TARGET must lie outside SOURCE"),
        ("full", "link/inside", "TARGET must lie outside SOURCE"),
        ("full", "full/../file", "TARGET must be a folder"),
        ("full", "foreign", "columns file, note"),
        ("full", "blank", "TARGET must be new"),
        ("empty", "target", "SOURCE must hold pictures"),
    ],
)
def test_unusable_folders_are_reported(tmp_path, source, target, message):
    put(tmp_path / "full", "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "file").touch()
    for name, text in (("foreign", "file,note\na,b\n"), ("blank", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text(text)
    with pytest.raises(CommandFailed, match=message):
        prepare(tmp_path / source, tmp_path / target, CC0)


def test_a_folder_that_cannot_be_read_is_reported(source, target, monkeypatch):
    put(source, "closed/a.png")
    scandir = os.scandir

    def deny(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(CommandFailed, match="readable throughout. Received: .*closed"):
        prepare(source, target, CC0)
