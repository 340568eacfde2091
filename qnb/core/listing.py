"""An entry as a row of a list: what `qnb log list --json` prints and the server answers.

Enters: an entry's index and view. Leaves: a dict of JSON types. Never: what the entry does not say.
"""

from __future__ import annotations

from typing import Any

from qnb.core.entry import EntryView, status_of

COLUMNS = (
    "kind", "decision", "status", "label", "cell", "backend", "time", "action", "zone", "state", "notebook", "session",
    "sequence", "principal",
)  # fmt: skip


def list_entry(index: int, view: EntryView | None, answer: str | None) -> dict[str, Any]:
    """One row.

    Args:
        index: of the entry.
        view: what it says; None when it cannot be read.
        answer: `worst_status` of the entries that answer it; None if none does.
    """
    if view is None:
        return dict.fromkeys(("index", *COLUMNS)) | {"index": index}
    row: dict[str, Any] = {"index": index}
    row |= {name: getattr(view, name) for name in COLUMNS if name not in ("decision", "status")}
    row["decision"] = None if view.allow is None else "allow" if view.allow else "deny"
    row["status"] = status_of(view, answer)
    row["answers"] = view.decision
    return row
