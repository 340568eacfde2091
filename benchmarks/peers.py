"""What the lightest peer adds to one Bell, beside what qnb adds in the same run.

devqubit, in an environment of its own below `.bench` (it pins an older Aer), made on the first run if it can be
installed; otherwise the row says so. Bare and tracked runs are timed inside one process there, so that devqubit is not
charged for a kernel, while qnb's figure is a whole sealed cell.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from bell import added_by_qnb
from rows import ROOT, Row, report, scratch

PEER = "devqubit[qiskit]==0.1.12"
FACTOR = 8
PROGRAM = """\
import json, statistics, sys, time
from devqubit import track
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()
simulator = AerSimulator(seed_simulator=11)
def bare():
    simulator.run(bell, shots=100).result().get_counts()
def tracked():
    with track(project="bell") as run:
        run.wrap(simulator).run(bell, shots=100).result().get_counts()
times = {bare: [], tracked: []}
for turn in range(60):
    for side in (bare, tracked):
        start = time.perf_counter()
        side()
        if turn >= 10:
            times[side].append(time.perf_counter() - start)
print(json.dumps([statistics.median(times[bare]), statistics.median(times[tracked])]))
"""


def _interpreter() -> Path | None:
    """The peer's interpreter, its environment made if need be; None where it cannot be installed."""
    folder = ROOT / ".bench" / "peers"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", PEER], stdout=sys.stderr, stderr=sys.stderr, check=False
        )
        if installed.returncode:
            return None
        (folder / "ready").touch()
    return python


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        python = _interpreter()
        if python is None:
            report([Row("devqubit adds to one Bell", None, "ms", None, f"`{PEER}` could not be installed here")])
            return
        process = subprocess.run(
            [python, "-c", PROGRAM],
            env={"HOME": str(folder), "DEVQUBIT_HOME": str(folder / "devqubit")},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        peer_bare, peer = json.loads(process.stdout.splitlines()[-1])
        bare, sealed, _ = added_by_qnb(folder)
    note = (
        f"{PEER}: bare {1e3 * peer_bare:.2f} ms, tracked {1e3 * peer:.1f} ms; qnb adds {1e3 * (sealed - bare):.1f} ms"
    )
    report(
        [
            Row("devqubit adds to one Bell", 1e3 * (peer - peer_bare), "ms", None, "one process, no notebook"),
            Row("... against what a sealed cell adds", (peer - peer_bare) / (sealed - bare), "x", FACTOR, note, "min"),
        ]
    )


if __name__ == "__main__":
    main()
