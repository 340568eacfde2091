"""qnb: a notebook that is a safe place for sensitive quantum work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

__version__ = "0.1.0"
__all__ = ["declassify", "flow", "label", "label_of", "load_circuit", "load_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext qnb`: guard this kernel from here on. Loading twice is harmless."""
    from qnb.kernel.magic import load

    load(shell)


def label(value: Any, label: str) -> Any:
    """Attach a label to a value: cells that read it carry the label from here on, the cell that does so first of all.

    Args:
        value: anything. An object keeps its label for as long as it lives; a number or a text has it by its variables.
        label: `restricted//phi`. Joined to a label that the value has already: this never lowers one.

    Returns:
        `value` itself: `df = qnb.label(load(), "restricted//phi")`.

    Raises:
        LabelError: `label` is no label.
        ConfigError: there is no guarded session in this process.
    """
    from qnb.kernel.labelling import label as attach

    return attach(value, label)


def label_of(value: Any) -> str:
    """The label of a variable (give its name) or of an object; the session's own where it carries none.

    Raises:
        ConfigError: there is no guarded session in this process.
    """
    from qnb.kernel.labelling import label_of as find

    return find(value)


def flow() -> Any:
    """The labelled variables and where they come from: data that displays as a flowchart.

    Returns:
        A `FlowView`: `marks` by name, and the kernel's own label.

    Raises:
        ConfigError: there is no guarded session in this process.
    """
    from qnb.kernel.labelling import flow as view

    return view()


def declassify(value: Any, label: str, *, reason: str) -> Any:
    """Lower a value's label and show it in clear: an act of its own, decided by the policy and recorded.

    Args:
        value: anything the notebook can display; its rich display at this moment is what is released.
        label: the label to lower it to (`internal`), lower than the cell's.
        reason: why, in words. The entry holds a keyed digest of it, not the text.

    Returns:
        `value` itself, so that the call can stand at the end of a cell.

    Raises:
        DeniedError: the policy says no.
        LabelError: `label` is no label or is not lower.
        ConfigError: there is no reason, or no guarded session in this process.
    """
    from qnb.kernel.release import declassify as release

    return release(value, label, reason=reason)


def load_circuit(
    source: str | os.PathLike[str] | bytes,
    *,
    format: str | None = None,  # noqa: A002 - the word that a caller looks for
    index: int | None = None,
    limits: Mapping[str, int] | None = None,
) -> Any:
    """Load a circuit that somebody else wrote: within limits, without running anything of it.

    QPY from version 13, OpenQASM 2 and OpenQASM 3 without includes. The file is parsed first in a process of its own,
    under limits on memory and time. In a guarded session it is decided by the policy and recorded before that; without
    one it is held to the same limits and recorded nowhere.

    Args:
        source: a path, or the bytes themselves.
        format: `qpy`, `qasm2` or `qasm3`; by default what the file begins as.
        index: which circuit of a QPY file that holds several, from 0.
        limits: limits to set otherwise, by name (`{"instructions": 5_000_000}`): bytes, circuits, qubits, clbits,
            instructions, depth, parameters, expression, seconds, memory.

    Returns:
        A `QuantumCircuit`.

    Raises:
        InputError: it is malformed, too large, or of a kind that is refused.
        DeniedError: the policy says no.
        ConfigError: an argument that cannot be used.
        StorageError: the file cannot be read, or the decision cannot be recorded.
    """
    from qnb.kernel.loading import load_circuit as load

    return load(source, format=format, index=index, limits=limits)
