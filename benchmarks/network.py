"""Networks in TensorFlow, timed without HTTP; each function is called in a process of its own."""

from benchmarks.latency import make_noise
from benchmarks.plan import Rhythm
from benchmarks.timing import milliseconds, repeat
from config import Settings
from core.model.tiles import Network
from core.picture import Picture


def time_ours(width: int, height: int, rhythm: dict) -> list[float]:
    """Milliseconds of the frozen graph on one picture, tile by tile, as the service runs it."""
    from core.model.upscaler import load_upscaler

    settings = Settings.from_env()
    threads = settings.inference_threads
    upscaler = load_upscaler(
        settings.card,
        window=settings.window,
        large_window=settings.large_window,
        threads=threads,
        precision=settings.precision,
    )

    def upscale(lr):
        return upscaler.upscale(Picture(lr)).pixels

    return time_network(upscale, width, height, rhythm)


def time_original(width: int, height: int, rhythm: dict, shuffle: str) -> list[float]:
    """Milliseconds of the original's network on one picture, in one piece."""
    from benchmarks.original_network import load_original

    network = load_original(shuffle, Settings.from_env().inference_threads)
    return time_network(network, width, height, rhythm)


def time_network(network: Network, width: int, height: int, rhythm: dict) -> list[float]:
    noise = make_noise(width, height)
    return repeat(lambda: milliseconds(lambda: network(noise)), Rhythm(**rhythm))
