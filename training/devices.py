"""What the machine computes with: in which precision, and on how many devices."""

import keras

from core.machine import has_bfloat16
from training.errors import CommandFailed

AUTO = "auto"


def use_precision(precision: str) -> str:
    """Make a Keras dtype policy that of all layers to come, and return it.

    With "auto" it is `mixed_bfloat16` where the hardware computes in it, and `float32`
    elsewhere: a processor that must imitate bfloat16 is twenty times slower for it. The
    weights are float32 either way, so a run may go on in another precision.
    """
    if precision == AUTO:
        precision = "mixed_bfloat16" if computes_in_bfloat16() else "float32"
    keras.mixed_precision.set_global_policy(precision)
    return precision


def computes_in_bfloat16() -> bool:
    """True on an accelerator, or a processor that has instructions for it."""
    return bool(list_accelerators()) or has_bfloat16()


def list_accelerators() -> list[str]:
    """GPUs and TPUs that the Keras backend sees."""
    if keras.backend.backend() == "torch":  # Keras lists no devices of this backend
        import torch

        return [f"gpu:{index}" for index in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def share_batches(batch: int) -> int:
    """Let all devices share every batch from now on; how many they are.

    Several devices need the JAX backend: `keras.distribution` has no other. With
    another backend the first device does all the work.

    Args:
        batch: patches in a batch.

    Raises:
        CommandFailed: if a batch cannot be divided among the devices.
    """
    if keras.backend.backend() != "jax":
        return 1
    devices = keras.distribution.list_devices()
    if batch % len(devices):
        raise CommandFailed(
            f"`batch` must be a multiple of the number of devices, {len(devices)}. "
            f"Received: {batch}"
        )
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)
