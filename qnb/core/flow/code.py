"""What a function says about the way of data, read from its code object: its source need not be there any more.

Enters: code objects. Leaves: `CodeFacts`. Never: runs anything.
Spec: the `dis` module of the Python that runs.
"""

from __future__ import annotations

import dis
import sys
from dataclasses import dataclass
from types import CodeType

from qnb.core.flow.constructs import (
    DYNAMIC,
    HIDING,
    HIDING_MODULES,
    HIDING_PLACES,
    READ_ALL,
    READ_ALL_ATTRIBUTES,
    READ_ALL_IMPORTS,
)


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What is known of a function from its code object, functions inside it included."""

    reads: frozenset[str]
    binds: frozenset[str]
    stores: frozenset[str]
    dynamic: frozenset[str]
    opaque: tuple[str, ...]
    hiding: tuple[str, ...]


_READING = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_BINDING = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
# the low bit of their argument says that what they load is called
_CALLED = frozenset({"LOAD_GLOBAL"} if sys.version_info < (3, 12) else {"LOAD_GLOBAL", "LOAD_ATTR"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "LOAD_SUPER_ATTR", "IMPORT_FROM"})


def code_facts(code: CodeType) -> CodeFacts:
    """Read a code object."""
    reads: set[str] = set()
    binds: set[str] = set()
    stores: set[str] = set()
    dynamic: set[str] = set()
    used: set[str] = set()
    called: set[str] = set()
    todo = [code]
    while todo:
        one = todo.pop()
        todo += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
        root = ""  # of the attributes that are being loaded
        for instruction in dis.get_instructions(one):
            name = instruction.opname
            if name == "STORE_ATTR" and root:
                stores.add(root)
            if root and instruction.argval in ("modules", "__dict__"):
                dynamic.add(root)
            root = str(instruction.argval) if name in _READING else root if name == "LOAD_ATTR" else ""
            if name in _READING:
                reads.add(str(instruction.argval))
            elif name in _BINDING:
                binds.add(str(instruction.argval))
            elif name in _ATTRIBUTES or name == "IMPORT_NAME":
                used.add(str(instruction.argval))
            if name == "LOAD_METHOD" or (name in _CALLED and (instruction.arg or 0) & 1):
                called.add(str(instruction.argval))
    hiding = (called & (HIDING | {"submit"})) | (used & HIDING_PLACES) | (reads & HIDING_MODULES)
    opaque = (reads & (READ_ALL | {"get_ipython"})) | (used & (READ_ALL_ATTRIBUTES | READ_ALL_IMPORTS))
    return CodeFacts(
        frozenset(reads),
        frozenset(binds),
        frozenset(stores),
        frozenset(dynamic | (reads if reads & DYNAMIC else set())),
        tuple(sorted(opaque)),
        tuple(sorted(hiding)),
    )
