"""Random weights in the shapes of VGG-19 and SqueezeNet."""

import numpy as np

from training.evaluation.metrics import COMPARED

VGG_SHAPES = {
    "rgb_to_caffe": (1, 1, 3, 3),
    "conv1_1": (3, 3, 3, 64),
    "conv1_2": (3, 3, 64, 64),
    "conv2_1": (3, 3, 64, 128),
    "conv2_2": (3, 3, 128, 128),
    "conv3_1": (3, 3, 128, 256),
}
SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
WIDE = {2: 128, 3: 128, 4: 256, 5: 256, 6: 384, 7: 384, 8: 512, 9: 512}


def random_vgg(narrower=1):
    """Return weights of VGG-19 up to conv3_1, with a fraction of its channels."""
    rng = np.random.default_rng(0)
    shapes = {
        name: tuple(size if size <= 3 else size // narrower for size in shape)
        for name, shape in VGG_SHAPES.items()
    }
    return dict(kernels_and_biases(shapes, rng))


def random_squeezenet():
    """Return weights of SqueezeNet 1.1 and the heads of LPIPS."""
    rng = np.random.default_rng(0)
    weights = dict(kernels_and_biases(squeezenet_shapes(), rng))
    for index, name in enumerate(COMPARED):
        channels = 64 if name == "conv1" else WIDE[int(name[4:])]
        weights[f"lpips/lin{index}"] = rng.random(channels).astype(np.float32)
    return weights


def squeezenet_shapes():
    """Return the shapes of the kernels, by layer."""
    shapes = {"conv1": (3, 3, 3, 64)}
    channels = 64
    for index in SQUEEZED:
        squeezed, half = SQUEEZED[index], WIDE[index] // 2
        shapes[f"fire{index}/squeeze1x1"] = (1, 1, channels, squeezed)
        shapes[f"fire{index}/expand1x1"] = (1, 1, squeezed, half)
        shapes[f"fire{index}/expand3x3"] = (3, 3, squeezed, half)
        channels = WIDE[index]
    return shapes


def kernels_and_biases(shapes, rng):
    """Yield names and arrays, scaled so that activations keep their size."""
    for name, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[:-1]))
        yield f"{name}/kernel", (scale * rng.normal(size=shape)).astype(np.float32)
        yield f"{name}/bias", (scale * rng.normal(size=shape[-1])).astype(np.float32)
