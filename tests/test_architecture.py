"""Who may import whom, as docs/architecture.md draws it."""

import ast

import pytest

from config import ROOT

LIBRARIES = {
    "numpy",
    "PIL",
    "isal",
    "pebble",
    "tensorflow",
    "keras",
    "flask",
    "flask_restx",
    "flask_cors",
    "werkzeug",
}
FLASK = {"flask", "flask_restx", "flask_cors", "werkzeug"}
OURS = {"api", "app", "benchmarks", "config", "core", "training", "upscale"}

FORBIDDEN = {
    "config.py": LIBRARIES | OURS,
    "core/errors.py": LIBRARIES | OURS,
    "core/card.py": LIBRARIES | OURS - {"core"},
    "core/quiet.py": LIBRARIES | OURS,
    "core/pixels.py": LIBRARIES - {"numpy"} | OURS,
    "core/tiles.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/picture.py": LIBRARIES | OURS - {"core"},
    "core/images.py": LIBRARIES - {"numpy", "PIL"} | OURS - {"core"},
    "core/png.py": LIBRARIES - {"numpy", "isal"} | OURS - {"core"},
    "core/tensorflow.py": LIBRARIES - {"tensorflow"} | OURS - {"core"},
    "core/graph.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/interpolation.py": LIBRARIES | OURS - {"core"},
    "core/upscaler.py": LIBRARIES - {"numpy"} | OURS - {"core"},
    "core/handover.py": LIBRARIES | OURS,
    "core/confinement.py": LIBRARIES | OURS - {"core"},
    "core/workers.py": LIBRARIES - {"pebble"} | OURS - {"core"},
    "core/decoding.py": LIBRARIES | OURS - {"core"},
    "core/machine.py": LIBRARIES | OURS,
    "core/scheduler.py": LIBRARIES | OURS - {"core"},
    "core/admission.py": LIBRARIES | OURS - {"core"},
    "core/costs.py": LIBRARIES | OURS - {"core"},
    "api": LIBRARIES - FLASK | OURS - {"api", "core"},
    "app.py": LIBRARIES - {"flask", "flask_cors", "werkzeug"}
    | {"benchmarks", "training", "upscale"},
    "upscale.py": LIBRARIES | OURS - {"config", "core"},
    "training": FLASK | {"PIL", "api", "app", "benchmarks", "config", "upscale"},
    "benchmarks": {"tensorflow", "keras", "flask_restx", "flask_cors", "api", "app", "upscale"},
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
        assert not crossed, f"{path.relative_to(ROOT)} imports {sorted(crossed)}"


def test_every_module_of_core_has_its_rule():
    ruled = {layer for layer in FORBIDDEN if layer.startswith("core/")}
    there = {str(p.relative_to(ROOT)) for p in sources("core") if p.name != "__init__.py"}
    assert there == ruled
