"""What replacing names costs before a job leaves this machine, and what it costs a job that stays: nothing.

Enters: nothing. Leaves: rows (see README.md): the renaming itself, with the check that the fingerprint is the same, the
whole call with a map that is sealed, kept and recorded, and the guard of a local backend with the policy's answer "no".
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

from guard import bell, wide
from qiskit import QuantumCircuit
from rows import Row, median_of, medians, report, scratch

from qnb.core.circuits import describe
from qnb.core.circuits.names import Renamer
from qnb.kernel import intercept
from qnb.kernel.intercept.calls import Judged
from qnb.kernel.intercept.leaving import neutralise
from qnb.kernel.session import Session
from qnb.model import Backend, Call
from qnb.store.authority import Authority
from qnb.store.config import ensure_home


class Keeper:
    """Hides names, and keeps no map."""

    hides_names = True

    def keep_names(self, content: bytes) -> None:
        """Nothing."""


def judged(circuit: QuantumCircuit) -> Judged:
    """A call with the circuit, as it was decided on."""
    call = Call("C.run", Backend("c"), (describe(circuit),))
    return Judged(call, (SimpleNamespace(), circuit), {}, {})


def seconds(repeat: int, call: object) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()  # type: ignore[operator]
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def renaming() -> list[Row]:
    """In memory."""
    rows = []
    for name, circuit, repeat, unit, scale in (
        ("a Bell", bell(), 1000, "us", 1e6),
        ("1000 qubits and 100k gates", wide(), 9, "ms", 1e3),
    ):
        call = judged(circuit)
        sides = {
            "names": lambda circuit=circuit: Renamer([circuit]).circuit(circuit),
            "checked": lambda call=call: neutralise(call, Keeper()),
        }
        found = medians(median_of(sides, repeat, 3))
        note = f"median of {repeat}"
        rows.append(Row(f"replacing the names of {name}", found["names"] * scale, unit, None, note))
        note += ", interleaved; a second fingerprint included"
        rows.append(Row(f"the same, and its fingerprint compared: {name}", found["checked"] * scale, unit, None, note))
    return rows


def keeping() -> list[Row]:
    """On disk: the first job of a decision seals, writes and records its map; those that share it do not."""
    circuit = bell()
    call = judged(circuit)
    with scratch() as folder:
        ensure_home(folder / "home")
        with Authority.open(folder / "home") as authority:
            session = Session(authority, check_guard=list, settle=intercept.settle)
            first, later = [], []
            for number in range(30):
                session.open_cell(str(number), None)
                ticket = session.begin(Call("C.run", Backend("c"), (describe(circuit),)))
                for times in (first, later):
                    start = time.perf_counter()
                    neutralise(call, ticket)
                    times.append(time.perf_counter() - start)
    note = "30 decisions; sealed for one recipient, durable, one signed entry"
    return [
        Row("names of a Bell, first job of a decision", statistics.median(first) * 1e3, "ms", None, note),
        Row("names of a Bell, later jobs of the same loop", statistics.median(later) * 1e3, "ms", None, note),
    ]


def staying() -> list[Row]:
    """A backend on this machine."""
    call = judged(bell())
    ticket = SimpleNamespace(hides_names=False)
    return [
        Row(
            "names of a job that stays here",
            seconds(5000, lambda: neutralise(call, ticket)) * 1e6,
            "us",
            1,
            "median of 5000; the policy's answer is a lookup",
        )
    ]


def main() -> None:
    """Measure and print."""
    report([*renaming(), *keeping(), *staying()])


if __name__ == "__main__":
    main()
