"""Notebooks that are saved as text: uploads, renamed files, files opened in the text editor.

Enters: the content of a contents model. Leaves: a notebook, or text. Never: goes by the name of the file alone.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

_HEAD = 64  # characters of base64 that are looked at first


def decode_text(content: str, kind: object) -> str | None:
    """The text of a file's content; None for what cannot be a notebook.

    Args:
        content: text, or base64.
        kind: the model's format, `text` or `base64`.
    """
    if kind != "base64":
        return content
    try:
        head = b64decode("".join(content[: 2 * _HEAD].split())[:_HEAD])
        if head and not looks_like_notebook(head.decode("utf-8", "replace")):
            return None
        return b64decode(content).decode("utf-8-sig")
    except ValueError:
        return None


def looks_like_notebook(start: str) -> bool:
    """Whether a file that begins so can be JSON of an object."""
    shown = start.lstrip("\ufeff \t\r\n")
    return not shown or shown.startswith("{")


def parse_text(text: str) -> tuple[dict[str, Any], bool] | None:
    """The notebook that a text is, and whether the text holds more than the notebook; None for another text.

    Of a key that is given twice, a reader sees the last value, and a file holds both.
    """
    if not looks_like_notebook(text[:_HEAD] or " ") or not ('"nbformat"' in text or "\\u" in text):
        return None
    repeated = False

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        value = dict(pairs)
        repeated |= len(value) != len(pairs)
        return value

    try:
        value = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=take)
    except (ValueError, RecursionError):
        return None
    return (value, repeated) if isinstance(value, dict) and "nbformat" in value else None


def encode_text(nb: dict[str, Any], kind: object) -> str:
    """A notebook as the content of a file of that format."""
    # ASCII, because an output may hold a lone surrogate, which UTF-8 cannot say
    text = json.dumps(nb, indent=1) + "\n"
    return b64encode(text.encode("ascii")).decode("ascii") if kind == "base64" else text
