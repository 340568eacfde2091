"""Interception: the only place that patches an SDK.

Enters: a session that decides. Leaves: SDK classes whose executions pass through it, one decision for each outermost call,
on copies of what was handed in.
Never: decides, records or seals itself; touches `AerSimulator.target` (it builds a Target at each access).

This is mediation. Code in the same process can restore the functions, call an SDK's private entry points, duck-type a
backend or spawn another process. `check` finds the first; docs/reference/interception.md lists the rest.
"""

from __future__ import annotations

from qnb.kernel.intercept.guard import Guarded, check, install, settle, sweep, targets, uninstall

__all__ = ["Guarded", "check", "install", "settle", "sweep", "targets", "uninstall"]
