"""The one sealed output of a classified cell: live while it runs, final when it ends, fresh when more comes late.

Enters: output messages in order, from any thread. Leaves: MIME bundles to display, each under the same display id.
Never: lets an output out that was not sealed; what cannot be sealed is withheld and said to be.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from qnb.core.outputs import OutputAccumulator, Pace
from qnb.errors import QnbError, SealError
from qnb.kernel.cell import Cell
from qnb.kernel.session import Session
from qnb.kernel.widgets import Widgets

_ATTEMPTS = 2  # the second one is for an interrupt that meets the sealing
_QUIET = 0.3  # seconds without a new output or cell; no longer than a cell's first delay, see `watch`
_REFRESH = 0.1  # seconds between two looks at the widgets that are shown
_NAP = 1.0  # seconds; a growing output can be due before the time computed for its earlier size


class LiveOutput:
    """What one classified cell shows.

    Args:
        cell: the open cell.
        session: seals.
        publish: `display_data` or `update_display_data`, and its content.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        cell: Cell,
        session: Session,
        publish: Callable[[str, dict[str, Any]], None],
        clock: Callable[[], float],
    ) -> None:
        self.cell = cell
        self.spoken: list[QnbError] = []  # errors to be shown in clear beside the card
        self.allowed: list[QnbError] = []  # errors of our own magics, which say nothing of the cell
        self.widgets = Widgets()
        self._refreshed = clock()
        self._session = session
        self._publish = publish
        self._clock = clock
        self._gathering = threading.Lock()
        self._sealing = threading.RLock()
        self._gathered = OutputAccumulator()
        self._pace = Pace(clock(), delay=0.3, interval=0.1, share=0.05)
        self._display_id = f"qnb-{uuid.uuid4().hex}"
        self._shown = False
        self._due = True  # a cell that takes long shows its card even before its first output
        self._state: str | None = None
        self._withheld = False

    @property
    def closed(self) -> bool:
        """Whether the final version was made."""
        return self._state is not None

    @property
    def size(self) -> int:
        """About how many bytes are gathered."""
        with self._gathering:
            return self._gathered.size

    def gather(self, kind: str, content: Mapping[str, Any]) -> bool:
        """Take in one output message; True when a new version became due by it."""
        area, content = self.widgets.area, self.widgets.plain(content)
        with self._gathering:
            if self._withheld:
                return False
            woken = not self._due
            self._due = True
            self._gathered.apply(kind, content, area)
            return woken

    def refresh(self, *, now: bool = False) -> bool:
        """Take in what the cell's widgets look like, not too often unless it has to be `now`; True as `gather`."""
        if not now and self._clock() < self._refreshed + _REFRESH:
            return False
        self._refreshed = self._clock()
        woken = False
        for content in self.widgets.updates():
            woken |= self.gather("update_display_data", content)
        return woken

    def due(self) -> float | None:
        """When the next version may be published; None when there is nothing new."""
        with self._gathering:
            if not self._due or self._withheld or self.cell.refused is not None:
                return None
            return self._pace.due(self._gathered.size)

    def advance(self) -> None:
        """Publish the version that is due, if one is: `running` before the end, a fresh final one after it."""
        with self._sealing:
            due, begun = self.due(), self._clock()
            if due is None or due > begun:
                return
            outputs, size = self._take()
            with contextlib.suppress(Exception):  # an earlier version stands, or the end will say what is wrong
                self._show(self._session.seal_output(self.cell, outputs, self._state or "running"))
            self._pace.published(self._clock(), size, self._clock() - begun)

    def close(self, state: str) -> QnbError | None:
        """Settle the cell's executions, then seal and publish the final version.

        Args:
            state: `ok`, `failed` or `interrupted`.

        Returns:
            Why the output is withheld; None when all is well.
        """
        with self._sealing:
            failure = self._finish(state)
            self._state = state
            # from here on each version is an entry of its own
            self._pace = Pace(self._clock(), delay=0.25, interval=1.0, share=0.1)
            if failure is not None and self.cell.refused is None:
                self._show({"text/plain": f"output withheld: {failure}"})
            return failure

    def _finish(self, state: str) -> QnbError | None:
        failure: QnbError | None = None
        for _ in range(_ATTEMPTS):
            try:
                self._session.end_executions(self.cell)
                if self.cell.refused is None:
                    outputs, _size = self._take()
                    self._show(self._session.seal_output(self.cell, outputs, state))
                    return None
            except QnbError as error:
                failure = error
            except KeyboardInterrupt:
                failure = SealError("interrupted", "the sealing was interrupted", "run the cell again")
                continue
            except Exception:  # noqa: BLE001 - its text could quote content
                failure = SealError("not-sealed", "the output could not be sealed", "run the cell again")
            break
        with self._gathering:
            self._withheld = True
            self._gathered = OutputAccumulator()
        return failure

    def _take(self) -> tuple[list[dict[str, Any]], int]:
        with self._gathering:
            self._due = False
            return self._gathered.outputs(), self._gathered.size

    def _show(self, data: dict[str, Any]) -> None:
        kind = "update_display_data" if self._shown else "display_data"
        self._shown = True
        self._publish(kind, {"data": data, "metadata": {}, "transient": {"display_id": self._display_id}})


class Publisher:
    """One daemon thread that advances the live outputs when they are due.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wake = threading.Condition()
        self._watched: set[LiveOutput] = set()
        self._tasks: deque[Callable[[], None]] = deque()
        self._quiet_from = 0.0
        self._asleep_until: float | None = None  # None: not asleep, or until it is woken
        self._thread: threading.Thread | None = None

    def watch(self, live: LiveOutput) -> None:
        """Advance `live` from now on, until there is nothing new."""
        with self._wake:
            self._watched.add(live)
            if self._tasks:
                self._quiet_from = self._clock() + _QUIET
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="qnb-outputs", daemon=True)
                self._thread.pydev_do_not_trace = True  # type: ignore[attr-defined]  # a breakpoint must not stop it
                self._thread.start()
            due = live.due()
            # who sleeps no longer than that looks in time: waking it for each short cell would cost the cell a switch
            if self._asleep_until is None or (due is not None and due < self._asleep_until):
                self._wake.notify()

    def later(self, task: Callable[[], None]) -> None:
        """Do something at the next quiet moment, when no output has moved for a while. `task` must not raise."""
        with self._wake:
            self._tasks.append(task)
            self._quiet_from = self._clock() + _QUIET
            if self._asleep_until is None and self._thread is not None:
                self._wake.notify()

    def flush(self) -> None:
        """Do now, in this thread, what waits for a quiet moment; at the end of the process."""
        while self._tasks:
            self._tasks.popleft()()

    def _run(self) -> None:
        while True:
            task: Callable[[], None] | None = None
            with self._wake:
                due = {live: live.due() for live in self._watched}
                self._watched -= {live for live, time in due.items() if time is None}
                times = [time for time in due.values() if time is not None]
                now = self._clock()
                if not times or min(times) > now:
                    nap = min(min(times) - now, _NAP) if times else None
                    if self._tasks and self._quiet_from <= now:
                        task = self._tasks.popleft()
                    elif self._tasks:
                        nap = min(self._quiet_from - now, _NAP)
                if task is None and (not times or min(times) > now):
                    due.clear()  # who sleeps must keep no output in memory
                    self._asleep_until = None if nap is None else now + nap
                    self._wake.wait(nap)
                    self._asleep_until = None
                    continue
            if task is not None:
                task()
                continue
            _advance(due, now)


def _advance(due: Mapping[LiveOutput, float | None], now: float) -> None:
    for live, time in due.items():
        if time is not None and time <= now:
            live.advance()
