"""What the lightest peer adds to one Bell, beside what qnb adds in the same run.

devqubit, in an environment of its own below `.bench` (it pins an older Aer), made on the first run if it can be
installed; otherwise the row says so. Both are timed the same way: a cell in a real kernel, bare and not, in turn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import venv
from pathlib import Path

from bell import added_by_qnb
from cells import BELL, SETUP, Kernel
from rows import ROOT, Row, report, scratch

PEER = "devqubit[qiskit]==0.1.12"
FACTOR = 8
TRACKED = """\
with track(project="bell") as run:
    counts = run.wrap(simulator).run(bell, shots=100).result().get_counts()
print(counts)"""
CELLS = 60


def _interpreter() -> Path | None:
    """The peer's interpreter, its environment made if need be; None where it cannot be installed."""
    folder = ROOT / ".bench" / "peers"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", PEER, "ipykernel"],
            stdout=sys.stderr,
            stderr=sys.stderr,
            check=False,
        )
        if installed.returncode:
            return None
        (folder / "ready").touch()
    return python


def _added_by_peer(folder: Path, python: Path) -> tuple[float, float]:
    """Median seconds for one Bell in a cell: (bare, tracked by devqubit)."""
    times: tuple[list[float], list[float]] = ([], [])
    with (
        Kernel(folder, guarded=False, python=python) as bare,
        Kernel(folder, guarded=False, python=python) as tracking,
    ):
        bare.run(SETUP)
        tracking.run(SETUP)
        # its workspace belongs below the scratch folder, not in the caller's home
        tracking.run(f"import os; os.environ['DEVQUBIT_HOME'] = {str(folder / 'devqubit')!r}")
        tracking.run("from devqubit import track")
        for turn in range(CELLS + 5):
            taken = bare.run(BELL), tracking.run(TRACKED)
            if turn >= 5:  # the first ones warm up
                for side, seconds in zip(times, taken, strict=True):
                    side.append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        python = _interpreter()
        if python is None:
            report([Row("devqubit adds to one Bell", None, "ms", None, f"`{PEER}` could not be installed here")])
            return
        peer_bare, peer = _added_by_peer(folder, python)
        bare, sealed, _ = added_by_qnb(folder)
    note = (
        f"{PEER}: bare {1e3 * peer_bare:.1f} ms, tracked {1e3 * peer:.1f} ms; qnb adds {1e3 * (sealed - bare):.1f} ms"
    )
    report(
        [
            Row("devqubit adds to one Bell", 1e3 * (peer - peer_bare), "ms"),
            Row("... against what a sealed cell adds", (peer - peer_bare) / (sealed - bare), "x", FACTOR, note, "min"),
        ]
    )


if __name__ == "__main__":
    main()
