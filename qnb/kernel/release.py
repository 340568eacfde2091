"""Releasing a value's display at a lower label: the one way in which content of a classified cell is shown in clear.

Enters: a value, a label, a reason. Leaves: a decision, an entry, then the display. Never: a display that was not
digested and recorded first.
"""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython

from qnb.core.display import display_digest
from qnb.errors import ConfigError
from qnb.kernel import lowering
from qnb.kernel.magic import Guard, guard_of
from qnb.kernel.session import Session


def declassify(value: Any, label: str, *, reason: str) -> Any:
    """See `qnb.declassify`."""
    shell, guard = guarded()
    data, metadata = release(shell, guard.session, value, label, reason)
    guard.outputs.release(data, metadata)
    return value


def release(
    shell: Any, session: Session, value: Any, label: str, reason: str, name: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decide and record that a value is `label` from here on, and the variable `name`, where it goes by one.

    Returns:
        Its display and the metadata of that, as they were recorded.

    Raises:
        DeniedError, LabelError, ConfigError: as `qnb.declassify`.
    """
    if shell.display_formatter is None:
        raise not_guarded()
    data, metadata = shell.display_formatter.format(value)
    if not data:
        # an object that displays itself has done so by now, into the sealed output
        raise ConfigError("no-display", "the value has no display of its own to release", "release a text or a figure")
    lowering.declassify(session, session.current_cell(), label, reason, display_digest(data, metadata))
    session.labels.lower(value, label, name)
    return data, metadata


def guarded() -> tuple[Any, Guard]:
    """The shell that this code runs in, and its guard.

    Raises:
        ConfigError: there is none.
    """
    shell = get_ipython()
    guard = None if shell is None else guard_of(shell)
    if shell is None or guard is None:
        raise not_guarded()
    return shell, guard


def not_guarded() -> ConfigError:
    """The error where no session is guarded."""
    return ConfigError("not-guarded", "there is no guarded session here", "`%load_ext qnb` first")
