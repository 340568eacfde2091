"""What the guard adds to a cell: one Bell, further evaluations under its grant, one PUB with 1000 bindings.

Two real kernels, one bare and one guarded, run the same cells in turn. Beside them, in the same run and on the same
file system, durable INSERTs of an entry's size into a bare SQLite database: the unit of the first target.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from pathlib import Path

from cells import BELL, SETUP, Kernel
from rows import Row, report, scratch

SEALED = '%%qsecure confidential --purpose "benchmark"\n'
ENTRY_BYTES = 1500  # an execution entry's size
LOOP = 200
CELLS = 100
BINDINGS = """\
pub = (ansatz, observable, angles)
value = float(estimator.run([pub]).result()[0].data.evs.sum())"""
BINDINGS_SETUP = """\
import numpy as np
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2
estimator = EstimatorV2()
ansatz = real_amplitudes(4, reps=2)
observable = SparsePauliOp(["ZZZZ", "XXII"], [1.0, 0.5])
angles = np.random.default_rng(5).uniform(0, 3, (1000, ansatz.num_parameters))"""


class Inserts:
    """A bare database with the log's durability: WAL, synchronous=FULL."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        self._body = b"e" * ENTRY_BYTES

    def three(self) -> float:
        """Three INSERTs, each durable on its own; seconds."""
        start = time.perf_counter()
        for _ in range(3):
            self._db.execute("INSERT INTO entries (body) VALUES (?)", (self._body,))
        return time.perf_counter() - start


def added_by_qnb(folder: Path, cells: int = CELLS) -> tuple[float, float, float]:
    """Median seconds for one Bell in a cell: (bare, with qnb and sealed, three durable INSERTs)."""
    inserts = Inserts(folder)
    times: dict[str, list[float]] = {"bare": [], "sealed": [], "inserts": []}
    with Kernel(folder, guarded=False) as bare, Kernel(folder, guarded=True) as guarded:
        for kernel in (bare, guarded):
            kernel.run(SETUP)
        for turn in range(cells + 5):
            taken = {"bare": bare.run(BELL), "sealed": guarded.run(SEALED + BELL), "inserts": inserts.three()}
            if turn >= 5:  # the first ones warm up
                for name, seconds in taken.items():
                    times[name].append(seconds)
    return statistics.median(times["bare"]), statistics.median(times["sealed"]), statistics.median(times["inserts"])


def _ratios(folder: Path) -> tuple[float, float, float, float]:
    """Added ms of a recorded cell in clear and of a further evaluation; 1000 bindings: ratio, and bare seconds."""
    loop = f"for _ in range({LOOP}):\n    simulator.run(bell, shots=100).result()"
    once = loop.replace(str(LOOP), "1")
    times: dict[str, list[float]] = {}
    with Kernel(folder, guarded=False) as bare, Kernel(folder, guarded=True) as guarded:
        for kernel in (bare, guarded):
            kernel.run(SETUP)
            kernel.run(BINDINGS_SETUP)
        # first what runs in clear: afterwards the kernel carries the label
        plan = [
            ("clear", "", BELL, 30),
            ("once", SEALED, once, 12),
            ("loop", SEALED, loop, 12),
            ("bindings", SEALED, BINDINGS, 31),
        ]
        for name, label, code, repeat in plan:
            for turn in range(repeat + 2):
                taken = {f"bare {name}": bare.run(code), f"qnb {name}": guarded.run(label + code)}
                if turn >= 2:
                    for side, seconds in taken.items():
                        times.setdefault(side, []).append(seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    more = [median[f"{side} loop"] - median[f"{side} once"] for side in ("qnb", "bare")]
    pairs = zip(times["qnb bindings"], times["bare bindings"], strict=True)
    return (
        1e3 * (median["qnb clear"] - median["bare clear"]),
        1e3 * (more[0] - more[1]) / (LOOP - 1),
        statistics.median(guarded / bare for guarded, bare in pairs),
        median["bare bindings"],
    )


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        bare, sealed, inserts = added_by_qnb(folder)
        clear, evaluation, ratio, bindings = _ratios(folder)
    parts = f"bare {1e3 * bare:.1f} ms, sealed {1e3 * sealed:.1f} ms; three INSERTs {1e3 * inserts:.2f} ms"
    report(
        [
            Row("one Bell in a sealed cell, added", 1e3 * (sealed - bare), "ms", 1e3 * inserts + 1.0, parts),
            Row("one Bell in a cell in clear, added", clear, "ms", None, "decided and recorded at `internal`"),
            Row("each further evaluation, added", evaluation, "ms", 0.3, f"of a loop of {LOOP} Bells in one cell"),
            Row(
                "1 PUB x 1000 bindings",
                ratio,
                "x",
                1.02,
                f"sealed cell against bare {1e3 * bindings:.0f} ms, median of pairs",
            ),
        ]
    )


if __name__ == "__main__":
    main()
