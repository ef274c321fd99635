"""Who may import whom, as docs/architecture.md draws it."""

import ast
import subprocess
import sys

import pytest

from config import ROOT

LIBRARIES = {
    "celery",
    "kombu",
    "redis",
    "fsspec",
    "s3fs",
    "flask_limiter",
    "gunicorn",
    "limits",
    "prometheus_client",
    "pythonjsonlogger",
    "cv2",
    "numpy",
    "PIL",
    "pillow_heif",
    "imagecodecs",
    "defusedxml",
    "isal",
    "av",
    "pebble",
    "tensorflow",
    "keras",
    "flask",
    "flask_restx",
    "flask_cors",
    "werkzeug",
}
PICTURES = {"PIL", "pillow_heif", "imagecodecs", "defusedxml"}
FLASK = {"flask", "flask_restx", "flask_cors", "werkzeug"}
SERVER = {"flask_limiter", "gunicorn", "limits", "prometheus_client", "pythonjsonlogger"}
CLUSTER = {"celery", "kombu", "redis", "fsspec"}
ONLY_IN = {
    "flask_limiter": {"api/rates.py"},
    "gunicorn": {"api/logs.py", "api/worker.py"},
    "limits": {"api/rates.py"},
    "prometheus_client": {"api/metrics.py"},
    "pythonjsonlogger": {"api/logs.py"},
}
ONLY_IN_JOBS = {
    "celery": {"jobs/cluster/broker.py"},
    "kombu": {"jobs/cluster/broker.py"},
    "redis": {"jobs/cluster/ledger.py"},
    "fsspec": {"jobs/cluster/storage.py"},
}
OURS = {"api", "app", "benchmarks", "config", "core", "jobs", "training", "upscale"}

FORBIDDEN = {
    "config.py": LIBRARIES | OURS,
    "core/errors.py": LIBRARIES | OURS,
    "core/card.py": LIBRARIES | OURS - {"core"},
    "core/quiet.py": LIBRARIES | OURS,
    "core/heap.py": LIBRARIES | OURS,
    "core/pixels.py": LIBRARIES - {"numpy"} | OURS,
    "core/tiles.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/picture.py": LIBRARIES | OURS - {"core"},
    "core/images": LIBRARIES - PICTURES - {"numpy"} | OURS - {"core"},
    "core/alpha.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/chunks.py": LIBRARIES - {"isal"} | OURS - {"core"},
    "core/consistency.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/rendering.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/png.py": LIBRARIES - {"numpy", "isal"} | OURS - {"core"},
    "core/tensorflow.py": LIBRARIES - {"tensorflow"} | OURS - {"core"},
    "core/graph.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/interpolation.py": LIBRARIES | OURS - {"core"},
    "core/upscaler.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/handover.py": LIBRARIES | OURS,
    "core/confinement.py": LIBRARIES | OURS - {"core"},
    "core/streaming.py": LIBRARIES | OURS - {"core"},
    "core/video": LIBRARIES - {"av", "numpy"} | OURS - {"core"},
    "core/workers.py": LIBRARIES - {"pebble"} | OURS - {"core"},
    "core/decoding.py": LIBRARIES | OURS - {"core"},
    "core/machine.py": LIBRARIES | OURS,
    "core/scheduler.py": LIBRARIES | OURS - {"core"},
    "core/admission.py": LIBRARIES | OURS - {"core"},
    "core/costs.py": LIBRARIES | OURS - {"core"},
    "core/archives.py": LIBRARIES | OURS - {"core"},
    "core/pictures.py": LIBRARIES | OURS - {"core"},
    "core/clips.py": LIBRARIES | OURS - {"core"},
    "core/files.py": LIBRARIES | OURS,
    "core/media.py": LIBRARIES | OURS - {"core"},
    "core/reading.py": LIBRARIES | OURS - {"core"},
    "core/opening.py": LIBRARIES | OURS - {"core"},
    "core/plans.py": LIBRARIES | OURS - {"core"},
    "core/conversion.py": LIBRARIES | OURS - {"core"},
    "jobs": LIBRARIES - CLUSTER | OURS - {"core", "jobs"},
    "jobs/__main__.py": LIBRARIES | OURS - {"app", "jobs"},
    "api": LIBRARIES - FLASK - SERVER | OURS - {"api", "core", "jobs"},
    "core/animation": LIBRARIES - {"numpy", "PIL"} | OURS - {"core"},
    "core/recurrence.py": LIBRARIES | OURS - {"core"},
    "core/coherence.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/flow.py": LIBRARIES - {"cv2", "numpy"} | OURS - {"core"},
    "core/fusion.py": LIBRARIES - {"cv2", "numpy"} | OURS - {"core"},
    "app.py": LIBRARIES - {"flask", "flask_cors", "werkzeug"}
    | {"benchmarks", "training", "upscale"},
    "upscale.py": LIBRARIES | OURS - {"config", "core"},
    "training": FLASK
    | PICTURES
    | {"av"}
    | {"api", "app", "benchmarks", "config", "jobs", "upscale"},
    "benchmarks": {"tensorflow", "keras", "flask_restx", "flask_cors"}
    | {"api", "app", "jobs", "upscale"},
}


def imported_packages(path):
    """Top-level name of every absolute import in the file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def sources(layer):
    """Its files, less those that have a rule of their own within it."""
    start = ROOT / layer
    if start.is_file():
        return [start]
    ruled = {ROOT / other for other in FORBIDDEN if other != layer}
    return [path for path in sorted(start.rglob("*.py")) if path not in ruled]


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_only_what_it_may(layer):
    for path in sources(layer):
        crossed = FORBIDDEN[layer] & set(imported_packages(path))
        assert not crossed, f"{path.relative_to(ROOT)} imports {sorted(crossed)}"


def test_every_module_of_core_has_its_rule():
    ruled = {layer for layer in FORBIDDEN if layer.startswith("core/")}
    modules = {path for path in (ROOT / "core").glob("*.py") if path.name != "__init__.py"}
    packages = {path.parent for path in (ROOT / "core").glob("*/__init__.py")}
    there = {str(path.relative_to(ROOT)) for path in modules | packages}
    assert there == ruled


def importers(layer, library):
    return {
        str(path.relative_to(ROOT))
        for path in sources(layer)
        if library in set(imported_packages(path))
    }


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_of_the_server_has_its_place(library):
    assert importers("api", library) == ONLY_IN[library]


@pytest.mark.parametrize("library", ONLY_IN_JOBS)
def test_a_library_of_several_machines_has_its_place(library):
    assert importers("jobs", library) == ONLY_IN_JOBS[library]


def test_a_server_without_a_queue_needs_none_of_these():
    check = f"import app, sys; print(sorted(sys.modules.keys() & {CLUSTER - {'redis'}}))"
    said = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n"
