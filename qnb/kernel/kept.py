"""Keeping a classified cell's circuits for whoever may open them, sealed, after the cell has replied.

Enters: a cell that has ended, with the copies that were judged. Leaves: sealed circuits beside the log.
Never: on the way of a run or a reply; more than 16 circuits or 1 MiB a cell; a failure that anybody would see: what is
not kept is said to be by `qnb log show`.
"""

from __future__ import annotations

import contextlib

from qnb.errors import QnbError
from qnb.kernel.cell import Cell
from qnb.store.authority import Authority


def save_circuits(authority: Authority, cell: Cell) -> None:
    """Seal the circuits of a cell and put them beside its decisions. Best effort."""
    from qnb.core.circuits.kept import MAX_CELL, MAX_CIRCUITS, save_circuit  # the SDK is loaded: circuits have run

    ran, cell.ran = cell.ran, []
    structures: set[bytes] = set()
    left = MAX_CELL
    for decision, infos, circuits in ran:
        kept: list[tuple[int, bytes]] = []
        for place, (info, circuit) in enumerate(zip(infos, circuits, strict=False)):
            if info.structure in structures or len(structures) >= MAX_CIRCUITS:
                continue
            data = save_circuit(circuit, info.fingerprint)
            if data is None or len(data) > left:
                continue
            structures.add(info.structure)
            left -= len(data)
            kept.append((place, data))
        if kept and decision.entry is not None:
            with contextlib.suppress(QnbError):
                authority.save_circuits(cell.label, decision.entry, kept, cell.recipients)
