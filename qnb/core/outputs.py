"""What a cell has shown so far, and when a new version of it is due.

Enters: the content of output messages, in order, and times in seconds. Leaves: nbformat outputs and times.
Never: publishes, seals or reads a clock.
Spec: Jupyter messaging protocol 5 (stream, display_data, update_display_data, execute_result, error, clear_output) and
nbformat 4 outputs, as JupyterLab's output area applies the one to make the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ENTRY = 64  # bytes that an output weighs besides its content


@dataclass(slots=True)
class _Item:
    """One output; a stream keeps its pieces apart until somebody asks for the text."""

    output: dict[str, Any]
    size: int
    display_id: str | None = None
    pieces: list[str] = field(default_factory=list)


class OutputAccumulator:
    """Turns output messages into the outputs a front end would show at this moment.

    An update of a display that this cell did not make is shown here as a display of its own: where it belongs may be in
    clear. An update of a display that was cleared is dropped, as front ends do.
    """

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._displays: dict[str, list[_Item]] = {}  # by display id
        self._cleared: set[str] = set()
        self._clear_next = False
        self._areas: dict[str, OutputAccumulator] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """About how many bytes the outputs take as JSON."""
        return self._size + sum(area.size for area in self._areas.values())

    def apply(self, kind: str, content: Mapping[str, Any], area: str | None = None) -> bool:
        """Take in the content of one message.

        Args:
            kind: its message type.
            content: as in the protocol.
            area: the display id of an output area inside the cell's (an Output widget) that the message goes to. What
                such an area holds stands below its display, and below everything else where that is not shown.

        Returns:
            Whether it is an output message; anything else is left out.
        """
        if area is not None:
            return self._areas.setdefault(area, OutputAccumulator()).apply(kind, content)
        if kind == "stream":
            self._stream(str(content.get("name", "stdout")), str(content.get("text", "")))
        elif kind in ("display_data", "execute_result"):
            self._add(_rich(kind, content), _display_id(content))
        elif kind == "update_display_data":
            self._update(content)
        elif kind == "error":
            self._add(
                {
                    "output_type": "error",
                    "ename": str(content.get("ename", "")),
                    "evalue": str(content.get("evalue", "")),
                    "traceback": [str(line) for line in content.get("traceback") or ()],
                }
            )
        elif kind == "clear_output":
            if content.get("wait"):
                self._clear_next = True
            else:
                self._clear()
        else:
            return False
        return True

    def outputs(self) -> list[dict[str, Any]]:
        """The nbformat outputs as they stand; later messages do not change what was given out."""
        result = []
        for item in self._items:
            if item.pieces:
                item.pieces = ["".join(item.pieces)]
                result.append({**item.output, "text": item.pieces[0]})
            else:
                result.append(item.output)
            if item.display_id in self._areas:
                result += self._areas[item.display_id].outputs()
        for area in self._areas:
            if area not in self._displays:
                result += self._areas[area].outputs()
        return result

    def _stream(self, name: str, text: str) -> None:
        if not text:
            return
        self._clear_if_due()
        last = self._items[-1] if self._items else None
        if last is None or not last.pieces or last.output["name"] != name:
            last = _Item({"output_type": "stream", "name": name}, _ENTRY)
            self._items.append(last)
            self._size += _ENTRY
        last.pieces.append(text)
        last.size += len(text)
        self._size += len(text)

    def _add(self, output: dict[str, Any], display_id: str | None = None) -> None:
        self._clear_if_due()
        item = _Item(output, _weigh(output), display_id)
        self._items.append(item)
        if display_id is not None:
            self._displays.setdefault(display_id, []).append(item)
        self._size += item.size

    def _update(self, content: Mapping[str, Any]) -> None:
        display_id = _display_id(content)
        shown = [] if display_id is None else self._displays.get(display_id, [])
        for item in shown:
            new = _rich("display_data", content)
            item.output = {**item.output, "data": new["data"], "metadata": new["metadata"]}
            self._size -= item.size
            item.size = _weigh(item.output)
            self._size += item.size
        if not shown and display_id not in self._cleared:
            self._add(_rich("display_data", content), display_id)

    def _clear_if_due(self) -> None:
        if self._clear_next:
            self._clear()

    def _clear(self) -> None:
        self._cleared.update(self._displays)
        self._displays.clear()
        self._items.clear()
        self._areas.clear()
        self._clear_next = False
        self._size = 0


def _rich(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "output_type": kind,
        "data": dict(content.get("data") or {}),
        "metadata": dict(content.get("metadata") or {}),
    }
    if kind == "execute_result":
        output["execution_count"] = content.get("execution_count")
    return output


def _display_id(content: Mapping[str, Any]) -> str | None:
    display_id = (content.get("transient") or {}).get("display_id")
    return None if display_id is None else str(display_id)


def _weigh(value: Any) -> int:
    """About how many bytes the value takes as JSON."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return _ENTRY + sum(len(str(key)) + _weigh(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return _ENTRY + sum(_weigh(item) for item in value)
    return 8


@dataclass(slots=True)
class Pace:
    """When the next version of a growing output may be published.

    Three brakes. Versions come further apart the longer the cell runs. A version waits while the earlier ones weigh
    more than the output itself now does, so that all live versions together stay within twice the size of the largest:
    small outputs are exempt up to `slack` bytes and a trickle afterwards, so that a progress bar goes on moving. And
    making versions takes at most `load` of the time, because the cell waits for it.

    Attributes:
        start: when the output began, in seconds.
        delay: seconds from then to the first version.
        interval: least seconds between two versions.
        share: least seconds between two versions, as a share of the time since `start`.
        slack: bytes that versions may take whatever the size.
        trickle: bytes a second that come on top.
        overhead: bytes of a version besides its content.
        load: share of the time that the making of versions may take.
    """

    start: float
    delay: float
    interval: float
    share: float
    slack: int = 256 * 1024
    trickle: int = 4096
    overhead: int = 4096
    load: float = 0.05
    spent: int = 0
    last: float | None = None
    took: float = 0.0

    def due(self, size: int) -> float:
        """The earliest time for a version of `size` bytes."""
        begin = self.start + self.delay
        if self.last is not None:
            begin = self.last + max(self.interval, self.share * (self.last - self.start), self.took / self.load)
        return max(begin, self.start + (self.spent - size - self.slack) / self.trickle)

    def published(self, now: float, size: int, took: float = 0.0) -> None:
        """Count a version of `size` bytes published at `now`, which took so many seconds to make."""
        self.spent += size + self.overhead
        self.last = now
        self.took = took
