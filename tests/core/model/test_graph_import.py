import subprocess
import sys

import pytest


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def loading():
    """A finished process that loaded the graph and then imported Keras."""
    return run("""
import sys
from config import Settings
from core.model.graph import load_graph, tf
load_graph(Settings().card)
print([name in sys.modules for name in ("keras", "jax")])
print("The graph is loaded.", file=sys.stderr, flush=True)
import keras
print(float(keras.ops.sum(tf.ones(3))), tf.keras.Sequential.__name__)
""")


def test_tensorflow_is_imported_without_keras_and_jax(loading):
    assert loading.stdout.splitlines()[0] == "[False, False]"


def test_keras_can_be_imported_afterwards(loading):
    assert loading.stdout.splitlines()[1] == "3.0 Sequential"


def test_loading_the_graph_writes_nothing_to_standard_error(loading):
    assert loading.stderr.startswith("The graph is loaded.\n")


@pytest.mark.thorough
def test_keras_stays_if_it_is_imported_already():
    code = "import sys, keras, core.model.graph; print(sys.modules['keras'] is keras)"
    assert run(code).stdout == "True\n"
