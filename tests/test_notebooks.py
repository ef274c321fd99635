"""The notebooks of the documentation, executed from top to bottom on a few small photographs."""

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from config import ROOT
from core.images import decode_rgb, encode_png, resize_bicubic
from core.picture import Picture

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = [
    FOLDER / f"{name}.ipynb" for name in ("prepare_data", "explore_data", "train_and_judge")
]
ORIGINALS = sorted((ROOT / "samples" / "test_examples" / "original").glob("*.png"))
PARTS = [(slice(None), slice(0, 320)), (slice(None), slice(-320, None))]
SMALL = """
from pathlib import Path

source, work, min_side = Path({source!r}), Path({work!r}), 96
filters, blocks, steps, batch, patch, minutes, shown_px = 8, 1, 3, 2, 8, 2, 144
"""
"""Values of the parameters of all notebooks."""

CELL_TIMEOUT_S = 120


def read(path):
    return nbformat.read(path, as_version=4)


def is_parameters(cell):
    return "parameters" in cell.metadata.get("tags", ())


@pytest.fixture
def photographs(tmp_path):
    """A dozen photographs of 144 x 160 px."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in ORIGINALS[:7]:
        pixels = decode_rgb(path.read_bytes())
        for index, part in enumerate(PARTS):
            small = resize_bicubic(np.ascontiguousarray(pixels[part]), 144, 160)
            (folder / f"{path.stem}{index}.png").write_bytes(encode_png(Picture(small)))
    return folder


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    """Let Jupyter and IPython write nothing outside the folder of the test."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def prepare(path, parameters):
    """Return the cells of a notebook, with other parameters and without names of others."""
    cells = read(path).cells
    (position,) = (i for i, cell in enumerate(cells) if is_parameters(cell))
    cells.insert(position + 1, nbformat.v4.new_code_cell(parameters))
    return [nbformat.v4.new_code_cell("%reset -f"), *cells]


def execute(notebooks):
    """Execute the cells of notebooks in one kernel, because TensorFlow loads slowly."""
    cells = [cell for notebook in notebooks for cell in notebook]
    resources = {"metadata": {"path": str(FOLDER)}}
    merged = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(
        merged, kernel_name="python3", timeout=CELL_TIMEOUT_S, resources=resources
    ).execute()


def outputs_of(cells, kind):
    """Return the outputs of a media type."""
    return [
        output.data[kind]
        for cell in cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    ]


@pytest.mark.usefixtures("own_folders")
def test_the_notebooks_run_from_top_to_bottom(photographs, tmp_path):
    work = tmp_path / "work"
    parameters = SMALL.format(source=str(photographs), work=str(work))
    notebooks = [prepare(path, parameters) for path in NOTEBOOKS]
    execute(notebooks)
    prepared, explored, judged = notebooks
    assert "12 accepted" in outputs_of(prepared, "text/plain")[0]
    assert len(outputs_of(prepared, "image/png")) == 2
    assert len(outputs_of(explored, "image/png")) == 4
    assert len(outputs_of(judged, "image/png")) == 2
    measured, outside = outputs_of(judged, "text/markdown")
    assert "| Validation | mine |" in measured
    assert "| . | detail 1 |" in outside
    assert (work / "models" / "mine.pb").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_every_notebook_is_executed():
    assert set(NOTEBOOKS) == set(FOLDER.glob("*.ipynb"))
