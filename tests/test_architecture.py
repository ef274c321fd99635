"""Who may import whom, as docs/architecture.md draws it."""

import ast
import subprocess
import sys

import pytest

from config import ROOT

FLASK = {"flask", "flask_restx", "flask_cors", "werkzeug"}
FORBIDDEN = {
    "config.py": {"api", "core", "jobs", "training", "numpy", "tensorflow", "flask"},
    "core": FLASK | {"api", "app", "config", "jobs", "keras", "training", "upscale"},
    "jobs": FLASK | {"api", "config", "numpy", "PIL", "tensorflow", "training", "upscale"},
    "api": {"app", "av", "config", "cv2", "PIL", "tensorflow", "training", "upscale"},
    "app.py": {"benchmarks", "numpy", "tensorflow", "training", "upscale"},
    "upscale.py": FLASK | {"api", "app", "jobs", "tensorflow", "training"},
    "training": FLASK | {"PIL", "api", "app", "av", "benchmarks", "config", "jobs", "upscale"},
    "benchmarks": {"api", "app", "flask_restx", "jobs", "keras", "tensorflow", "upscale"},
}


def imported_packages(path):
    """Top-level name of every absolute import in the file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def sources(layer):
    start = ROOT / layer
    return [start] if start.is_file() else sorted(start.rglob("*.py"))


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_only_what_it_may(layer):
    for path in sources(layer):
        crossed = FORBIDDEN[layer] & set(imported_packages(path))
        if path.name == "__main__.py":
            crossed -= {"app"}
        assert not crossed, f"{path.relative_to(ROOT)} imports {sorted(crossed)}"


def test_a_server_without_a_queue_imports_no_celery():
    check = "import app, sys; print(sorted(sys.modules.keys() & {'celery', 'kombu', 'fsspec'}))"
    said = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "[]\n"
