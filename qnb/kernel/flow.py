"""The labels of a kernel's variables: which names carry one, which objects, which files, and what a cell makes of them.

Enters: the notebook's namespace, the source of each cell before it runs, and that it has ended.
Leaves: the label of what a cell reads, with the reason; marks on what it bound or changed.
Never: stands in for the namespace or wraps a value: the code of a cell runs as without qnb. While nothing is labelled,
a cell is not even parsed. What cannot be followed or searched in time counts as reading everything that is labelled.
Spec: docs/explanation/label-flow.md.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from qnb.core.flow.cell import CellFacts, cell_facts
from qnb.core.flow.code import CodeFacts, code_facts
from qnb.core.flow.marks import Mark, explain_reads, join, mark
from qnb.core.labels import Scheme
from qnb.kernel.marked import Marked
from qnb.kernel.reach import Budget, is_atom, is_code, is_fixed, is_users_module
from qnb.kernel.snapshot import Snapshot
from qnb.kernel.watch import Opened, watch
from qnb.model import Label

_MISSING = object()
_REACHING = frozenset(map(id, (sys, gc, inspect)))  # modules through which a name made up at run time gets anywhere
_PYPLOT = frozenset({"matplotlib.pyplot", "pylab", "matplotlib.pylab"})
_LAST = ("_", "__", "___")
_CODES = 4096


@dataclass(eq=False)
class Passage:
    """What is kept of one cell while it runs.

    Attributes:
        code: the source as IPython transformed it.
        number: of the cell, as in `In [7]`.
        reads: labelled names that it reads, with their marks.
        label: the join of those; None when it reads nothing labelled.
        everything: the constructs that can read everything that is labelled; empty when there are none.
        because: the line that says why, None without a label.
    """

    code: str
    number: int
    flags: int = 0
    reads: dict[str, Mark] = field(default_factory=dict)
    label: Label | None = None
    everything: tuple[str, ...] = ()
    because: str | None = None
    threads: frozenset[int | None] = frozenset()
    mentioned: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)  # by the functions it calls, through `global`
    hiding: tuple[str, ...] = ()
    stores: frozenset[str] = frozenset()  # roots of what it and they store into
    before: dict[str, int] | None = None
    snapshot: Snapshot | None = None
    lowered: list[tuple[Any, Label]] = field(default_factory=list)
    _facts: CellFacts | None = None

    @property
    def facts(self) -> CellFacts:
        """What its source says; parsed when first asked for."""
        if self._facts is None:
            self._facts = cell_facts(self.code, self.flags)
        return self._facts


class Flow:
    """The labels of one notebook's variables.

    Args:
        scheme: orders labels.
        namespace: the notebook's variables.
        opened: called with a path and whether it is written, for each file that is opened once anything is labelled.
    """

    def __init__(self, scheme: Scheme, namespace: dict[str, Any], opened: Opened) -> None:
        self._scheme = scheme
        self._namespace = namespace
        self._opened = opened
        self.marked = Marked(scheme, namespace)
        self._codes: dict[CodeType, CodeFacts] = {}
        self._watching = False

    # --- before a cell -----------------------------------------------------------------------------------------------

    def enter(self, code: str, number: int, flags: int = 0) -> Passage:
        """Judge a cell by its source, before anything of it runs."""
        passage = Passage(code, number, flags)
        if not self.marked.idle:
            self._judge(passage)
        return passage

    def unjudged(self, code: str, number: int, flags: int = 0) -> Passage:
        """What a cell counts as that could not be judged: it may read everything."""
        label = self.marked.everything()
        because = None if label is None else f"{label}, because it could not be followed"
        return Passage(code, number, flags, label=label, everything=("an error",) if label else (), because=because)

    def begin(self, passage: Passage, *, labelled: bool) -> None:
        """Note how things stand right before the cell runs; `labelled`: whether it carries a label of its own."""
        labels = labelled or "qnb" in passage.code  # it may label something, and then what it changed counts
        if labels or not self.marked.idle:
            passage.threads = _threads()
            passage.before = {name: id(value) for name, value in self._namespace.items()}
        if labels and passage.snapshot is None:
            if not passage.mentioned:
                self._follow(passage, passage.facts)
            values = {name: self._namespace[name] for name in passage.mentioned if name in self._namespace}
            clean = {
                name: value for name, value in values.items() if name not in self.marked.names and not is_code(value)
            }
            passage.snapshot = Snapshot(clean, self._namespace, Budget())

    def _judge(self, passage: Passage) -> None:
        facts = passage.facts
        if not facts.parsed:
            return  # nor will it run
        opaque = self._follow(passage, facts)
        if facts.processes and self.marked.files:
            opaque.add("a program that can read the files")
        for root in facts.dynamic:
            if not root or root in facts.plain or isinstance(self._namespace.get(root), ModuleType):
                opaque.add("getattr" if not root else f"getattr({root}, …)")
        for name in facts.modules:
            module = sys.modules.get(name)
            if module is not None and (is_users_module(module) or module in self.marked):
                passage.reads |= self.marked.reached(name, [module], Budget())[0]
        marks = list(passage.reads.values())
        if opaque:
            passage.everything = tuple(sorted(opaque))
            marks += self.marked.all()
        passage.label = join(self._scheme, marks)
        if passage.label is not None and passage.because is None:
            if passage.reads and join(self._scheme, passage.reads.values()) == passage.label:
                passage.because = explain_reads(self._scheme, passage.label, passage.reads)
            else:
                shown = ", ".join(f"`{construct}`" for construct in passage.everything[:3])
                passage.because = (
                    f"{passage.label}, because {shown} in cell {passage.number} can read every labelled variable"
                )

    def _follow(self, passage: Passage, facts: CellFacts) -> set[str]:
        """Close the names over the functions that they stand for; gives the constructs that can read everything."""
        budget = Budget()
        opaque, hiding, stores = set(facts.opaque), set(facts.hiding), set(facts.stores - facts.literal)
        todo = [*facts.reads, *facts.stores]
        while todo:
            name = todo.pop()
            if name in passage.mentioned:
                continue
            passage.mentioned.add(name)
            value = self._namespace.get(name, _MISSING)
            marks, found = self.marked.reached(name, () if value is _MISSING else [value, *_figures(value)], budget)
            passage.reads |= marks
            if found.everything:
                opaque.add(name)
            for function in found.functions:
                known = self._code(function.__code__)
                todo += [*known.reads, *known.binds]
                passage.bound |= known.binds
                opaque |= set(known.opaque)
                opaque |= {name for name in known.dynamic if id(self._namespace.get(name)) in _REACHING}
                hiding |= set(known.hiding) | ({"__del__"} if function.__name__ == "__del__" else set())
                stores |= known.stores
        passage.stores = frozenset(stores)
        passage.hiding = tuple(sorted(hiding))
        return opaque

    def _code(self, code: CodeType) -> CodeFacts:
        facts = self._codes.get(code)
        if facts is None:
            if len(self._codes) >= _CODES:
                self._codes.clear()
            facts = self._codes[code] = code_facts(code)
        return facts

    # --- while it runs -----------------------------------------------------------------------------------------------

    def label(self, value: Any, label: Label, passage: Passage | None, how: str = "labelled") -> None:
        """Attach a label to an object, and to the names that stand for it."""
        number = 0 if passage is None else passage.number
        given = mark(label, number, how)
        mentioned = set() if passage is None else passage.facts.reads
        for name, held in self._namespace.items():
            if held is value and not self.marked.is_shells(name) and (not is_atom(value) or name in mentioned):
                self.marked.names[name] = self.marked.joined(self.marked.names.get(name), given)
        self.marked.register(value, given)
        for buffer in self.marked.buffers(value):
            self.marked.register(buffer, given)
        if passage is not None and passage.before is None:
            passage.threads = _threads()
            passage.before = {name: id(held) for name, held in self._namespace.items()}
            passage.bound |= passage.facts.binds
            self._follow(passage, passage.facts)
        self._watch()

    def label_name(self, name: str, label: Label, passage: Passage | None) -> None:
        """Attach a label to a variable."""
        self.marked.names[name] = self.marked.joined(
            self.marked.names.get(name), mark(label, passage.number if passage else 0, "labelled")
        )
        if not is_atom(self._namespace[name]):
            self.label(self._namespace[name], label, passage)
        self._watch()

    def lower(self, value: Any, label: Label, passage: Passage | None, name: str | None = None) -> None:
        """Take a value's label down, once that was decided; and that of `name`, where the value is known by it."""
        if passage is not None:
            passage.lowered.append((value, label))
        number = 0 if passage is None else passage.number
        named = {name} | (set() if passage is None else passage.facts.released)
        for known, held in self._namespace.items():
            if held is value and (not is_atom(value) or known in named):
                self.marked.lower_name(known, label, number)
        if not is_atom(value):
            self.marked.lower(value, Mark(label, number, "declassified"))

    def wrote(self, path: str, label: Label, number: int) -> None:
        """Note that a cell opened a file for writing."""
        if self.marked.counts(label):
            self.marked.files[path] = self.marked.joined(self.marked.files.get(path), mark(label, number, "bound"))

    # --- after it ----------------------------------------------------------------------------------------------------

    def evidence(self, passage: Passage, label: Label) -> None:
        """Look at whether a cell has bound what is above its label all the same; `label` and `because` then say so."""
        if self.marked.idle or passage.before is None:
            return
        for name in sorted(self._bound(passage)):
            value = self._namespace.get(name)
            if name in passage.facts.plain and is_code(value):
                continue
            found = self.marked.reaches([value])
            if found is not None and not self._scheme.dominates(label, found.label):
                passage.reads[name] = found
                passage.label = self._scheme.join(found.label, *([] if passage.label is None else [passage.label]))
                passage.because = (
                    f"{passage.label}, because `{name}` turned out to hold what is labelled (cell {found.cell})"
                )

    def settle(self, passage: Passage, label: Label) -> tuple[str, ...]:
        """Mark what a cell bound and changed.

        Returns:
            What could carry its data past every variable from here on, as it is spelled; empty if nothing could.
        """
        labelled = self.marked.counts(label)
        hiding: tuple[str, ...] = ()
        outs = {id(self._namespace.get(name)): self.marked.names[name] for name in _LAST if name in self.marked.names}
        if labelled:
            self._mark_results(passage, label)
            hiding = self._hiding(passage)
        elif not self.marked.idle and passage.before is not None:
            for name in self._bound(passage):
                if passage.before.get(name) != id(self._namespace.get(name, _MISSING)):
                    self.marked.names.pop(name, None)
        if self.marked.names:
            self._shift_outs(outs, passage, label)
            for name in [name for name in self.marked.names if name not in self._namespace]:
                del self.marked.names[name]
        passage.snapshot = passage.before = None  # they hold on to the objects
        passage.lowered.clear()
        self.marked.prune()
        if labelled:
            self._watch()
        return hiding

    def _bound(self, passage: Passage) -> set[str]:
        """Names that a cell bound: those that stand for another object now, and those that its source binds."""
        before = passage.before
        bound = {name for name in passage.bound | passage.facts.binds if name in self._namespace}
        if before is not None:
            bound |= {name for name, value in self._namespace.items() if before.get(name) != id(value)}
        # the last three results move along in every cell: `_shift_outs`
        return {name for name in bound if name not in _LAST and not self.marked.is_shells(name)}

    def _mark_results(self, passage: Passage, label: Label) -> None:
        parents = sorted(passage.reads.items())
        given = mark(label, passage.number, "bound", parents)
        changed = mark(label, passage.number, "changed", parents)
        facts = passage.facts
        lowered = {id(value): lower for value, lower in passage.lowered}
        for name in self._bound(passage):
            value = self._namespace[name]
            if name in facts.plain and name not in passage.bound and _is_plain(value):
                continue
            if id(value) in lowered and (not is_atom(value) or name in facts.released):
                self.marked.lower_name(name, lowered[id(value)], passage.number)
                continue
            self.marked.names[name] = given
            there = passage.snapshot is not None and passage.snapshot.holds(value)
            there |= passage.before is not None and id(value) in passage.before.values()
            if not there and not is_code(value):
                self.marked.register(value, given)
        for figure in _figures(sys.modules.get("matplotlib.pyplot")):
            self.marked.register(figure, given)
        names, objects = self._changed(passage)
        sinks = {id(sink) for sink in _sinks()}  # by name only: half of the libraries reach a logger
        names |= {name for name, value in self._namespace.items() if id(value) in sinks}
        for name in names:
            if name in self._namespace and name not in self.marked.names:
                self.marked.names[name] = changed
        for value in objects:
            if id(value) not in lowered:
                self.marked.register(value, changed)

    def _changed(self, passage: Passage) -> tuple[set[str], list[object]]:
        """Names whose value the cell changed, and the objects; without a snapshot all that it mentions."""
        stored = {name for name in passage.facts.stores if name in self._namespace}
        stored = {name for name in stored if not is_code(self._namespace[name])}
        held = [self._namespace[name] for name in stored]
        if passage.snapshot is not None:
            names, objects = passage.snapshot.changed()
            return names | stored, objects + held
        names = {name for name in passage.mentioned if name in self._namespace and not self.marked.is_shells(name)}
        names = {name for name in names if not is_fixed(self._namespace[name]) and not is_atom(self._namespace[name])}
        return names, [self._namespace[name] for name in names]

    def _hiding(self, passage: Passage) -> tuple[str, ...]:
        running = [
            thread.name
            for thread in threading.enumerate()
            if thread.ident not in passage.threads and not thread.name.startswith("qnb-") and not _is_pooled(thread)
        ]
        # what is stored in a library, as an attribute or in a table of its, is there for everybody who imports it
        outside = [root for root in sorted(passage.stores) if self._is_librarys(root, passage.facts)]
        return (
            *passage.hiding,
            *(f"{root}… = …" for root in outside),
            *(["a thread that is still running"] if running else []),
        )

    def _is_librarys(self, name: str, facts: CellFacts) -> bool:
        value = self._namespace.get(name)
        if isinstance(value, ModuleType):
            return not is_users_module(value)
        return is_code(value) or name in facts.plain

    def _shift_outs(self, outs: Mapping[int, Mark], passage: Passage, label: Label) -> None:
        """`_`, `__`, `___` and `_7`: results that IPython moves along, whatever the cell is."""
        numbered = sorted(int(name[1:]) for name in self._namespace if name.startswith("_") and name[1:].isdigit())
        by_value = {id(self._namespace[f"_{number}"]): self.marked.names.get(f"_{number}") for number in numbered}
        for name in _LAST:
            value = self._namespace.get(name)
            if isinstance(value, str) and not value:
                self.marked.names.pop(name, None)
                continue
            found = by_value[id(value)] if id(value) in by_value else outs.get(id(value))
            bound = passage.before is None or passage.before.get(name) != id(value)
            if found is None and id(value) not in by_value and self.marked.counts(label) and bound:
                found = mark(label, passage.number, "bound")
            if found is None:
                self.marked.names.pop(name, None)
            else:
                self.marked.names[name] = found

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            watch(self._opened)


def _is_plain(value: object) -> bool:
    """Whether what a plain definition or an import bound is code alone; annotations are evaluated, too."""
    notes = value.__annotations__.values() if isinstance(value, FunctionType) else ()
    return is_code(value) or (callable(value) and all(note is None or callable(note) for note in notes))


def _figures(value: object) -> list[Any]:
    """The figures that pyplot holds open, for a module that shows them; they are everybody's."""
    managers = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
    if managers is None or not isinstance(value, ModuleType) or value.__name__ not in _PYPLOT:
        return []
    return [manager.canvas.figure for manager in managers.get_all_fig_managers()]


def _sinks() -> list[Any]:
    """What any code writes to without naming it: streams that the user put up, and the handlers of logging."""
    found: list[Any] = [sys.stdout, sys.stderr]
    for reference in getattr(sys.modules.get("logging"), "_handlerList", ()):
        handler = reference()
        found += [handler, *(getattr(handler, name, None) for name in ("stream", "buffer", "target"))]
    return [sink for sink in found if sink is not None and not is_fixed(sink)]


def _threads() -> frozenset[int | None]:
    return frozenset(thread.ident for thread in threading.enumerate())


def _is_pooled(thread: threading.Thread) -> bool:
    """Whether a thread waits for work in an executor's pool: libraries keep such ones for good."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) == "concurrent.futures.thread"
