"""What the benchmark modules share: a row, its JSON and table form, a scratch folder, and medians of interleaved runs.

Enters: callables to time. Leaves: rows (see README.md). Never: an exit code that depends on the clock.
"""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `bound` is `max` (at most the target) or `min` (at least)."""

    name: str
    measured: float | None
    unit: str
    target: float | None = None
    note: str = ""
    bound: str = "max"

    @property
    def held(self) -> bool | None:
        """Whether the target holds; None when there is no target or no measure."""
        if self.measured is None or self.target is None:
            return None
        return self.measured <= self.target if self.bound == "max" else self.measured >= self.target

    def as_json(self) -> dict[str, str | float | None]:
        """The row as README.md describes it."""
        return asdict(self)


def median_of(sides: Mapping[str, Callable[[], object]], repeat: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Time each side `repeat` times, interleaved, in seconds; the first `warm_up` rounds are dropped.

    Returns:
        side -> its times in order. `statistics.median` of them is the side's figure; differences and ratios are best
        taken of the medians.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    gc.collect()
    for round_ in range(repeat + warm_up):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            elapsed = time.perf_counter() - start
            if round_ >= warm_up:
                times[name].append(elapsed)
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Side -> median in seconds."""
    return {name: statistics.median(values) for name, values in times.items()}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A fresh folder on the checkout's file system, removed afterwards; a tmpfs would make durability free."""
    base = ROOT / ".bench"
    base.mkdir(exist_ok=True)
    (base / ".gitignore").write_text("*\n")
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> Table:
    """The rows as a terminal table with measured / target."""
    view = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (("what", "left"), ("measured", "right"), ("target", "right"), ("m/t", "right")):
        view.add_column(heading, justify=justify)  # type: ignore[arg-type]
    view.add_column("", justify="left")
    view.add_column("note", style="dim")
    for row in rows:
        sign = "≤" if row.bound == "max" else "≥"
        ratio = row.measured / row.target if row.measured is not None and row.target else None
        mark = {True: "[green]holds[/]", False: "[red]missed[/]", None: ""}[row.held]
        target = "" if row.target is None else f"{sign} {_number(row.target)} {row.unit}"
        share = "" if ratio is None else f"{ratio:.2f}"
        view.add_row(row.name, f"{_number(row.measured)} {row.unit}", target, share, mark, row.note)
    return view


def console(*, stderr: bool = False) -> Console:
    """The terminal, or wide enough for the table where there is none."""
    terminal = Console(stderr=stderr)
    return terminal if terminal.is_terminal else Console(stderr=stderr, width=180)


def report(rows: Sequence[Row]) -> None:
    """Print the rows: JSON with `--json` in sys.argv, a table otherwise."""
    if "--json" in sys.argv:
        print(json.dumps([row.as_json() for row in rows]))
    else:
        console().print(table(rows))
