"""Example 03 as a whole, guarded against bare: every cell, `%load_ext qnb` included, kernel start not."""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

from cells import Kernel
from rows import ROOT, Row, report, scratch

sys.path.insert(0, str(ROOT / "examples"))
from demo import GUARDED_ONLY, NOTEBOOK, read, without_guard

REPEAT = 5


def _run(folder: Path, cells: list[str]) -> float:
    with Kernel(folder, guarded=False) as kernel:
        kernel.run(f"import os; os.chdir({str(NOTEBOOK.parent)!r})")
        # both sides find the same things imported: cold imports are noise of tenths of a second
        kernel.run("import matplotlib.pyplot, qiskit.primitives, qiskit_aer.primitives, scipy.interpolate, scipy.stats")
        return sum(kernel.run(cell) for cell in cells if cell.strip())


def main() -> None:
    """Measure and report."""
    nb = read(NOTEBOOK)
    common = [
        cell.source
        for cell in nb.cells
        if cell.cell_type == "code" and GUARDED_ONLY not in cell.metadata.get("tags", [])
    ]
    bare = [cell.source for cell in without_guard(nb).cells if cell.cell_type == "code"]
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    times: dict[str, list[float]] = {"bare": [], "guarded": []}
    with scratch() as folder:
        for turn in range(REPEAT + 1):
            taken = {"bare": _run(folder, bare), "guarded": _run(folder, common)}
            if turn:
                for side, seconds in taken.items():
                    times[side].append(seconds)
    median = {side: statistics.median(values) for side, values in times.items()}
    ratio = statistics.median(guarded / plain for guarded, plain in zip(times["guarded"], times["bare"], strict=True))
    note = f"bare {median['bare']:.2f} s, guarded {median['guarded']:.2f} s; median of {REPEAT} pairs"
    report([Row("example 03, whole notebook", ratio, "x", 1.10, note)])


if __name__ == "__main__":
    main()
