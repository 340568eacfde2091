"""qnb: a notebook that is a safe place for sensitive quantum work."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["declassify", "load_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext qnb`: guard this kernel from here on. Loading twice is harmless."""
    from qnb.kernel.magic import load

    load(shell)


def declassify(value: Any, label: str, *, reason: str) -> Any:
    """Show a value in clear at a lower label: an act of its own, decided by the policy and recorded.

    Args:
        value: anything the notebook can display; its rich display at this moment is what is released.
        label: the label to lower it to (`internal`), lower than the kernel's.
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
