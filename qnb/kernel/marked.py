"""What is labelled in one notebook: names, objects and files, each with its mark.

Enters: values and marks. Leaves: the marks of names and of what values reach. Never: keeps an object alive that only
this table still holds, but until the next cell ends.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from typing import Any

from qnb.core.flow.marks import Mark, join, mark
from qnb.core.labels import Scheme
from qnb.kernel.reach import Budget, Found, is_atom, is_code, is_handle, search
from qnb.model import Label

_SHELLS = ("In", "Out", "_oh", "_ih", "_dh", "exit", "quit", "get_ipython", "open")
_OUTS = ("Out", "_oh")


class Marked:
    """The labelled things of one notebook.

    Args:
        scheme: orders labels.
        namespace: the notebook's variables.
    """

    def __init__(self, scheme: Scheme, namespace: dict[str, Any]) -> None:
        self._scheme = scheme
        self._namespace = namespace
        self._shells = {name: namespace.get(name) for name in _SHELLS if name in namespace}
        self.names: dict[str, Mark] = {}
        self.files: dict[str, Mark] = {}
        self._objects: dict[int, tuple[Any, bool, Mark]] = {}  # id -> object or weak reference, whether weak, mark

    @property
    def idle(self) -> bool:
        """Whether nothing is labelled."""
        return not (self.names or self._objects or self.files)

    def is_shells(self, name: str) -> bool:
        """Whether a name stands for what IPython put there: its own tools, and the sources of cells."""
        value = self._namespace.get(name)
        if name in self._shells:
            return value is self._shells[name]
        if not name.startswith("_i"):
            return False
        return any(value is source for source in (*(self._shells.get("In") or ()), ""))

    def __contains__(self, value: object) -> bool:
        return id(value) in self._objects

    def reached(self, name: str, values: Iterable[object], budget: Budget) -> tuple[dict[str, Mark], Found]:
        """The mark of a name, or of what its value reaches; and the functions that the value holds."""
        marks: dict[str, Mark] = {}
        if name in self.names:
            marks[name] = self.names[name]
        elif name in _OUTS:
            outs = [self.names[out] for out in self.names if out.startswith("_") and out[1:].isdigit()]
            label = join(self._scheme, outs)
            if label is not None:
                marks[name] = mark(label, max(out.cell for out in outs), "bound")
        values = [value for value in values if not is_code(value) or value in self or is_handle(value)]
        if self.is_shells(name):
            values = []
        if not values:
            return marks, Found()
        found = search(values, self._objects, self._namespace, budget)
        hit = [self._objects[key][2] for key in found.marked if key in self._objects]
        hit = [each for each in hit if each.how != "declassified" or self.counts(each.label)]
        if found.overflow or found.everything:
            hit += self.all()
        if hit:
            label = self._scheme.join(*(each.label for each in hit), *(each.label for each in marks.values()))
            if name not in marks or marks[name].label != label:
                marks[name] = mark(label, max(each.cell for each in hit), "reaches", hit[0].parents)
        return marks, found

    def reaches(self, values: Iterable[object]) -> Mark | None:
        """The mark of what some values reach; None when that is nothing labelled."""
        if self.idle:
            return None
        marks, _ = self.reached("", values, Budget(seconds=0.25))
        return marks.get("")

    # --- what is known -----------------------------------------------------------------------------------------------

    def label_of(self, value: Any) -> Label | None:
        """The label of a variable, if `value` is the name of one, else of an object; None when it has none."""
        if isinstance(value, str) and value in self._namespace:
            return join(self._scheme, self.reached(value, [self._namespace[value]], Budget())[0].values())
        found = self.reaches([value])
        named = [each for name, each in self.names.items() if is_atom(value) and self._namespace.get(name) is value]
        return join(self._scheme, [*([] if found is None else [found]), *named])

    def marks(self) -> dict[str, Mark]:
        """Each labelled variable, by name; the ones that only reach something labelled among them."""
        found: dict[str, Mark] = {}
        if self.idle:
            return found
        for name, value in list(self._namespace.items()):
            if name.startswith("_") or self.is_shells(name):
                continue
            found |= self.reached(name, [value], Budget(seconds=0.1))[0]
        return {name: each for name, each in sorted(found.items()) if self.counts(each.label)}

    def everything(self) -> Label | None:
        """The join of all that is labelled."""
        return join(self._scheme, self.all())

    # --- marks -------------------------------------------------------------------------------------------------------

    def all(self) -> list[Mark]:
        """Every mark there is."""
        return [*self.names.values(), *(entry[2] for entry in self._objects.values()), *self.files.values()]

    def counts(self, label: Label) -> bool:
        """Whether a label says more than the session's own."""
        return not self._scheme.dominates(self._scheme.session, label)

    def joined(self, known: Mark | None, given: Mark) -> Mark:
        """A mark that is no lower than the one that was there."""
        if known is None or self._scheme.dominates(given.label, known.label):
            return given
        return mark(self._scheme.join(known.label, given.label), given.cell, given.how, given.parents)

    def lower_name(self, name: str, label: Label, number: int) -> None:
        """Put a lower mark in the place of a name's."""
        if self.counts(label):
            self.names[name] = Mark(label, number, "declassified")
        else:
            self.names.pop(name, None)

    def register(self, value: Any, given: Mark) -> None:
        """Mark an object for as long as it lives. What is plain has no identity: names mark it."""
        if is_atom(value):
            return
        key = id(value)
        known = self._objects.get(key)
        if known is not None:
            given = self.joined(None if known[2].how == "declassified" else known[2], given)
        try:
            self._objects[key] = (weakref.ref(value, lambda _: self._objects.pop(key, None)), True, given)
        except TypeError:
            self._objects[key] = (value, False, given)  # a list cannot be followed weakly; see `prune`

    def prune(self) -> None:
        """Let go of the objects that nobody but this table holds any more."""
        for key in [key for key, entry in self._objects.items() if not entry[1]]:
            # held by: the table's tuple, and the argument of the call
            if sys.getrefcount(self._objects[key][0]) <= 2:
                del self._objects[key]

    def lower(self, value: Any, given: Mark) -> None:
        """Put a lower mark in the place of an object's."""
        self._objects.pop(id(value), None)
        self.register(value, given)

    def buffers(self, value: Any) -> list[Any]:
        """The arrays that own the memory below a value, so that other views of it can be known as well."""
        owners = search([value], {}, self._namespace, Budget(objects=50_000, seconds=0.1)).arrays
        for index, array in enumerate(owners):
            owner = array
            while type(owner.base) is type(array):
                owner = owner.base
            owners[index] = owner
        return owners
