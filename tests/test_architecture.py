"""Check the parts of the architecture that import contracts do not express.

Import contracts are in `pyproject.toml`; `make lint` keeps them.
"""

import ast
import subprocess
import sys
from collections import Counter

from config import ROOT

PACKAGES = ("api", "core", "jobs", "service", "training")
MOST_MODULES = 144
"""125 before there was a restorer. It added its own tiles, interpolation and tasks to serving, the
condition of pictures and their traces of compression to `core.images`, and its networks and stages
to training. Results of any size added grids, passes, bands and strips to `core.model`, resampling
to `core.images`, and a route for estimates; `core.values`, `core.runtime.memory_plan` and
`core.sandbox.codecs` were parts of longer modules before."""

MOST_LINES = 400


def modules(*packages):
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def repeated(names):
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_modules_are_few_and_short():
    assert len(modules(*PACKAGES)) <= MOST_MODULES
    long = [
        str(path) for path in modules(*PACKAGES) if len(path.read_text().splitlines()) > MOST_LINES
    ]
    assert long == []


def test_no_two_modules_of_core_have_one_name():
    assert repeated(path.stem for path in modules("core") if path.stem != "__init__") == []


def test_no_two_public_classes_have_one_name():
    names = [
        node.name
        for path in modules(*PACKAGES)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert repeated(names) == []


def run(code):
    """Return what Python prints when it runs the code in the project's folder."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_server_without_a_queue_imports_no_celery():
    cluster = {"celery", "kombu", "fsspec"}
    assert run(f"import app, sys; print(sorted(sys.modules.keys() & {cluster}))") == "[]\n"


def test_entry_points_import_no_training():
    for name in ("app", "upscale"):
        assert run(f"import {name}, sys; print('training' in sys.modules)") == "False\n"


def test_settings_import_nothing_of_the_project():
    tree = ast.parse((ROOT / "config.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.split(".")[0] in PACKAGES} == set()
