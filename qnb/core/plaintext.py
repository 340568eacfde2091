"""What of a notebook stands in clear: per output, the part that is sealed and the part that is not.

Enters: outputs and cells of a notebook that anybody may have written. Leaves: the sealed part in its one spelling, and
the rest.
Never: takes for sealed what only says so: a bundle parses and holds an age file, and nothing rides beside it.
Spec: nbformat 4; `application/vnd.qnb.sealed+json` version 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qnb.core.card import render_html, render_text
from qnb.core.seal import is_age
from qnb.core.seal.output import MIME, SealedOutput, is_output, parse_bundle
from qnb.errors import SealError, TamperedError

_CARDS = ("text/html", "text/plain")
_BUNDLE_KEYS = {f.name for f in fields(SealedOutput)} - {"receipt", "ciphertext"} | {"entry", "age", "because"}
_LONGEST_REASON = 1024
_ENTRY_KEYS = {"origin", "index", "leaf", "proof", "checkpoint", "statement"}


def split_output(output: object) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """An output's sealed part and its part in clear; either may be None.

    The sealed part is a display of the bundle and its two cards, made anew: what stood in a card's place, or in the
    metadata beside a bundle, was not the cell's output. Other types beside a bundle are the part in clear.
    """
    if not isinstance(output, dict):
        return None, {"output_type": "stream", "name": "stdout", "text": json.dumps(output)}
    data = output.get("data")
    if not isinstance(data, dict) or MIME not in data or not _is_sealed(data[MIME]):
        return None, output
    bundle = data[MIME]
    sealed = {
        "output_type": "display_data",
        "data": {MIME: bundle, "text/html": render_html(bundle), "text/plain": render_text(bundle)},
        "metadata": {},
    }
    beside = {kind: value for kind, value in data.items() if kind != MIME and kind not in _CARDS}
    return sealed, {"output_type": "display_data", "data": beside, "metadata": {}} if beside else None


def is_same_output(output: Mapping[str, Any], sealed: Mapping[str, Any]) -> bool:
    """Whether an output is the spelling that `split_output` gave of it, lines of text aside."""
    if output.keys() - {"output_type", "data", "metadata"} or output.get("metadata") or "data" not in output:
        return False
    data = {kind: "".join(v) if kind in _CARDS and isinstance(v, list) else v for kind, v in output["data"].items()}
    return output.get("output_type") == "display_data" and data == sealed["data"]


def openable(output: dict[str, Any]) -> dict[str, Any]:
    """An output as it may be sealed: one that no reader would take for an output becomes a text that holds it."""
    if is_output(output):
        return output
    complete = {"metadata": {}, **output}
    return complete if is_output(complete) else {"output_type": "stream", "name": "stdout", "text": json.dumps(output)}


def attachment_outputs(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A cell's attachments as displays."""
    attachments = cell.get("attachments")
    if not isinstance(attachments, dict):
        return []
    return [
        {"output_type": "display_data", "data": data if isinstance(data, dict) else {}, "metadata": {"name": name}}
        for name, data in attachments.items()
    ]


def widget_state(nb: Mapping[str, Any]) -> bool:
    """Whether a notebook holds the state of widgets: what they showed, in clear, and not by which cell."""
    metadata = nb.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("widgets"))


def _is_sealed(bundle: object) -> bool:
    if not isinstance(bundle, dict) or not bundle.keys() <= _BUNDLE_KEYS:
        return False
    because = bundle.get("because", "")
    if not isinstance(because, str) or len(because) > _LONGEST_REASON:
        return False  # a line for a card, and no place for an output
    entry = bundle.get("entry")
    if isinstance(entry, dict) and not entry.keys() <= _ENTRY_KEYS:
        return False
    try:
        return is_age(parse_bundle(bundle).ciphertext)
    except TamperedError:
        return True  # ciphertext that somebody altered stays as it is: whoever opens it is to see that
    except SealError:
        return False
