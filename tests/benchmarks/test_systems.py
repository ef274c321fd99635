import numpy as np

from benchmarks.engines import ExportedNetwork, largest_difference, tile_like_service
from benchmarks.isolated import OUT_OF_MEMORY, CallFailed
from benchmarks.plan import QUICK, Repetitions
from benchmarks.systems import (
    ORIGINAL,
    OURS,
    System,
    explain_status,
    measure_system,
    measure_systems,
)
from tests.support.stand_ins import RADIUS, blur_then_repeat, noise

ONCE = Repetitions(seconds=0, least=1, most=1)


def fail_with(reason):
    def measure(_width, _height, _repetitions):
        raise CallFailed(reason)

    return System("hungry", ORIGINAL, measure)


def works(width, _height, _repetitions):
    return {"network_ms": [width], "peak_mb": 1.0}


def test_a_failure_becomes_the_note_of_a_row():
    speed = measure_system(fail_with("no such engine"), 5, 3, ONCE, {})
    assert (speed.system, speed.network, speed.width, speed.height) == ("hungry", ORIGINAL, 5, 3)
    assert speed.note == "no such engine"


def test_a_system_that_ran_out_of_memory_skips_larger_sizes():
    exhausted = {}
    for width, expected in ((5, OUT_OF_MEMORY), (50, f"skipped: {OUT_OF_MEMORY} at 5 x 3")):
        speed = measure_system(fail_with(OUT_OF_MEMORY), width, 3, ONCE, exhausted)
        assert speed.note == expected


def test_all_systems_measure_one_size_before_the_next():
    from dataclasses import replace

    systems = [System("a", OURS, works), System("b", ORIGINAL, works)]
    speeds = measure_systems(systems, replace(QUICK, sizes=((5, 3), (7, 4))))
    assert [(s.system, s.width) for s in speeds] == [("a", 5), ("b", 5), ("a", 7), ("b", 7)]


def test_status_507_or_a_killed_server_means_out_of_memory():
    assert explain_status("507", None) == OUT_OF_MEMORY
    assert explain_status("ConnectionError", -9) == OUT_OF_MEMORY
    assert explain_status("500", None) == "answered with 500"


def exported(sample="", windows=(16, 16)):
    return ExportedNetwork("", "", str(sample), "lr:0", "sr:0", windows, RADIUS)


def test_our_network_is_tiled_and_the_original_is_not():
    seen = []

    def network(window):
        seen.append(window.shape[:2])
        return blur_then_repeat(window)

    lr = noise(19, 11)
    for windows in ((16, 16), ()):
        sr = tile_like_service(network, exported(windows=windows))(lr)
        np.testing.assert_array_equal(sr, blur_then_repeat(lr))
    assert len(seen) > 2
    assert seen[-1] == (19, 11)


def test_the_difference_is_the_largest_in_levels(tmp_path):
    lr = noise(5, 7)
    sr = blur_then_repeat(lr).clip(10, 240)
    sr[3, 4, 1] -= 9
    np.savez(tmp_path / "sample.npz", lr=lr, sr=sr)
    kept = {"sr": sr.copy()}
    kept["sr"][3, 4, 1] += 9
    assert largest_difference(lambda _lr: kept["sr"], tmp_path / "sample.npz") == 9
