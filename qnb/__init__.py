"""qnb: a notebook that is a safe place for sensitive quantum work."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext qnb`: guard this kernel from here on. Loading twice is harmless."""
    from qnb.kernel.magic import load

    load(shell)
