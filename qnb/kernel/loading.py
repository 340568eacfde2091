"""Loading circuits that somebody else wrote: decide, try apart, parse.

Enters: a path or bytes, and the guarded session of this process where there is one. Leaves: a circuit.
Never: parses before it was decided and recorded, or before the same bytes were parsed in a process under limits; keeps
or records the path.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnb.errors import ConfigError, InputError, StorageError
from qnb.model import Action, Request

if TYPE_CHECKING:
    from qnb.kernel.session import Session


def load_circuit(
    source: str | os.PathLike[str] | bytes,
    *,
    format: str | None,  # noqa: A002 - the word that a caller looks for
    index: int | None,
    limits: Mapping[str, int] | None,
) -> Any:
    """See `qnb.load_circuit`."""
    from qnb.core.circuits.untrusted import (
        FORMATS,
        check_bytes,
        check_circuits,
        describe_limits,
        detect_format,
        parse_circuits,
        parse_limits,
    )
    from qnb.kernel import intercept
    from qnb.store.trial import try_file

    allowed = parse_limits(limits)
    if format is not None and format not in FORMATS:
        raise ConfigError("unknown-format", f"`{format}` is no format of circuits", f"formats: {', '.join(FORMATS)}")
    data = _read(source, allowed.bytes)
    chosen = format or detect_format(data)
    session = intercept.session()
    if session is not None:
        session.load(chosen, hashlib.sha256(data).digest())
    check_bytes(data, chosen, allowed)
    try_file(data, chosen, describe_limits(allowed))
    with intercept.decided():
        circuits = parse_circuits(data, chosen)
    check_circuits(circuits, allowed)
    if index is None and len(circuits) > 1:
        raise InputError(
            "several-circuits", f"the file holds {len(circuits)} circuits", "say which: index=0 is the first"
        )
    if index is not None and not 0 <= index < len(circuits):
        raise InputError("no-such-circuit", f"the file holds {len(circuits)} circuits", "index=0 is the first")
    return circuits[index or 0]


def _read(source: str | os.PathLike[str] | bytes, most: int) -> bytes:
    """The bytes, one more than there may be at the most: the check of the size says the rest."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    try:
        with Path(source).open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise StorageError("unreadable", f"the file cannot be read: {reason.lower()}", "check the path") from None
    except TypeError:
        raise ConfigError("no-source", "a circuit is loaded from a path or from bytes") from None


def decide_load(session: Session, format_: str, content: bytes | None, *, hooked: bool) -> None:
    """Decide and record that a circuit is about to be loaded.

    Args:
        session: whose cell it is.
        format_: `qpy`, `qasm2`, `qasm3`, or `pickle`, which is decided once in a cell.
        content: SHA-256 of the file, None when it is not at hand.
        hooked: whether it is loaded past `qnb.load_circuit`: that is decided in classified cells.

    Raises:
        DeniedError: the policy says no.
        QnbError: no decision could be made or recorded; nothing may be loaded.
    """
    cell = session.running_cell()
    if hooked and not cell.classified:
        return
    with cell.lock:
        if hooked and format_ == "pickle":
            if cell.pickles:
                return
            cell.pickles = True
        try:
            session.require(
                Request(Action.LOAD, session.authority.principal, cell.label, purpose=cell.purpose, format=format_),
                cell,
                content=content,
            )
        except BaseException:
            cell.pickles = False
            raise
