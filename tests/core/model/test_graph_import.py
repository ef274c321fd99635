import subprocess
import sys


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_tensorflow_is_imported_without_keras_and_jax():
    code = "import sys, core.model.graph; print([n in sys.modules for n in ('keras', 'jax')])"
    assert run(code) == "[False, False]\n"


def test_keras_can_be_imported_afterwards():
    code = """
from core.model.graph import tf
import keras
print(float(keras.ops.sum(tf.ones(3))), tf.keras.Sequential.__name__)
"""
    assert run(code) == "3.0 Sequential\n"


def test_keras_stays_if_it_is_imported_already():
    code = "import sys, keras, core.model.graph; print(sys.modules['keras'] is keras)"
    assert run(code) == "True\n"
