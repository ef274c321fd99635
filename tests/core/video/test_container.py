import pytest

from core.video.container import MKV, MOV, MP4, WEBM, sniff
from tests.support.clip_files import scenes, write_clip


@pytest.mark.parametrize(
    ("kind", "codec"), [(MP4, "libx264"), (MOV, "libx264"), (MKV, "libx264"), (WEBM, "libvpx-vp9")]
)
def test_the_format_is_detected_from_the_content(tmp_path, kind, codec):
    path = write_clip(tmp_path / f"clip.{kind}", scenes(2), codec=codec)
    assert sniff(path.rename(tmp_path / "clip.txt")) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GIF89a",
        b"#EXTM3U\n#EXTINF:1,\nclip.mp4\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
        b"\0\0\0\x20ftypavif\0\0\0\0",
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"RIFF\0\0\0\0AVI LIST",
    ],
)
def test_other_files_have_no_format(tmp_path, head):
    path = tmp_path / "clip.mp4"
    path.write_bytes(head + bytes(100))
    assert sniff(path) is None


def test_matroska_without_a_doc_type_counts_as_mkv(tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    assert sniff(path) == MKV
