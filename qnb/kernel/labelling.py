"""`qnb.label`, `qnb.label_of` and `qnb.flow`, where a guarded session is.

Enters: values of the notebook. Leaves: the same values; labels and their lineage. Never: a value in what is shown.
"""

from __future__ import annotations

from typing import Any

from qnb.core.flow.picture import FlowView
from qnb.kernel.release import guarded


def label(value: Any, text: str) -> Any:
    """See `qnb.label`."""
    guarded()[1].session.labels.label(value, text)
    return value


def label_of(value: Any) -> str:
    """See `qnb.label_of`."""
    return str(guarded()[1].session.labels.label_of(value))


def flow() -> FlowView:
    """See `qnb.flow`."""
    return guarded()[1].session.labels.view()
