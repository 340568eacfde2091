"""Displays that may stand in clear beside a sealed output, and how they are recognised again in a notebook.

Enters: a display's data and metadata, or an output of a notebook that anybody may have written, and an entry.
Leaves: digests, and whether an output is the one that was recorded.
Never: takes an output for released or for a denial because it looks like one.
Spec: docs/adr/0004-one-sealed-output-a-cell.md; nbformat 4 outputs.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from qnb.errors import ConfigError

_DENIAL = "DeniedError"
_RECORDED_AS = re.compile(r"^  recorded as entry (\d{1,18})$", re.MULTILINE)


def display_digest(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """SHA-256 over a display as a formatter gives it: what a release is decided on and recorded by.

    Raises:
        ConfigError: `not-displayable`: it holds what JSON cannot say.
    """
    return sha256(json.dumps([data, metadata], sort_keys=True, default=_bytes_as_hex).encode()).digest()


def saved_display_digests(output: Mapping[str, Any]) -> Iterator[bytes]:
    """The digests that an output of a notebook can have been recorded under, if it was released.

    A notebook keeps pictures in base64 whether the formatter gave them so or as bytes, and texts as lines.
    """
    data, metadata = output.get("data"), output.get("metadata") or {}
    if output.get("output_type") != "display_data" or not isinstance(data, dict) or not isinstance(metadata, dict):
        return
    joined = {kind: _joined(kind, value) for kind, value in data.items()}
    yield display_digest(joined, metadata)
    decoded = {kind: _decoded(kind, value) for kind, value in joined.items()}
    if decoded != joined:
        yield display_digest(decoded, metadata)


def denial_entry(output: Mapping[str, Any]) -> int | None:
    """The entry that an error output of a notebook names as its denial; None when it is no denial."""
    if output.get("output_type") != "error" or output.get("ename") != _DENIAL:
        return None
    named = _RECORDED_AS.search(str(output.get("evalue")))
    return None if named is None else int(named[1])


def is_said_by(output: Mapping[str, Any], error: Exception) -> bool:
    """Whether an error output says what `error` says, word for word and nothing else."""
    said = [f"{type(error).__name__}: {line}" if i == 0 else line for i, line in enumerate(str(error).splitlines())]
    traceback = output.get("traceback")
    return (
        output.keys() <= {"output_type", "ename", "evalue", "traceback"}
        and output.get("ename") == type(error).__name__
        and output.get("evalue") == str(error)
        and traceback in ([], said)
    )


def _joined(kind: str, value: object) -> object:
    if isinstance(value, list) and not kind.endswith("json") and all(isinstance(line, str) for line in value):
        return "".join(value)
    return value


def _decoded(kind: str, value: object) -> object:
    if not isinstance(value, str) or not (kind.startswith("image/") or kind == "application/pdf"):
        return value
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return value


def _bytes_as_hex(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise ConfigError(
        "not-displayable", "the value's display cannot be recorded", "release a table, a text or a figure"
    )
