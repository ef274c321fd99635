"""Check the parts of the architecture that import contracts do not express.

Import contracts are in `pyproject.toml`; `make lint` keeps them.
"""

import ast
import subprocess
import sys
from collections import Counter

import pytest

from config import ROOT

PACKAGES = ("api", "core", "jobs", "service", "training")
MOST_MODULES = 186
"""125 before there was a restorer. It added its own tiles, interpolation and tasks to serving, the
condition of pictures and their traces of compression to `core.images`, and its networks and stages
to training. Results of any size added grids, passes, bands and strips to `core.model`, resampling
to `core.images`, and a route for estimates; `core.values`, `core.runtime.memory_plan`,
`core.sandbox.codecs` and `jobs.cluster.client` were parts of longer modules before. Importing
networks is a package of seven modules, and the measurement of halos a module that it shares with
`training.export`. An archive of pictures and clips became a medium of its own, apart from single
pictures, and writing archives a subject apart from reading them. Colours that files declare without
a profile, tone mapping of HDR, and the boxes of AVIF are subjects of `core.images`. Models that are
loaded on demand added a catalogue, a registry, lean graphs and their parts to `core.model`. Rates
of work, of which each model has its own, and tasks of tiles were parts of the scheduler before; the
share of jobs is an account beside it. Workers of a cluster have metrics of their own, and stored
jobs are a subject apart from the ledger. Whether a machine has the storage of the cluster is a
subject of its own, and the process of a worker was a part of `jobs.cluster.worker`.
`service.proxies` is middleware for forwarded headers.
Signs of hidden pictures are a subject of `core.images`, plots of metrics and pictures without
originals of `training.evaluation`. Training declares its options apart from its commands. Blind
trials are a package of eleven modules."""

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


@pytest.fixture(scope="module")
def imported():
    """Names of all modules of a process that imported the entry points."""
    command = [sys.executable, "-c", "import app, upscale, sys; print(*sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_server_without_a_queue_imports_no_celery(imported):
    assert {"celery", "kombu", "fsspec"} & imported == set()


def test_the_application_without_a_graph_needs_no_network_library(imported):
    assert {"tensorflow", "keras"} & imported == set()


def test_entry_points_import_no_training(imported):
    assert {"app", "upscale", "core", "core.model.upscaler"} <= imported
    assert "training" not in imported


def test_settings_import_nothing_of_the_project():
    tree = ast.parse((ROOT / "config.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.split(".")[0] in PACKAGES} == set()
