"""Time networks in TensorFlow without HTTP; each function is called in its own process."""

from benchmarks.latency import make_noise
from benchmarks.plan import Repetitions
from benchmarks.timing import milliseconds, repeat
from config import Settings
from core.model.tiles import Network
from core.picture import Picture


def time_ours(width: int, height: int, repetitions: dict) -> list[float]:
    """Return times of our graph on one picture, ms, tiled as in the service."""
    from core.model.upscaler import load_upscaler

    settings = Settings.from_env()
    upscaler = load_upscaler(settings.card, **settings.network_options)

    def upscale(lr):
        return upscaler.upscale(Picture(lr)).pixels

    return time_network(upscale, width, height, repetitions)


def time_original(width: int, height: int, repetitions: dict, shuffle: str) -> list[float]:
    """Return times of the original's network on one picture, ms, untiled."""
    from benchmarks.original_network import load_original

    network = load_original(shuffle, Settings.from_env().inference_threads)
    return time_network(network, width, height, repetitions)


def time_network(network: Network, width: int, height: int, repetitions: dict) -> list[float]:
    """Return times of a network on noise, ms."""
    noise = make_noise(width, height)
    return repeat(lambda: milliseconds(lambda: network(noise)), Repetitions(**repetitions))
