"""Which file is written: what the caller wishes for, if the clip can become that."""

from core.clips import ClipWish, check_unwished
from core.errors import InvalidWish
from core.video.containers import CONTAINERS, FORMATS, MKV, MOV, MP4, WEBM
from core.video.header import Probe
from core.video.joining import Output

MP4_SOUND = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "dts", "vorbis", "truehd")
COPIED = {
    (MP4, "audio"): MP4_SOUND,
    (MOV, "audio"): ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_"),
    (WEBM, "audio"): ("opus", "vorbis"),
    (MP4, "subtitle"): ("mov_text", "dvd_subtitle"),
    (MOV, "subtitle"): ("mov_text", "eia_608"),
    (WEBM, "subtitle"): ("webvtt",),
}
"""What goes into a file as it is, by the beginnings of codecs' names."""

NOT_MKV = ("mov_text", "eia_608", "unknown")
"""What does not go into MKV; everything else does."""


def choose_output(wish: ClipWish, probe: Probe) -> Output:
    """The file to be written.

    Raises:
        InvalidWish: if there is no such format or codec, or it cannot hold what goes
            with the video.
    """
    kind = wish.format or probe.kind
    check_format(kind)
    check_unwished(wish, ("codec",), "videos")
    for stream, codec in probe.copied:
        check_copied(kind, stream, codec)
    return Output(kind, choose_codec(kind, wish.codec), probe.time_base, wish.has_note)


def check_format(kind: str) -> None:
    if kind not in FORMATS:
        raise InvalidWish(
            f"`format` must be one of {', '.join(FORMATS)}, for videos. Received: {kind}"
        )


def choose_codec(kind: str, codec: str | None) -> str:
    """The codec wished for, or the usual one of a kind of file."""
    container = CONTAINERS[kind]
    if codec is None:
        return container.codecs[0]
    if codec not in container.codecs:
        raise InvalidWish(
            f"`codec` of {container.name} must be one of {', '.join(container.codecs)}. "
            f"Received: {codec}"
        )
    return codec


def check_copied(kind: str, stream: str, codec: str) -> None:
    """Raise InvalidWish if a stream cannot go into a file as it is."""
    is_taken = codec not in NOT_MKV if kind == MKV else codec.startswith(COPIED[kind, stream])
    if not is_taken:
        raise InvalidWish(
            f"Clip must have {stream} that {CONTAINERS[kind].name} can hold as it is. "
            f"Received: {stream} of the codec {codec}. Other formats may hold it: mkv does "
            "nearly any."
        )
