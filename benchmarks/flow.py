"""What it costs that labels follow the data: ordinary cells while something is labelled, and the worst case.

Enters: the cells of example 03 that read nothing secret. Leaves: rows. The cells are run in kernels of their own, in
turns: bare, guarded, and guarded with labelled variables beside them.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path

from cells import Kernel
from rows import ROOT, Row, report, scratch

_REPEAT = 5
_LABEL = """\
import numpy as np, qnb
secret = qnb.label({"series": np.arange(1000.0), "names": ["a"] * 1000}, "confidential")
derived = [value * 2 for value in secret["series"]]"""
# what a walk over the values of a cell meets in the worst case: very many objects, none of them plain
_LARGE = "large = [[i] for i in range(3_000_000)]"
_READ = "size = len(large)"
_SMALL = "numbers = [1, 2, 3]\ntotal = sum(numbers)"


def ordinary_cells() -> list[str]:
    """The code cells of example 03 before its secret part."""
    notebook = json.loads((ROOT / "examples" / "03_drug_discovery.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    first = next(index for index, source in enumerate(cells) if source.startswith("%%qsecure"))
    return [source for source in cells[:first] if "load_ext" not in source]


def measure(folder: Path) -> list[Row]:
    """The rows."""
    cells = ordinary_cells()
    times: dict[str, list[float]] = {"bare": [], "guarded": [], "labelled": []}
    small: dict[str, list[float]] = {name: [] for name in times}
    os.chdir(ROOT / "examples")
    with (
        Kernel(folder / "a", guarded=False) as bare,
        Kernel(folder / "b", guarded=True) as guarded,
        Kernel(folder / "c", guarded=True) as labelled,
    ):
        labelled.run(_LABEL)
        kernels = {"bare": bare, "guarded": guarded, "labelled": labelled}
        for round_ in range(_REPEAT + 1):
            for name, kernel in kernels.items():
                elapsed = sum(kernel.run(source) for source in cells)
                quick = statistics.median(kernel.run(_SMALL) for _ in range(15))
                if round_ > 0:
                    times[name].append(elapsed)
                    small[name].append(quick)
        for kernel in kernels.values():
            kernel.run(_LARGE)
        worst = {name: min(kernel.run(_READ) for _ in range(3)) for name, kernel in kernels.items()}
    middle = {name: statistics.median(values) for name, values in times.items()}
    quick_middle = {name: 1e3 * statistics.median(values) for name, values in small.items()}
    return [
        Row(
            "ordinary cells of example 03, variables labelled beside them / nothing labelled",
            statistics.median(one / other for one, other in zip(times["labelled"], times["guarded"], strict=True)),
            "x",
            1.05,
            f"median of {_REPEAT} pairs; bare {middle['bare']:.2f} s, guarded {middle['guarded']:.2f} s",
        ),
        Row(
            "a cell of two short lines, variables labelled / nothing labelled",
            quick_middle["labelled"] - quick_middle["guarded"],
            "ms more",
            None,
            f"bare {quick_middle['bare']:.2f} ms, guarded {quick_middle['guarded']:.2f} ms",
        ),
        Row(
            "worst case: a cell that reads 3 million lists, variables labelled / nothing labelled",
            1e3 * (worst["labelled"] - worst["guarded"]),
            "ms more",
            None,
            "the walk stops there, and the cell counts as reading what is labelled",
        ),
    ]


def main() -> None:
    """Print the rows."""
    with scratch() as folder:
        report(measure(folder))


if __name__ == "__main__":
    main()
