"""Releasing a value's display at a lower label: the one way in which content of a classified cell is shown in clear.

Enters: a value, a label, a reason. Leaves: a decision, an entry, then the display. Never: a display that was not
digested and recorded first.
"""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython

from qnb.core.display import display_digest
from qnb.errors import ConfigError
from qnb.kernel.magic import guard_of


def declassify(value: Any, label: str, *, reason: str) -> Any:
    """See `qnb.declassify`."""
    shell = get_ipython()
    guard = None if shell is None else guard_of(shell)
    if shell is None or guard is None or shell.display_formatter is None:
        raise ConfigError("not-guarded", "there is no guarded session here", "`%load_ext qnb` first")
    data, metadata = shell.display_formatter.format(value)
    if not data:
        # an object that displays itself has done so by now, into the sealed output
        raise ConfigError("no-display", "the value has no display of its own to release", "release a text or a figure")
    session = guard.session
    session.declassify(session.current_cell(), label, reason, display_digest(data, metadata))
    guard.outputs.release(data, metadata)
    return value
