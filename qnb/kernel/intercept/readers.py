"""How the arguments of each kind of target are read.

Enters: a guarded call and the reader that the table names for its target. Leaves: `Judged`, or None for a call that
executes nothing.
Never: decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qnb.kernel.intercept.calls import Judged, read_backend
from qnb.kernel.intercept.legacy import read_estimator_v1, read_sampler_v1
from qnb.kernel.intercept.primitives import read_primitive
from qnb.kernel.intercept.programs import read_program
from qnb.kernel.intercept.simulations import read_simulation, read_state
from qnb.kernel.intercept.trampoline import Hook

Reader = Callable[[str, Any, tuple[Any, ...], dict[str, Any]], Judged]

READERS: dict[str, Reader] = {
    "backend": read_backend,
    "sampler": partial(read_primitive, "sampler"),
    "estimator": partial(read_primitive, "estimator"),
    "sampler-v1": read_sampler_v1,
    "estimator-v1": read_estimator_v1,
    "program": read_program,
}


def read(reader: str, hook: Hook, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged | None:
    """Read a call of a guarded method.

    Args:
        reader: as the table names it.
        hook: of the method.
        subject: the object whose method it is; None for a static method.
        args: the arguments after it.
        kwargs: those by name.

    Returns:
        What was read; None when the call executes nothing: a matrix, not a circuit, or the SDK at its own work.

    Raises:
        ExecutionError: something in the call could not be read, so it cannot be judged.
    """
    if reader == "simulation":
        return read_simulation(hook, subject, args, kwargs)
    if reader == "state":
        return read_state(hook, subject, args, kwargs)
    return READERS[reader](hook.name, subject, args, kwargs)
