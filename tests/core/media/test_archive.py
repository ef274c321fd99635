import io
import stat
import struct
import zipfile
import zlib

import pytest

from core.errors import UnreadableArchive, UnreadableImage
from core.media.archive import ArchiveLimits, is_archive, list_entries, open_archive, unpack

LIMITS = ArchiveLimits(files=5, file_bytes=1000)


@pytest.fixture
def write(tmp_path):
    """Write an archive of pairs of a name, or an info, and bytes; return its path."""

    def write(*files, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in files:
                archive.writestr(name, content)
        return path

    return write


def names(path, limits=LIMITS):
    with open_archive(path, limits) as archive:
        return [entry.name for entry in list_entries(archive, limits)]


def contents(path, limits=LIMITS):
    with open_archive(path, limits) as archive:
        for entry in list_entries(archive, limits):
            with unpack(archive, entry, limits) as unpacked:
                yield unpacked.read_bytes()
            assert not unpacked.exists()


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_files_are_listed_in_order_with_their_folders(write):
    path = write(("b.png", b"1"), ("a/", b""), ("a/c.png", b"22"), ("./d//e.png", b""))
    assert is_archive(path)
    assert names(path) == ["b.png", "a/c.png", "d/e.png"]
    assert list(contents(path)) == [b"1", b"22", b""]


def test_backslashes_separate_folders(write):
    path = write(("a_b.png", b"1"))
    path.write_bytes(path.read_bytes().replace(b"a_b.png", b"a\\b.png"))
    assert names(path) == ["a/b.png"]


def test_names_are_utf_8_where_they_can_be(write):
    """Info-ZIP and macOS do not mark UTF-8; what is no UTF-8 is CP437."""
    name = "straße_ä 日本.png"
    stand_in = "x" * len(name.encode())
    path = write((stand_in, b"1"), ("y.png", b"2"), ("été.png", b"3"))
    data = path.read_bytes().replace(stand_in.encode(), name.encode())
    path.write_bytes(data.replace(b"y.png", "ä.png".encode("cp437")))
    assert names(path) == [name, "ä.png", "été.png"]
    assert list(contents(path)) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("checksum", "expected"), [(zlib.crc32(b"y.png"), "ä.png"), (0, "y.png")])
def test_a_name_in_an_extra_field_counts_if_it_belongs_to_the_entry(write, checksum, expected):
    info = zipfile.ZipInfo("y.png")
    info.extra = struct.pack("<HHBL", 0x7075, 5 + 6, 1, checksum) + "ä.png".encode()
    assert names(write((info, b"1"))) == [expected]


def test_an_unsafe_name_in_utf_8_is_refused(write):
    path = write(("x/xx/ä", b"1"))
    path.write_bytes(path.read_bytes().replace(b"x/xx/", b"x/../"))
    with pytest.raises(UnreadableArchive, match="names are paths within it"):
        names(path)


def test_a_dated_entry_keeps_the_time_in_utc(write):
    source = zipfile.ZipInfo("a.png", (2021, 3, 4, 5, 6, 8))
    source.extra = struct.pack("<HHBLL", 0x5455, 9, 3, 1614834368, 1)
    with open_archive(write((source, b"1")), LIMITS) as archive:
        (entry,) = list_entries(archive, LIMITS)
    made = entry.dated("b.png")
    assert (made.filename, made.date_time) == ("b.png", (2021, 3, 4, 5, 6, 8))
    assert made.extra == struct.pack("<HHBL", 0x5455, 5, 1, 1614834368)


def test_files_of_operating_systems_are_skipped(write):
    junk = ["__MACOSX/._b.png", ".DS_Store", "a/.hidden", "a/Thumbs.db", "Desktop.ini"]
    assert names(write(*((name, b"1") for name in [*junk, "b.png"]))) == ["b.png"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../b.png", "a/../../b.png", "..\\b.png", "C:\\b.png", "a\nb.png", "."]
)
def test_an_archive_with_an_unsafe_name_is_refused(write, name):
    with pytest.raises(UnreadableArchive, match="names are paths within it. Received: "):
        names(write(("good.png", b"1"), (name, b"1")))


def test_names_too_long_to_be_unpacked_are_refused(write):
    assert names(write(("n" * 4095, b"1"))) == ["n" * 4095]
    path = write(("n" * 4000, b"1"))
    path.write_bytes(path.read_bytes().replace(b"n" * 4000, b"\xe4" * 4000))  # twice that in UTF-8
    with pytest.raises(UnreadableArchive, match="at most 4095 bytes in UTF-8. .*, 8000 bytes"):
        names(path)


def test_two_files_with_one_name_are_refused(write):
    with pytest.warns(UserWarning, match="Duplicate"):
        path = write(("a.png", b"1"), ("b.png", b"1"), ("a.png", b"2"))
    with pytest.raises(UnreadableArchive, match="'a.png', 2 times"):
        names(path)


def test_too_many_files_are_refused(write):
    with pytest.raises(UnreadableArchive, match="at most 5 files. Received: 6"):
        names(write(*((f"{n}.png", b"") for n in range(6))))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(write):
    path = write(("a.png", bytes(70_000_000)))
    with pytest.raises(UnreadableArchive, match="at most 64000000 bytes, unpacked"):
        names(path, ArchiveLimits(files=5, file_bytes=10**9))


def test_files_that_overlap_are_refused(write):
    path = write(("a.png", b"1" * 500), ("b.png", b"2" * 500), method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 10)  # where its bytes begin
    path.write_bytes(data)
    with pytest.raises(UnreadableArchive, match="do not overlap"):
        names(path)


def test_a_large_file_is_refused_without_the_archive(write):
    path = write(("a.png", bytes(1001)))
    assert names(path) == ["a.png"]
    with pytest.raises(UnreadableImage, match="at most 1000 bytes. Received: 1001 bytes"):
        list(contents(path))


def test_a_link_is_refused(write):
    with pytest.raises(UnreadableImage, match="Received: a link"):
        list(contents(write((link("a.png"), b"/etc/passwd"))))


def test_encrypted_files_are_refused(write):
    path = write(("a.png", b"1"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableArchive, match="must not be encrypted. Received: 'a.png'"):
        names(path)


def test_rare_compression_methods_are_refused(write):
    with pytest.raises(UnreadableArchive, match="of method 14"):
        names(write(("a.png", b"1"), method=zipfile.ZIP_LZMA))


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda _data: b"PK\x03\x04 no more"])
def test_a_damaged_archive_is_refused(write, damage):
    path = write(("a.png", b"1" * 100))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UnreadableArchive, match="whole, undamaged ZIP file"):
        names(path)


def test_a_damaged_file_is_refused_without_the_archive(write):
    path = write(("a.png", b"1" * 100), method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"1" * 50, b"2" * 50, 1))
    assert names(path) == ["a.png"]
    with pytest.raises(UnreadableImage, match="CRC"):
        list(contents(path))


@pytest.mark.parametrize("place", [10_000, 2**62, 2**63 - 1])
def test_a_file_after_the_end_is_refused_without_the_archive(write, place):
    path = write(("a.png", b"1"), ("b.png", b"2"))
    data = bytearray(path.read_bytes())
    entry, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    data[end:end] = struct.pack("<HHQ", 1, 8, place)  # the extra field of ZIP64
    struct.pack_into("<H", data, entry + 30, 12)
    struct.pack_into("<I", data, entry + 42, 2**32 - 1)
    struct.pack_into("<I", data, end + 12 + 12, end + 12 - data.index(b"PK\x01\x02"))
    path.write_bytes(data)
    assert names(path) == ["a.png", "b.png"]
    files = contents(path)
    assert next(files) == b"1"
    with pytest.raises(UnreadableImage, match="within its archive"):
        next(files)


def test_a_long_table_of_contents_is_not_read(write):
    path = write(*((f"{'n' * 900}{n}/", b"") for n in range(100)))
    with pytest.raises(UnreadableArchive, match="table of contents of at most 65536 bytes"):
        names(path)


def test_archives_are_recognised_by_their_first_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG" + io.BytesIO().getvalue())
    assert not is_archive(path)


def test_a_damaged_byte_changes_no_content_unnoticed(write):
    sent = [b"1" * 100, b"2" * 300]
    path = write(("a.png", sent[0]), ("b/c.png", sent[1]))
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
            try:
                assert set(contents(path)) <= set(sent)
            except (UnreadableArchive, UnreadableImage):
                refused += 1
    assert refused > len(whole)
