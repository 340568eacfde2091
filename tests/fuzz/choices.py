"""Bytes as choices: how a fuzzer that knows bytes only changes a JSON value, a text or a list of lines.

Enters: bytes. Leaves: values; the same bytes give the same value, so that a finding can be run again.
"""

from __future__ import annotations

import copy
from typing import Any

# what stands where something else should: every type, and of each the values that code forgets
ATOMS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 4, 2**31, 2**63, 2**64, 10**400, 0.0, 1.5, -0.0, 1e308, float("inf"), float("nan"),
    "", "a", "A", "0", "1", " ", "\n", "é", "\x00", "\x1b[2J", "\ud800", "\U0010ffff", "\u202e", "a" * 64, "0" * 64,
    "f" * 16, "x" * 5000, "AAAA", "A===", "sha256:" + "0" * 64, "running", "ok", "allow", "execute", "restricted//phi",
    [], [[]], [None], ["a"], {}, {"a": 1}, {"sha256": "0" * 64}, {"name": "x"}, {"name": None}, {"qnb": 3},
)  # fmt: skip


class Choices:
    """Takes bytes off the front; when they are used up every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, bound: int) -> int:
        """A number below `bound`, from one byte, or two for a large bound."""
        width = 1 if bound <= 256 else 2
        raw = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(raw, "big") % max(bound, 1)

    def rest(self) -> bytes:
        """What was not used."""
        return self._data[self._at :]

    def atom(self) -> Any:
        """One of ATOMS, or a short text of what comes next."""
        n = self.below(len(ATOMS) + 8)
        if n < len(ATOMS):
            return copy.deepcopy(ATOMS[n])
        size = self.below(24)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return as_text(taken)


def as_text(data: bytes) -> str:
    """Any bytes as a text; what is not UTF-8 becomes lone surrogates, which JSON and `sys.argv` can hold too."""
    return data.decode("utf-8", "surrogateescape")


def edit_json(value: Any, choices: Choices) -> Any:
    """`value` with up to four changes, each somewhere in it: replaced, left out, doubled, added, put in a list."""
    root = [copy.deepcopy(value)]
    for _ in range(1 + choices.below(4)):
        parent: Any = root
        key: Any = 0
        while isinstance(parent[key], (dict, list)) and parent[key] and choices.below(8):
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = keys[choices.below(len(keys))]
        _change(parent, key, choices, root)
    return root[0] if root else None


def _change(parent: Any, key: Any, choices: Choices, root: list[Any]) -> None:
    how = choices.below(8)
    if how == 1 and parent is not root:
        del parent[key]
    elif how == 2 and isinstance(parent, list) and parent is not root:
        parent.insert(key, copy.deepcopy(parent[key]))
    elif how == 3 and isinstance(parent, dict):
        parent[str(choices.atom())[:40]] = choices.atom()
    elif how == 4:
        parent[key] = [parent[key]]
    elif how == 5 and isinstance(parent[key], str) and parent[key]:
        text, at = parent[key], choices.below(len(parent[key]))
        parent[key] = text[:at] + chr(choices.below(256)) + text[at + choices.below(3) :]
    elif how == 6 and isinstance(parent[key], int):
        parent[key] += choices.below(5) - 2
    else:
        parent[key] = choices.atom()


def edit_bytes(whole: bytes, choices: Choices) -> bytes:
    """`whole` with up to four changes: flipped, cut out, put in, doubled or cut off."""
    for _ in range(1 + choices.below(4)):
        at = choices.below(len(whole) + 1)
        stop = min(len(whole), at + choices.below(70))
        how = choices.below(6)
        if how == 0:
            whole = whole[:at] + bytes([choices.below(256)]) + whole[at + 1 :]
        elif how == 1:
            whole = whole[:at] + whole[stop:]
        elif how == 2:
            whole = whole[:at] + bytes(choices.below(256) for _ in range(choices.below(20))) + whole[at:]
        elif how == 3:
            whole = whole[:stop] + whole[at:]
        elif how == 4:
            whole = whole[:at]
        else:
            whole = whole[:at] + whole[at:stop].swapcase() + whole[stop:]
    return whole
