"""Widgets of one classified cell: they become text.

Enters: what the cell displays, and what its widgets say over comms. Leaves: the displays without a view (no front end
ever hears of the model that it names), their texts as the widgets stand, and the area that an Output widget catches.
Never: sends a widget's state, or raises because of a widget.
Spec: docs/reference/widgets.md; the widget messaging protocol 2.1 of ipywidgets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.lib.pretty import pretty

VIEW = "application/vnd.jupyter.widget-view+json"

_LONGEST = 500  # characters of a widget's text


class Widgets:
    """The widgets that a cell shows."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, str]] = {}  # model id -> display id, text
        self._catching: list[str] = []  # Output widgets that the cell prints into; the innermost is the last
        self._refreshing = False

    def plain(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The content of a display, with text in the place of a widget."""
        data = content.get("data")
        view = data.get(VIEW) if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(view, Mapping):
            return content
        model = str(view.get("model_id"))
        text = str(data.get("text/plain") or "widget")
        display_id = str((content.get("transient") or {}).get("display_id") or _area(model))
        self._shown[model] = (display_id, text)
        rest = {kind: value for kind, value in data.items() if kind != VIEW}
        return {**content, "data": {**rest, "text/plain": text}, "transient": {"display_id": display_id}}

    @property
    def area(self) -> str | None:
        """Where outputs go now; None for the cell's own."""
        if not self._catching:
            return None
        model = self._catching[-1]
        return self._shown[model][0] if model in self._shown else _area(model)

    def heard(self, content: Mapping[str, Any]) -> None:
        """Take in what a widget of the cell would tell the front end: an Output widget begins or ends to catch."""
        data = content.get("data")
        state = data.get("state") if isinstance(data, Mapping) else None
        if not isinstance(state, Mapping) or "msg_id" not in state:
            return
        model = str(content.get("comm_id"))
        self._catching = [other for other in self._catching if other != model]
        if state["msg_id"]:
            self._catching.append(model)

    def updates(self) -> Iterator[dict[str, Any]]:
        """Contents of `update_display_data` for the widgets whose text has changed; in the thread that asks."""
        instances = getattr(sys.modules.get("ipywidgets.widgets.widget"), "_instances", {})
        if self._refreshing:
            return  # the text of a widget can make another one
        self._refreshing = True
        try:
            for model, (display_id, before) in list(self._shown.items()):
                text = _describe(instances.get(model), before)
                if text != before:
                    self._shown[model] = (display_id, text)
                    yield {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}}
        finally:
            self._refreshing = False


def _describe(widget: Any, before: str) -> str:
    """The text of a widget; of one that was closed, or has none (a class of the user's), the text before."""
    try:
        text = before if widget is None else str(pretty(widget))
    except Exception:  # noqa: BLE001 - whatever such a class raises
        return before
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _area(model: str) -> str:
    return f"qnb-widget-{model}"
