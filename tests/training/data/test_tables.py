import pytest

from tests.support.photographs import rows_of
from training.data.photos import read_table, write_table
from training.errors import CommandFailed


def test_what_is_written_is_read(tmp_path):
    rows = [{"file": "a, b.jpg", "reason": 'said "no"\nand left'}, {"file": "é.png", "reason": ""}]
    write_table(tmp_path / "t.csv", ("file", "reason"), rows)
    assert read_table(tmp_path / "t.csv", ("file",)) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_an_interrupted_table_leaves_the_one_before(tmp_path):
    def rows():
        yield {"file": "b"}
        raise KeyboardInterrupt

    write_table(tmp_path / "t.csv", ("file",), [{"file": "a"}])
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "t.csv", ("file",), rows())
    assert rows_of(tmp_path / "t.csv") == [{"file": "a"}]
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_name_in_another_encoding_can_be_written(tmp_path):
    write_table(tmp_path / "t.csv", ("file",), [{"file": "b\udce4r.jpg"}])
    assert rows_of(tmp_path / "t.csv") == [{"file": r"b\udce4r.jpg"}]


def test_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_text("file,licence\na,CC0\n", encoding="utf-8-sig")
    assert read_table(tmp_path / "t.csv", ("file", "licence"))[0]["file"] == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,licence\n", "columns file, licence. Received: name, licence"),
        (b"", "Received: no columns"),
        (b"file,licence\n\xff", "CSV table in UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_wrong_table_is_told(tmp_path, content, message):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CommandFailed, match=message):
        read_table(tmp_path / "t.csv", ("file", "licence"))
