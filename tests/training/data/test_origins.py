from training.data.photos import Origin, read_origins


def test_the_nearest_table_prevails(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "manifest.csv").write_text("file,licence\nweb/a.jpg,unclear\nb.jpg,CC0\n")
    (tmp_path / "web" / "licences.csv").write_text(
        "file,licence,source,author\na.jpg, CC BY 4.0 ,https://example.org/a,Ann\n"
    )
    assert read_origins(tmp_path) == {
        tmp_path / "web" / "a.jpg": Origin("CC BY 4.0", "https://example.org/a", "Ann"),
        tmp_path / "b.jpg": Origin("CC0"),
    }


def test_in_one_folder_the_licences_prevail_over_the_manifest(tmp_path):
    (tmp_path / "licences.csv").write_text("file,licence\na.jpg,CC0\n")
    (tmp_path / "manifest.csv").write_text("file,licence\na.jpg,unclear\n")
    assert read_origins(tmp_path) == {tmp_path / "a.jpg": Origin("CC0")}


def test_a_row_without_a_licence_says_nothing(tmp_path):
    (tmp_path / "licences.csv").write_text("file,licence\na.jpg, \nb.jpg\n")
    assert read_origins(tmp_path) == {}
