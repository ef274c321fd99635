"""Example results of a benchmark, in round numbers."""

from benchmarks.load import Beside, Load
from benchmarks.memory import Memory
from benchmarks.restoring import Restoring
from benchmarks.results import Results
from benchmarks.systems import ORIGINAL, ORIGINAL_SERVICE, OURS, SERVICE, Speed

MACHINE = {
    "processor": "Abacus",
    "cores": 2,
    "memory_gb": 8.0,
    "bfloat16_instructions": False,
    "python": "3.11",
    "tensorflow": "2.21",
    "gemm_gflops": {"float32": 200.0, "bfloat16": None},
}
RESULTS = Results(
    quick=False,
    machine=MACHINE,
    model={"name": "stand-in", "version": "1.2.3", "windows": "256"},
    mflop_per_lr_pixel={OURS: 2.0, ORIGINAL: 4.0},
    date="2026-11-21",
    speeds=[
        Speed(SERVICE, OURS, 100, 50, [200.0, 210.0, 230.0], [100.0, 90.0, 110.0], 600.0),
        Speed(ORIGINAL_SERVICE, ORIGINAL, 100, 50, [1050.0], [1000.0], 900.0),
        Speed("engine", OURS, 100, 50, [], [50.0], 100.0, 1),
        Speed("absent", ORIGINAL, 100, 50, note="No module named 'absent'"),
    ],
    loads=[Load(4, 2.0, {"200": 3, "503": 2, "ReadTimeout": 1}, [10.0, 20.0, 30.0])],
    beside=Beside((12, 8), (200, 200), [10.0], [40.0, 50.0], {"200": 2}, "200", 123.4),
    memory=[Memory(20, 700.4, 800.0, {"200": 19, "500": 1})],
    restoring=[Restoring(100, 50, [200.0, 210.0], [280.0, 300.0], 600.0, 650.4)],
)
