import io
from random import Random

import pytest
from PIL import Image

from core.images import Limits
from core.sandbox.decoder import SandboxedDecoder
from tests.fuzzing import __main__, campaign
from tests.fuzzing.mutations import damage, fix_checksums
from tests.fuzzing.seeds import built_in_seeds
from tests.fuzzing.targets import DecoderTarget, Outcome, ServerTarget
from tests.support import hostile
from tests.support.picture_files import encoded
from tests.support.stand_ins import noise

SEEDS = built_in_seeds()


@pytest.fixture
def target_of():
    made = []

    def target_of(decode):
        made.append(SandboxedDecoder(1, memory_bytes=50_000_000, wall_s=1, decode=decode))
        return DecoderTarget(made[-1], Limits(10_000, 1000))

    yield target_of
    for decoders in made:
        decoders.close()


def test_a_short_run_finds_no_harm(tmp_path, capsys):
    arguments = ["--minutes", "0.05", "--random", "1", "--keep", str(tmp_path / "harm")]
    assert __main__.main(arguments) == 0
    output = capsys.readouterr().out
    assert "UnreadableImage" in output
    assert "slowest" in output
    assert not (tmp_path / "harm").exists()


def test_files_of_a_folder_are_damaged(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(__main__, "default_decoders", lambda: collect_in(seen))
    (tmp_path / "seed").write_bytes(b"0123456789")
    assert __main__.main(["--seeds", str(tmp_path), "--minutes", "0.002"]) == 0
    assert any(b"012" in data for data in seen)


def collect_in(seen):
    def target(data):
        seen.append(data)
        return Outcome("seen", False)

    return target


@pytest.mark.parametrize(
    ("decode", "name"),
    [
        (hostile.segfault, "crash"),
        (hostile.sleep, "timeout"),
        (hostile.eat_memory, "memory"),
        (hostile.fault, "WorkerFault"),
    ],
)
def test_a_decoder_that_crashes_hangs_or_eats_memory_is_harm(target_of, decode, name):
    assert target_of(decode)(encoded(noise(2, 3))) == Outcome(name, True)


def test_a_refused_file_is_not_harm(target_of):
    target = target_of(hostile.too_large)
    assert target(encoded(noise(2, 3))) == Outcome("ImageTooLarge", False)
    assert target(b"no picture") == Outcome("UnreadableImage", False)


def test_harmful_and_slow_files_are_kept(tmp_path):
    tally = campaign.Tally()
    campaign.record(tally, b"good", Outcome("decoded", False), 0.1, tmp_path)
    campaign.record(tally, b"bad", Outcome("crash", True), 0.1, tmp_path)
    campaign.record(tally, b"slow", Outcome("decoded", False), 9.0, tmp_path)
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"bad", b"slow"]
    assert "2 decoded" in campaign.summarise(tally)
    assert "slowest 9.00 s" in campaign.summarise(tally)


def test_a_server_that_is_not_there_is_harm():
    assert ServerTarget("http://127.0.0.1:1")(b"").is_offence


def test_the_same_seed_gives_the_same_files():
    first, second = ([damage(Random(7), SEEDS) for _ in range(5)] for _ in range(2))
    assert first == second


def test_wrong_checksums_are_fixed():
    data = encoded(noise(2, 3))
    assert fix_checksums(data) == data
    wrong = data[:29] + b"\0\0\0\0" + data[33:]
    with Image.open(io.BytesIO(fix_checksums(wrong))) as image:
        image.load()
