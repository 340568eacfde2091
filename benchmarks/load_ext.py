"""What `%load_ext qnb` costs in a kernel that has imported qiskit; a fresh kernel each time, the first makes a home."""

from __future__ import annotations

import statistics
from pathlib import Path

from cells import Kernel
from rows import Row, report, scratch

REPEAT = 7
LOAD = "%load_ext qnb"


def _loads(folder: Path, imported: str) -> list[float]:
    times = []
    for _ in range(REPEAT):
        with Kernel(folder, guarded=False) as kernel:
            kernel.run(imported)
            kernel.run("1 + 1")
            times.append(1e3 * kernel.run(LOAD))
    return times


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        first, *later = _loads(folder, "import qiskit")
        with_aer = _loads(folder, "import qiskit, qiskit_aer")
    report(
        [
            Row(
                "%load_ext qnb after `import qiskit`",
                statistics.median(later),
                "ms",
                200,
                f"median of {len(later)} fresh kernels",
            ),
            Row("%load_ext qnb after `import qiskit, qiskit_aer`", statistics.median(with_aer), "ms"),
            Row("the very first %load_ext, which makes the home", first, "ms"),
        ]
    )


if __name__ == "__main__":
    main()
