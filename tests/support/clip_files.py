"""Video clips for tests, written and read back with PyAV."""

from fractions import Fraction

import av
import numpy as np

from core.images import Limits
from core.media.medium import ClipLimits
from core.picture import Picture

LIMITS = ClipLimits(Limits(max_pixels=100_000, max_side=1000, max_frames=500), max_seconds=60)
SAMPLE_RATE = 48_000
SOUND_SAMPLES = 1024  # per AAC frame


def scene(number, height=32, width=48):
    """Return a smooth picture, unique for its number: (H, W, 3) uint8, brightest at top left."""
    y, x = np.mgrid[0:height, 0:width]
    red = (number * 9) % 200 + 20 + 0 * x
    green = 220 - 120 * x / width - 80 * y / height
    blue = 128 + 60 * np.sin(x / 9 + number / 5)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def scenes(count, height=32, width=48):
    return [scene(number, height, width) for number in range(count)]


def write_clip(
    path,
    frames,
    *,
    codec="libx264",
    rate=25,
    starts=None,
    time_base=None,
    options=None,
    pixel_format="yuv420p",
    rotation=None,
    sounds=(),
    subtitles=(),
    metadata=(),
    container_options=None,
    **context,
):
    """Write a clip of (H, W, 3) uint8 arrays or av.VideoFrames; `context` is set on the encoder."""
    with av.open(path, "w", container_options=container_options or {}) as container:
        container.metadata.update(metadata)
        video = container.add_stream(codec, rate=rate, options=options or {"crf": "12"})
        video.height, video.width = as_frame(frames[0]).height, as_frame(frames[0]).width
        video.pix_fmt = pixel_format
        video.codec_context.time_base = time_base or Fraction(1, rate)
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        if rotation is not None:
            video.set_display_rotation(rotation)
        sound_streams = [add_sound(container, *sound) for sound in sounds]
        subtitle_streams = [add_subtitle(container, *subtitle) for subtitle in subtitles]
        for number, pixels in enumerate(frames):
            frame = as_frame(pixels)
            frame.pts = number if starts is None else starts[number]
            frame.time_base = time_base or Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for stream in sound_streams:
            write_sound(container, stream, len(frames) / rate)
        for stream in subtitle_streams:
            write_subtitle(container, stream)
    return path


def as_frame(pixels):
    return av.VideoFrame.from_ndarray(pixels, "rgb24") if isinstance(pixels, np.ndarray) else pixels


def add_sound(container, codec, language):
    stream = container.add_stream(codec, rate=SAMPLE_RATE)
    stream.metadata["language"] = language
    return stream


def write_sound(container, stream, seconds):
    """Write a stereo sine of 440 Hz."""
    count = int(seconds * SAMPLE_RATE)
    wave = np.sin(np.arange(count) * 2 * np.pi * 440 / SAMPLE_RATE).astype(np.float32)
    for start in range(0, count, SOUND_SAMPLES):
        part = np.stack([wave[start : start + SOUND_SAMPLES]] * 2)
        interleaved = stream.codec_context.format.name == "flt"
        samples = part.T.reshape(1, -1) if interleaved else part
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), "flt" if interleaved else "fltp", "stereo"
        )
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def add_subtitle(container, codec, language):
    stream = container.add_mux_stream(codec)
    stream.metadata["language"] = language
    stream.time_base = Fraction(1, 1000)
    return stream


def write_subtitle(container, stream):
    for start, text in ((100, b"One"), (500, b"Two")):
        packet = av.Packet(text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = 300
        container.mux(packet)


def repeat(picture):
    """Upscale by repeating every pixel 4 x 4."""
    return Picture(picture.pixels.repeat(4, axis=0).repeat(4, axis=1))


def shown(path):
    """Decode a clip with FFmpeg's defaults: [(seconds, (H, W, 3) uint8)]."""
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def times(path):
    """Return the start of each frame, in seconds."""
    return [start for start, _ in shown(path)]


def copied(path):
    """Return the packets of all other streams: [(type, language, [(seconds, bytes)])]."""
    with av.open(str(path)) as container:
        others = [s for s in container.streams if s.type in ("audio", "subtitle")]
        packets = {stream.index: [] for stream in others}
        for packet in container.demux():
            if packet.size and packet.stream.index in packets:
                start = packet.pts * packet.time_base
                packets[packet.stream.index].append((start, bytes(packet)))
        return [(s.type, s.metadata.get("language"), packets[s.index]) for s in others]
