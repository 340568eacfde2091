"""One decision per outermost call: a token that says "inside", and the threads that it follows into.

Enters: the start of a guarded call. Leaves: whether a call is inside another one, in this thread or in one that the
outer call started. Never: outlives the call it stands for. A pool's worker that an outer call happened to start stays
free, because the token goes with the task, not with the thread; and a token whose call has ended counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from threading import Thread
from types import FunctionType
from typing import Any, cast

from qnb.kernel.intercept import trampoline
from qnb.kernel.intercept.trampoline import Hook


class Token:
    """Stands for one outermost call from its decision to the end of its job.

    Attributes:
        open: whether calls that carry it are still inside.
        pins: id of a backend -> what runs in its place, fixed when the call was judged.
    """

    __slots__ = ("open", "pins")

    def __init__(self, pins: dict[int, Any]) -> None:
        self.open = True
        self.pins = pins


_INSIDE: ContextVar[Token | None] = ContextVar("qnb_inside", default=None)


def inside() -> Token | None:
    """The token of the outer call that this code runs inside of, None at the outermost level."""
    token = _INSIDE.get()
    return token if token is not None and token.open else None


def run_inside(token: Token | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call `function` inside `token` (None: outside any)."""
    reset = _INSIDE.set(token)
    try:
        return function(*args, **kwargs)
    finally:
        _INSIDE.reset(reset)


def _submit(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    token = inside()
    if token is None or len(args) < 2:
        return hook.original(*args, **kwargs)
    pool, function, *rest = args
    # The pool may start a worker now, and that worker will serve others too: it must not carry the token itself.
    return run_inside(None, hook.original, pool, partial(run_inside, token, function), *rest, **kwargs)


def _start(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    token = inside()
    if token is not None and args and isinstance(args[0], Thread):
        thread = args[0]
        thread.run = partial(_run_thread, token, thread, thread.run)  # type: ignore[method-assign]
    return hook.original(*args, **kwargs)


def _run_thread(token: Token, thread: Thread, run: Callable[[], None]) -> None:
    thread.__dict__.pop("run", None)
    run_inside(token, run)


_CARRIERS: tuple[tuple[Any, trampoline.Enter], ...] = ((ThreadPoolExecutor.submit, _submit), (Thread.start, _start))


def install() -> None:
    """Let a token follow tasks and threads; only where one is set does anything change."""
    for function, enter in _CARRIERS:
        trampoline.place(cast("FunctionType", function), enter)
