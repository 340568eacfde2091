"""What two peers add to one Bell, beside what qnb adds in the same run: one table.

devqubit, the lightest that records circuits, and MLflow with its SQLite store. Each in an environment of its own below
`.bench` (devqubit pins an older Aer), made on the first run if it can be installed; otherwise its row says so. All are
timed the same way: a cell in a real kernel, bare and not, in turn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from bell import added_by_qnb
from cells import BELL, SETUP, Kernel
from rows import ROOT, Row, report, scratch

FACTOR = 8
CELLS = 60


@dataclass(frozen=True, slots=True)
class Peer:
    """What is installed, how a kernel is made ready (`{folder}` is its scratch folder), and the tracked cell."""

    name: str
    requirements: tuple[str, ...]
    setup: str
    tracked: str
    factor: float | None = None

    def interpreter(self) -> Path | None:
        """Its interpreter, the environment made if need be; None where it cannot be installed."""
        folder = ROOT / ".bench" / ("peers" if self.name == "devqubit" else self.name)
        python = folder / "bin" / "python"
        if not (folder / "ready").exists():
            venv.create(folder, with_pip=True, clear=True)
            command = [python, "-m", "pip", "install", "--quiet", *self.requirements, "ipykernel"]
            if subprocess.run(command, stdout=sys.stderr, stderr=sys.stderr, check=False).returncode:
                return None
            (folder / "ready").touch()
        return python


# Both write below the scratch folder, not into the caller's home. MLflow is told what devqubit finds by itself; each
# with what its documentation shows for one run.
PEERS = (
    Peer(
        "devqubit",
        ("devqubit[qiskit]==0.1.12",),
        "import os; os.environ['DEVQUBIT_HOME'] = {folder!r} + '/devqubit'\nfrom devqubit import track",
        """\
with track(project="bell") as run:
    counts = run.wrap(simulator).run(bell, shots=100).result().get_counts()
print(counts)""",
        FACTOR,
    ),
    Peer(
        "mlflow",
        ("mlflow-skinny==3.4.0", "sqlalchemy>=2,<2.1", "alembic", "qiskit>=2.2", "qiskit-aer>=0.17"),
        """\
import os; os.chdir({folder!r})
import mlflow
from qiskit import qasm3
mlflow.set_tracking_uri("sqlite:///" + {folder!r} + "/mlflow.db")
mlflow.set_experiment("bell")""",
        """\
with mlflow.start_run():
    mlflow.log_params({"backend": simulator.name, "shots": 100, "qubits": bell.num_qubits})
    counts = simulator.run(bell, shots=100).result().get_counts()
    mlflow.log_metrics({f"counts.{key}": count for key, count in counts.items()})
    mlflow.log_text(qasm3.dumps(bell), "bell.qasm")
print(counts)""",
    ),
)


def _added(peer: Peer, folder: Path, python: Path) -> tuple[float, float]:
    """Median seconds for one Bell in a cell: (bare, tracked)."""
    times: tuple[list[float], list[float]] = ([], [])
    with (
        Kernel(folder, guarded=False, python=python) as bare,
        Kernel(folder, guarded=False, python=python) as tracking,
    ):
        bare.run(SETUP)
        tracking.run(SETUP)
        tracking.run(peer.setup.format(folder=str(folder)))
        for turn in range(CELLS + 5):
            taken = bare.run(BELL), tracking.run(peer.tracked)
            if turn >= 5:  # the first ones warm up
                for side, seconds in zip(times, taken, strict=True):
                    side.append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Measure and report."""
    rows: list[Row] = []
    with scratch() as folder:
        bare, sealed, _ = added_by_qnb(folder)
        rows.append(Row("a sealed cell of qnb adds to one Bell", 1e3 * (sealed - bare), "ms"))
        for peer in PEERS:
            what, python = f"{peer.name} adds to one Bell", peer.interpreter()
            if python is None:
                rows.append(Row(what, None, "ms", None, f"`{peer.requirements[0]}` could not be installed here"))
                continue
            without, tracked = _added(peer, folder, python)
            note = f"{peer.requirements[0]}: bare {1e3 * without:.1f} ms, tracked {1e3 * tracked:.1f} ms"
            ratio = (tracked - without) / (sealed - bare)
            rows.append(Row(what, 1e3 * (tracked - without), "ms", None, note))
            rows.append(Row("... against what a sealed cell adds", ratio, "x", peer.factor, "", "min"))
    report(rows)


if __name__ == "__main__":
    main()
