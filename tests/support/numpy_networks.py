"""Published networks in NumPy, with random weights: what converted graphs are compared with.

Pictures and features are (H, W, C) float64. Weights have the layout of PyTorch.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

RGB_MEAN = np.array([0.4488, 0.4371, 0.4040])


def random_state(shapes, seed=0):
    """Return kernels and biases for the shapes of kernels, scaled so that features keep their size.

    A shape of one number is that of slopes.
    """
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            state[f"{name}.weight"] = rng.uniform(0.1, 0.4, shape)
            continue
        fan_in = np.prod(shape[1:])
        state[f"{name}.weight"] = rng.normal(0, np.sqrt(1 / fan_in), shape)
        state[f"{name}.bias"] = rng.normal(0, 0.1, shape[0])
    return {name: array.astype(np.float32) for name, array in state.items()}


def conv(state, name, x, padded=True):
    """Convolve; zero-padded to the same size, or not padded."""
    kernel = state[f"{name}.weight"].astype(np.float64)
    side = kernel.shape[-1]
    margin = side // 2 if padded else 0
    x = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
    windows = sliding_window_view(x, (side, side), axis=(0, 1))
    return np.tensordot(windows, kernel, ([2, 3, 4], [1, 2, 3])) + state[f"{name}.bias"]


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def shuffle(x, factor):
    """Move channels to pixels; the sub-pixels of a channel are adjacent."""
    height, width, channels = x.shape
    x = x.reshape(height, width, channels // factor**2, factor, factor)
    return x.transpose(0, 3, 1, 4, 2).reshape(height * factor, width * factor, -1)


def unshuffle(x, factor):
    """Move pixels to channels, the reverse of `shuffle`."""
    height, width, channels = x.shape
    x = x.reshape(height // factor, factor, width // factor, factor, channels)
    return x.transpose(0, 2, 4, 1, 3).reshape(height // factor, width // factor, -1)


def repeat(x, factor):
    return x.repeat(factor, axis=0).repeat(factor, axis=1)


def linear(x, factor):
    """Interpolate linearly between the centres of pixels."""
    for axis in (0, 1):
        length = x.shape[axis]
        at = np.clip((np.arange(factor * length) + 0.5) / factor - 0.5, 0, length - 1)
        before = np.floor(at).astype(int)
        after = np.minimum(before + 1, length - 1)
        share = np.expand_dims(at - before, (1 - axis, 2))
        x = (1 - share) * x.take(before, axis) + share * x.take(after, axis)
    return x


def rrdb_shapes(blocks=2, filters=6, growth=4, doublings=2, inputs=3, outputs=3):
    shapes = {"conv_first": (filters, inputs, 3, 3)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for layer in range(1, 6):
                channels = filters + (layer - 1) * growth
                made = filters if layer == 5 else growth
                shapes[f"body.{block}.rdb{dense}.conv{layer}"] = (made, channels, 3, 3)
    names = ("conv_body", *(f"conv_up{index + 1}" for index in range(doublings)), "conv_hr")
    shapes |= dict.fromkeys(names, (filters, filters, 3, 3))
    return shapes | {"conv_last": (outputs, filters, 3, 3)}


def rrdb(state, lr, blocks=2, doublings=2, stride=1):
    height, width, _ = lr.shape
    bottom, right = -height % stride, -width % stride
    x = np.pad(lr, ((0, bottom), (0, right), (0, 0)), mode="reflect")
    x = head = conv(state, "conv_first", unshuffle(x, stride))
    for block in range(blocks):
        y = x
        for dense in (1, 2, 3):
            seen = [y]
            for layer in range(1, 5):
                name = f"body.{block}.rdb{dense}.conv{layer}"
                seen.append(leaky(conv(state, name, np.concatenate(seen, -1)), 0.2))
            last = conv(state, f"body.{block}.rdb{dense}.conv5", np.concatenate(seen, -1))
            y = y + 0.2 * last
        x = x + 0.2 * y
    x = head + conv(state, "conv_body", x)
    for index in range(doublings):
        x = leaky(conv(state, f"conv_up{index + 1}", repeat(x, 2)), 0.2)
    sr = conv(state, "conv_last", leaky(conv(state, "conv_hr", x), 0.2))
    scale = 2**doublings // stride
    return sr[: scale * height, : scale * width]


def srvgg_shapes(convolutions=3, filters=6, scale=4, activation="prelu", inputs=3):
    shapes = {"body.0": (filters, inputs, 3, 3)}
    for index in range(1, convolutions + 1):
        shapes[f"body.{2 * index}"] = (filters, filters, 3, 3)
    if activation == "prelu":
        shapes |= {f"body.{2 * index + 1}": (filters,) for index in range(convolutions + 1)}
    return shapes | {f"body.{2 * convolutions + 2}": (inputs * scale**2, filters, 3, 3)}


def srvgg(state, lr, convolutions=3, scale=4, activation="prelu"):
    x = lr
    for index in range(convolutions + 1):
        x = conv(state, f"body.{2 * index}", x)
        slopes = {"relu": 0, "leakyrelu": 0.1, "prelu": state.get(f"body.{2 * index + 1}.weight")}
        x = leaky(x, slopes[activation])
    x = conv(state, f"body.{2 * convolutions + 2}", x)
    return shuffle(x, scale) + repeat(lr, scale)


def span_shapes(filters=6, scale=4):
    shapes = {}
    names = [f"block_{block}.c{index}_r" for block in range(1, 7) for index in (1, 2, 3)]
    for name in ("conv_1", *names, "conv_2"):
        inputs = 3 if name == "conv_1" else filters
        shapes |= {
            f"{name}.sk": (filters, inputs, 1, 1),
            f"{name}.conv.0": (2 * inputs, inputs, 1, 1),
            f"{name}.conv.1": (2 * filters, 2 * inputs, 3, 3),
            f"{name}.conv.2": (filters, 2 * filters, 1, 1),
            f"{name}.eval_conv": (filters, inputs, 3, 3),
        }
    shapes |= {"conv_cat": (filters, 4 * filters, 1, 1)}
    return shapes | {"upsampler.0": (3 * scale**2, filters, 3, 3)}


def span_state(filters=6, scale=4):
    """Return weights of which those without effect, `eval_conv`, would be noticed."""
    return random_state(span_shapes(filters, scale))


def span(state, lr, scale=4):
    def branches(name, x):
        y = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        for index in range(3):
            y = conv(state, f"{name}.conv.{index}", y, padded=False)
        return y + conv(state, f"{name}.sk", x)

    x = head = branches("conv_1", lr if "no_norm" in state else (lr - RGB_MEAN) * 255)
    results = []
    for block in range(1, 7):
        first = branches(f"block_{block}.c1_r", x)
        first = first * sigmoid(first)
        second = branches(f"block_{block}.c2_r", first)
        third = branches(f"block_{block}.c3_r", second * sigmoid(second))
        x = (third + x) * (sigmoid(third) - 0.5)
        results.append(x)
    x = np.concatenate([head, branches("conv_2", x), results[0], first], -1)
    return shuffle(conv(state, "upsampler.0", conv(state, "conv_cat", x)), scale)


def edsr_shapes(blocks=2, filters=6, scale=4):
    names = [f"body.{block}.conv{index}" for block in range(blocks) for index in (1, 2)]
    shapes = dict.fromkeys((*names, "conv_after_body"), (filters, filters, 3, 3))
    shapes |= {"conv_first": (filters, 3, 3, 3), "conv_last": (3, filters, 3, 3)}
    steps = {4: {0: 4, 2: 4}, 3: {0: 9}, 2: {0: 4}}[scale]
    return shapes | {f"upsample.{i}": (n * filters, filters, 3, 3) for i, n in steps.items()}


def residual_chain(state, x, blocks, share):
    for block in range(blocks):
        y = leaky(conv(state, f"body.{block}.conv1", x), 0)
        x = x + share * conv(state, f"body.{block}.conv2", y)
    return x


def edsr(state, lr, blocks=2, share=1.0):
    x = head = conv(state, "conv_first", (lr - RGB_MEAN) * 255)
    x = head + conv(state, "conv_after_body", residual_chain(state, x, blocks, share))
    for name in ("upsample.0", "upsample.2"):
        if f"{name}.weight" in state:
            x = shuffle(conv(state, name, x), 2)
    return conv(state, "conv_last", x) / 255 + RGB_MEAN


def msr_shapes(blocks=2, filters=6, scale=4):
    names = [f"body.{block}.conv{index}" for block in range(blocks) for index in (1, 2)]
    shapes = dict.fromkeys((*names, "conv_hr"), (filters, filters, 3, 3))
    shapes |= {"conv_first": (filters, 3, 3, 3), "conv_last": (3, filters, 3, 3)}
    steps = range(1, scale // 2 + 1)
    return shapes | {f"upconv{index}": (4 * filters, filters, 3, 3) for index in steps}


def msr(state, lr, blocks=2, scale=4):
    x = leaky(conv(state, "conv_first", lr), 0.1)
    x = residual_chain(state, x, blocks, 1)
    for index in range(1, scale // 2 + 1):
        x = leaky(shuffle(conv(state, f"upconv{index}", x), 2), 0.1)
    x = conv(state, "conv_last", leaky(conv(state, "conv_hr", x), 0.1))
    return x + linear(lr, scale)
