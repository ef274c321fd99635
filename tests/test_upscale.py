import io
import os
import signal
import stat
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import upscale
from config import ROOT
from core.picture import Picture
from core.video import Colour, write_raw
from tests.support.clip_files import scenes, shown, times, write_clip
from tests.support.stand_ins import between, blur_then_repeat, lighten, make_restorer, noise

LR = noise(20, 30)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, upscaler):
    monkeypatch.setattr(upscale, "load_upscaler", lambda *_args, **_kwargs: upscaler)


@pytest.fixture
def picture(tmp_path, encode):
    path = tmp_path / "cat.png"
    path.write_bytes(encode(LR))
    return path


def read(path):
    return np.asarray(Image.open(path))


def run(*arguments):
    return upscale.main([str(a) for a in arguments])


def test_a_file_is_upscaled_to_a_file(picture, tmp_path, capsys):
    assert run(picture, tmp_path / "new" / "out.png") == 0
    np.testing.assert_array_equal(read(tmp_path / "new" / "out.png"), blur_then_repeat(LR))
    assert capsys.readouterr() == ("", "")


def test_the_pixels_equal_those_of_the_service(picture, tmp_path, post):
    run(picture, tmp_path / "out.png")
    answer = post(picture.read_bytes())
    np.testing.assert_array_equal(read(tmp_path / "out.png"), read(io.BytesIO(answer.data)))


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (("--scale", 2), (40, 60)),
        (("--scale", "1"), (20, 30)),
        (("--width", 100), (67, 100)),
        (("--width", 100, "--height", 100, "--fit", "cover"), (100, 100)),
    ],
)
def test_a_picture_gets_the_size_that_is_asked_for(picture, tmp_path, arguments, shape):
    assert run(*arguments, picture, tmp_path / "out.png") == 0
    assert read(tmp_path / "out.png").shape == (*shape, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--scale", "4,5"), 2, "`scale` must be a number from 1 to 16, such as 2 or 1.5"),
        (("--scale", 2, "--width", 50), 2, "Received: scale=2, width=50"),
        (("--fit", "cover"), 2, "Received: fit=cover"),
        (("--width", 29), 1, "width=29, a factor of 0.9667"),
    ],
)
def test_a_size_that_is_wrong_is_refused(picture, tmp_path, capsys, arguments, code, message):
    try:
        assert run(*arguments, picture, tmp_path / "out.png") == code
    except SystemExit as end:
        assert end.code == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_the_limit_on_the_result_is_kept(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ENHANCER_MAX_OUTPUT_PIXELS", "9599")
    assert run(picture, tmp_path / "out.png") == 1
    assert "at most 9599 pixels" in capsys.readouterr().err
    assert run("--scale", 3.9, picture, tmp_path / "out.png") == 0


def test_a_file_keeps_its_name_in_a_folder(tmp_path, encode):
    (tmp_path / "cat.jpg").write_bytes(encode(LR, "JPEG"))
    (tmp_path / "out").mkdir()
    assert run(tmp_path / "cat.jpg", tmp_path / "out") == 0
    assert read(tmp_path / "out" / "cat.png").shape == (80, 120, 3)


def test_a_failing_file_does_not_stop_a_folder(tmp_path, encode, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(LR))
    (folder / "broken.png").write_bytes(encode(LR)[:100])
    (folder / "c.JPG").write_bytes(encode(LR, "JPEG"))
    (folder / "notes.txt").write_text("not a picture, not asked for")
    assert run(folder, tmp_path / "out") == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    line, counts = capsys.readouterr().err.splitlines()
    assert line.startswith(f"upscale.py: {folder / 'broken.png'}: Image must be")
    assert counts == "upscale.py: 2 upscaled, 0 damaged, 0 skipped, 1 failed."


def test_files_that_differ_in_their_suffix_keep_it(tmp_path, encode):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(LR))
    (folder / "a.jpg").write_bytes(encode(LR, "JPEG"))
    assert run(folder, tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg.png", "a.png.png"]


def test_two_pictures_are_never_written_to_one_file(tmp_path, encode, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "a.png.bmp"):
        (folder / name).write_bytes(encode(LR))
    assert run(folder, tmp_path / "out") == 2
    assert "a.png and a.png.bmp, both for a.png.png" in capsys.readouterr().err


def test_a_failure_leaves_what_was_there_before(tmp_path, picture, monkeypatch):
    target = tmp_path / "out.png"
    target.write_bytes(b"before")

    def fail(*_args):
        raise OSError("No space left on device")

    monkeypatch.setattr(upscale.Path, "replace", fail)
    assert run(picture, target) == 1
    assert target.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat.png", "out.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(picture, tmp_path, capsys):
    picture.chmod(stat.S_IWUSR)
    assert run(picture, tmp_path / "out.png") == 1
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nowhere.png", "out.png", "does not exist"),
        ("cat.png", "out.tiff", "a file ending in .png, .jpeg, .webp, .avif, .jpg, .mp4"),
        ("empty", "out", "which holds none"),
        ("full", "cat.png", "a file"),
        ("full", "full", "another folder than IN"),
    ],
)
def test_wrong_paths_are_reported(picture, tmp_path, capsys, source, target, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "cat.png").write_bytes(picture.read_bytes())
    assert run(tmp_path / source, tmp_path / target) == 2
    assert message in capsys.readouterr().err


def test_the_limits_come_from_the_settings(picture, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ENHANCER_MAX_PIXELS", "10")
    assert run(picture, tmp_path / "out.png") == 1
    assert "at most 10 pixels" in capsys.readouterr().err


def test_a_wrong_setting_is_reported(picture, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ENHANCER_WINDOW", "none")
    assert run(picture, tmp_path / "out.png") == 2
    assert "ENHANCER_WINDOW" in capsys.readouterr().err


def test_a_graph_that_does_not_load_is_reported(picture, tmp_path, monkeypatch, capsys):
    def fail(*_args, **_kwargs):
        raise upscale.SuperResolutionError("no graph")

    monkeypatch.setattr(upscale, "load_upscaler", fail)
    assert run(picture, tmp_path / "out.png") == 1
    assert capsys.readouterr().err == "upscale.py: no graph\n"


def test_detail_is_obeyed(picture, tmp_path):
    assert run(picture, tmp_path / "out.png", "--detail", "0.25") == 0
    np.testing.assert_array_equal(read(tmp_path / "out.png"), between(LR, 0.25))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("out.jpg", "JPEG"), ("out.JPEG", "JPEG"), ("out.webp", "WEBP"), ("out.avif", "AVIF")],
)
def test_the_suffix_decides_the_format(picture, tmp_path, name, expected):
    assert run(picture, tmp_path / name) == 0
    with Image.open(tmp_path / name) as image:
        assert image.format == expected


def test_a_folder_has_one_format_and_one_quality(picture, tmp_path):
    sizes = []
    for quality in (10, 95):
        out = tmp_path / f"out{quality}"
        arguments = ("--format", "jpeg", "--quality", quality)
        assert run(picture.parent, out, *arguments) == 0
        (made,) = out.iterdir()
        assert made.name == "cat.jpeg"
        sizes.append(made.stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_metadata_is_kept_only_if_asked_for(tmp_path, encode):
    exif = Image.Exif()
    exif[0x010F] = "a maker of cameras"
    (tmp_path / "cat.jpg").write_bytes(encode(Image.fromarray(LR), "JPEG", exif=exif))
    for option, expected in (([], None), (["--keep-metadata"], "a maker of cameras")):
        assert run(tmp_path / "cat.jpg", tmp_path / "out.png", *option) == 0
        with Image.open(tmp_path / "out.png") as image:
            assert image.getexif().get(0x010F) == expected


def test_a_wrong_detail_is_reported(picture, tmp_path, capsys):
    assert run(picture, tmp_path / "out.png", "--detail", "2") == 2
    assert "`detail` must be a number from 0 to 1. Received: 2" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "pan.mp4", scenes(10), sounds=[("aac", "eng")])


def test_a_clip_is_upscaled_to_a_clip(clip, tmp_path, capsys):
    assert run(clip, tmp_path / "new" / "out.mkv", "--coherence", "off") == 0
    assert [pixels.shape for _, pixels in shown(tmp_path / "new" / "out.mkv")] == [
        (128, 192, 3)
    ] * 10
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out.mkv"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (("--scale", 2), (64, 96, 3)),
        (("--scale", 1, "--restore", 0), (32, 48, 3)),
        (("--width", 75), (50, 74, 3)),
        (("--width", 64, "--height", 64, "--fit", "cover"), (64, 64, 3)),
    ],
)
def test_a_clip_gets_the_size_that_is_asked_for(clip, tmp_path, arguments, shape):
    assert run(*arguments, clip, tmp_path / "out.mp4") == 0
    assert [pixels.shape for _, pixels in shown(tmp_path / "out.mp4")] == [shape] * 10


def test_a_clip_over_the_limit_of_the_result_is_refused(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ENHANCER_MAX_OUTPUT_PIXELS", "10000")
    assert run("--scale", 3, clip, tmp_path / "out.mp4") == 1
    assert "would become 144 x 96 = 13824 pixels" in capsys.readouterr().err


def test_codec_and_quality_of_a_clip_are_obeyed(clip, tmp_path):
    for quality in (10, 90):
        run(clip, tmp_path / f"{quality}.mp4", "--codec", "hevc", "--quality", quality)
    assert b"hvc1" in (tmp_path / "10.mp4").read_bytes()
    assert (tmp_path / "10.mp4").stat().st_size < (tmp_path / "90.mp4").stat().st_size


def test_a_folder_may_hold_clips_and_pictures(clip, tmp_path, encode):
    folder = tmp_path / "in"
    folder.mkdir()
    clip.rename(folder / "pan.m4v")
    (folder / "cat.png").write_bytes(encode(LR))
    (folder / "broken.mkv").write_bytes(b"Hello")
    assert run(folder, tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat.png", "pan.mp4"]


def test_flags_of_pictures_do_not_stop_the_clips_of_a_folder(clip, tmp_path, encode):
    folder = tmp_path / "in"
    folder.mkdir()
    clip.rename(folder / "pan.mp4")
    (folder / "cat.png").write_bytes(encode(LR))
    assert run(folder, tmp_path / "out", "--keep-profile", "--keep-metadata") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat.png", "pan.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quality", "0"), "must be a whole number from 1 to 100. Received: '0'"),
        (("--codec", "theora"), "must be one of h264, hevc, vp9, av1. Received: 'theora'"),
        (("--dither", "some"), "must be one of on, off. Received: 'some'"),
        (("--format", "gif"), "invalid choice: 'gif'"),
    ],
)
def test_wrong_options_are_reported(picture, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(picture, tmp_path / "out.png", *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_damage_is_reported(tmp_path, capsys):
    source = write_clip(
        tmp_path / "whole.mp4", scenes(20), container_options={"movflags": "faststart"}
    )
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 3 // 4])
    for arguments, code in ((), 1), (("--allow-damaged",), 0):
        assert run(source, tmp_path / "out.mp4", *arguments) == code
        assert "ends early or is damaged" in capsys.readouterr().err
        assert 0 < len(shown(tmp_path / "out.mp4")) < 20


@pytest.fixture
def pipe(monkeypatch):
    """Put bytes into standard input; return what standard output gets."""

    def pipe(data):
        target = io.BytesIO()
        monkeypatch.setattr(upscale.sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.setattr(upscale.sys, "stdout", io.TextIOWrapper(target))
        return target

    return pipe


@pytest.fixture(scope="module")
def raw():
    """Three raw frames."""
    file = io.BytesIO()
    write_raw(file, [Picture(pixels) for pixels in scenes(3)], Fraction(25), Fraction(1), Colour(6))
    return file.getvalue()


def test_raw_frames_are_read_from_and_written_to_pipes(tmp_path, pipe, raw):
    target = pipe(raw)
    assert run("-", "-") == 0
    (tmp_path / "out.y4m").write_bytes(target.getvalue())
    assert [pixels.shape for _, pixels in shown(tmp_path / "out.y4m")] == [(128, 192, 3)] * 3


def test_raw_frames_get_the_size_that_is_asked_for(tmp_path, monkeypatch, capsys, pipe, raw):
    for scale, code in ((2, 0), (16, 1)):
        pipe(raw)
        monkeypatch.setenv("ENHANCER_MAX_OUTPUT_PIXELS", "100000")
        assert run("--scale", scale, "-", tmp_path / "out.mp4") == code
    assert [pixels.shape for _, pixels in shown(tmp_path / "out.mp4")] == [(64, 96, 3)] * 3
    assert "would become 768 x 512" in capsys.readouterr().err


def test_raw_frames_become_a_video(tmp_path, pipe, raw):
    pipe(raw)
    assert run("-", tmp_path / "out.webm") == 0
    assert times(tmp_path / "out.webm") == [0, Fraction(1, 25), Fraction(2, 25)]


@pytest.mark.parametrize("change", [lambda raw: raw[:-9], lambda raw: raw + b"FRA"])
def test_raw_frames_that_end_in_the_middle_are_reported(tmp_path, capsys, pipe, raw, change):
    whole = 3 if change(raw) > raw else 2
    for arguments, code in ((), 1), (("--allow-damaged",), 0):
        pipe(change(raw))
        assert run("-", tmp_path / "out.mp4", *arguments) == code
        assert f"Received: {whole} whole frames, then bytes" in capsys.readouterr().err
        assert len(shown(tmp_path / "out.mp4")) == whole


def test_a_picture_passes_through_pipes(picture, tmp_path, pipe):
    assert run(picture, tmp_path / "file.png") == 0
    for source, target in ((picture, "-"), ("-", "-"), ("-", tmp_path / "out.png")):
        written = pipe(picture.read_bytes())
        assert run(source, target) == 0
        made = written.getvalue() if target == "-" else target.read_bytes()
        assert made == (tmp_path / "file.png").read_bytes()
    written = pipe(picture.read_bytes())
    assert run("--format", "webp", "-", "-") == 0
    assert Image.open(written).format == "WEBP"


@pytest.mark.parametrize(
    ("is_raw", "target", "message"),
    [
        (True, "out.png", "OUT must be -, since IN holds raw frames, or a file ending in .mp4, "),
        (False, "out.mp4", "OUT must be -, since IN holds no raw frames, or a file ending in .png"),
        (False, "out.tiff", "OUT must be - or a file ending in"),
    ],
)
def test_a_target_that_does_not_suit_a_pipe_is_reported(
    picture, tmp_path, capsys, pipe, raw, is_raw, target, message
):
    pipe(raw if is_raw else picture.read_bytes())
    assert run("-", tmp_path / target) == 2
    assert message in capsys.readouterr().err


def test_an_animation_does_not_become_its_first_frame_in_a_pipe(tmp_path, capsys, pipe):
    frames = [Image.fromarray(noise(8, 9, seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "cat.gif", save_all=True, append_images=frames[1:])
    pipe((tmp_path / "cat.gif").read_bytes())
    assert run("-", tmp_path / "out.png") == 1
    assert "an animation of 2 frames" in capsys.readouterr().err
    assert run(tmp_path / "cat.gif", "-") == 2
    assert "OUT must be a file or a folder for a clip" in capsys.readouterr().err


def test_a_clip_is_not_written_over_itself(clip, capsys):
    assert run(clip, clip) == 2
    assert "another file than IN" in capsys.readouterr().err


def test_an_option_that_no_result_has_is_refused(picture, clip, tmp_path, capsys):
    for arguments, message in (
        (
            (picture, "out.png", "--codec", "hevc"),
            "--codec must be left out if there is no result in mp4, ",
        ),
        (
            (picture, "out.png", "--dither", "off"),
            "--dither must be left out if there is no result in gif. ",
        ),
        (
            (clip, "out.mp4", "--keep-profile"),
            "--keep-profile must be left out if there is no picture. ",
        ),
        ((picture, "out.png", "--recursive"), "`--recursive` must come with a folder"),
    ):
        source, target, *others = arguments
        assert run(source, tmp_path / target, *others) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"upscale.py: {message}")
    assert run(tmp_path, tmp_path / "out", "--codec", "hevc") == 0


@pytest.fixture
def tree(tmp_path, encode):
    """A folder with pictures at several depths, loops, and files that are none."""
    folder = tmp_path / "in"
    for name in ("a.png", "new\nline/b.png", "deep/er/c.jpg", ".hidden/d.png", "f.png/e.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(LR))
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "._a.png").write_bytes(b"\0\5\x16\7 of macOS")
    os.mkfifo(folder / "pipe.png")
    return folder


def made_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_folders_in_a_folder_are_upscaled_if_asked_for(tree, capsys):
    assert run(tree, tree / "out") == 1
    assert made_in(tree / "out") == ["a.png"]
    capsys.readouterr()
    everything = ["a.png", "deep/er/c.png", "f.png/e.png", "new\nline/b.png"]
    for code, counts in ((1, "3 upscaled, 0 damaged, 1 skipped"), (1, "0 upscaled, 0 damaged, 4")):
        assert run("--recursive", "--skip-existing", tree, tree / "out") == code
        assert made_in(tree / "out") == everything
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"upscale.py: {tree / 'self.png'}: ")
        assert f"upscale.py: {counts}" in lines[-1]
    (tree / "self.png").rename(tree / "new\nline.png")
    assert run("--recursive", "--skip-existing", tree, tree / "out") == 1
    assert rf"{tree}/new\nline.png: " in capsys.readouterr().err
    (tree / "new\nline.png").unlink()
    assert run("--recursive", "--skip-existing", tree, tree / "out") == 0


@pytest.fixture
def handlers_restored():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")],
)
@pytest.mark.usefixtures("handlers_restored")
def test_a_signal_ends_the_program_with_one_line_and_leaves_nothing(
    upscaler, clip, tmp_path, monkeypatch, capsys, number, code, line
):
    def stop(*_args, **_kwargs):
        assert list((tmp_path / "new" / "out").glob(".*"))
        signal.raise_signal(number)

    monkeypatch.setattr(upscaler, "upscale", stop)
    signal.signal(number, signal.SIG_DFL)  # in the background, shells let programs ignore it
    assert run(clip, tmp_path / "new" / "out" / "out.mp4") == code
    assert capsys.readouterr() == ("", f"upscale.py: {line}\n")
    assert not (tmp_path / "new").exists()
    assert signal.getsignal(number) is not signal.SIG_IGN


def test_what_a_killed_run_left_is_swept_by_the_next(picture, tmp_path):
    left = tmp_path / "out" / ".upscale-0badcafe"
    left.mkdir(parents=True)
    (left / "half.mp4").touch()
    assert run(picture, tmp_path / "out") == 0
    assert made_in(tmp_path / "out") == ["cat.png"]
    assert not left.exists()


def test_a_reader_of_the_result_that_ends_early_is_reported(picture):
    code = """
import sys, upscale
from tests.support.stand_ins import blur_then_repeat, make_card
network = upscale.Upscaler(make_card(), blur_then_repeat, window=16)
upscale.load_upscaler = lambda *_, **__: network
sys.exit(upscale.main(["-", "-"]))
"""
    reading, writing = os.pipe()
    os.close(reading)
    with picture.open("rb") as source, os.fdopen(writing, "wb") as target:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=source,
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "upscale.py: -: The reader of standard output must stay. It has ended.\n"


@pytest.fixture
def restoring(upscaler, monkeypatch):
    """The upscaler with a restorer that adds 100 levels, as far as a picture is bright."""
    upscaler.restorer = make_restorer(lighten)
    monkeypatch.setattr(
        "core.model.upscaler.recommend_strength", lambda lr: float(lr.pixels.mean()) / 255
    )
    return upscaler


@pytest.mark.usefixtures("restoring")
def test_a_picture_is_restored_as_by_the_service(picture, tmp_path, post):
    assert run(picture, tmp_path / "auto.png") == 0
    assert run("--restore", "0", picture, tmp_path / "plain.png") == 0
    assert (tmp_path / "auto.png").read_bytes() == post(picture.read_bytes()).data
    np.testing.assert_array_equal(read(tmp_path / "plain.png"), blur_then_repeat(LR))


def test_all_frames_of_a_clip_are_restored_alike(restoring, tmp_path):
    levels = [20, *[60] * 29]
    frames = [np.full((32, 48, 3), level, np.uint8) for level in levels]
    clip = write_clip(tmp_path / "clip.mp4", frames)
    seen = []
    whole = restoring.restoration
    restoring.restoration = lambda lr, strength: seen.append(strength) or whole(lr, strength)
    assert run(clip, tmp_path / "out.mp4") == 0
    assert len(set(seen)) == 1
    assert seen[0] == pytest.approx(60 / 255, abs=0.02)


def test_the_first_raw_frame_decides_for_all(restoring, tmp_path, pipe):
    raw = io.BytesIO()
    pictures = [Picture(np.full((32, 48, 3), level, np.uint8)) for level in (60, 20, 20)]
    write_raw(raw, pictures, Fraction(25), Fraction(1), Colour(6))
    pipe(raw.getvalue())
    seen = []
    whole = restoring.restoration
    restoring.restoration = lambda lr, strength: seen.append(strength) or whole(lr, strength)
    assert run("--coherence", "off", "-", tmp_path / "out.webm") == 0
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] == pytest.approx(60 / 255, abs=0.02)


def test_a_strength_without_a_restorer_is_reported(picture, tmp_path, capsys):
    assert run("--restore", "0.5", picture, tmp_path / "out.png") == 2
    assert "no restorer beside it. Received: 0.5" in capsys.readouterr().err


@pytest.mark.usefixtures("restoring")
def test_the_settings_choose_the_strength_where_no_argument_does(picture, tmp_path, monkeypatch):
    monkeypatch.setenv("ENHANCER_RESTORE", "0")
    assert run(picture, tmp_path / "plain.png") == 0
    np.testing.assert_array_equal(read(tmp_path / "plain.png"), blur_then_repeat(LR))
    assert run("--restore", "1", picture, tmp_path / "restored.png") == 0
    assert (read(tmp_path / "restored.png") != blur_then_repeat(LR)).any()
