"""The label of a cell and of the kernel: what a cell declares, what it reads, and the high-water mark.

Enters: cells as they open, rise and end. Leaves: their labels with the line that says why, and marks on variables.
Never: lowers a label but for an act that was decided and recorded before; lets a failure to follow data pass for data
that is not there.

The mark is kernel-global and only rises (LIO's current label): a contextvar would be lost in user threads. Levels whose
flow is `high-water` raise it by running; the others by what cannot be followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qnb.core.directive import Directive
from qnb.core.flow.picture import FlowView
from qnb.core.policy import Policy
from qnb.errors import LabelError
from qnb.kernel.cell import Cell
from qnb.kernel.flow import Flow, Passage
from qnb.model import Label

_SHOWN = 3


class Labels:
    """The labels of one kernel.

    Args:
        policy: names the scheme, and the flow rule of each level.
        rise: raises the label of a cell that runs already, with the line that says why.
        current: the cell that runs in this context.
    """

    def __init__(self, policy: Policy, rise: Callable[[Cell, Label, str], None], current: Callable[[], Cell]) -> None:
        self._policy = policy
        self._scheme = policy.scheme
        self._rise = rise
        self._current = current
        self._flow = Flow(policy.scheme, {}, self._file_opened)
        self.high_water: Label | None = None
        self.raised_by: int | None = None  # sequence of the cell that raised the mark
        self.because: str | None = None  # why the mark stands where it stands
        self.last_raised: str | None = None  # the last cell above what it declared

    def follow(self, namespace: dict[str, Any]) -> None:
        """Follow the variables of a notebook from here on."""
        self._flow = Flow(self._scheme, namespace, self._file_opened)

    def declared(self, directive: Directive | None) -> Label | None:
        """What a cell declares.

        Raises:
            LabelError: that is no label.
        """
        if directive is None:
            return None
        return self._scheme.cell if directive.label is None else self._scheme.parse(directive.label)

    # --- a cell ------------------------------------------------------------------------------------------------------

    def enter(self, code: str, number: int, flags: int) -> Passage:
        """Judge a cell by its source."""
        try:
            return self._flow.enter(code, number, flags)
        except Exception:  # noqa: BLE001 - IPython would go on, and the cell run as if it read nothing
            return self._flow.unjudged(code, number, flags)

    def opened(self, sequence: int, declared: Label | None, passage: Passage | None) -> Cell:
        """A cell with its effective label."""
        scheme = self._scheme
        own = scheme.join(scheme.session, *([] if declared is None else [declared]))
        read = scheme.join(own, *([] if passage is None or passage.label is None else [passage.label]))
        label = scheme.join(read, *([] if self.high_water is None else [self.high_water]))
        because = None
        if label != own:
            because = passage.because if passage is not None and label == read else self.because
        cell = Cell(sequence, label, self._policy.handling(label).seal, because=because, passage=passage)
        cell.carried = None if label == read else self.raised_by
        return cell

    def outside(self, cell: Cell, known: Cell) -> Cell:
        """What stands for code that outlived `cell`: under its label and the kernel's. `known` is the last such one."""
        label = self._scheme.join(cell.label, *([] if self.high_water is None else [self.high_water]))
        return known if known.label == label else Cell(0, label, self._policy.handling(label).seal)

    def check_declared(self, declared: Label | None, passage: Passage | None) -> None:
        """Hold a cell to declare what it reads, where the policy wants that.

        Raises:
            LabelError: it does not.
        """
        if passage is None or passage.label is None or not self._policy.handling(passage.label).declared:
            return
        if declared is None or not self._scheme.dominates(declared, passage.label):
            raise LabelError(
                "not-declared",
                f"the cell would be {passage.because}, and the policy wants that declared",
                f"begin it with `%%qsecure {passage.label}`",
            )

    def begun(self, cell: Cell) -> None:
        """Take in that a cell is about to run."""
        self.raised(cell)
        passage = cell.passage
        if passage is not None:
            if passage.everything:
                self.raise_mark(cell, cell.because)
            self._flow.begin(passage, labelled=self.is_labelled(cell.label))

    def raised(self, cell: Cell) -> None:
        """Take in the label of a cell, at its beginning or when it rose."""
        if cell.because is not None:
            self.last_raised = f"cell {number_of(cell)}: {cell.because}"
        if self.is_labelled(cell.label) and self._policy.handling(cell.label).flow == "high-water":
            self.raise_mark(cell)

    def ended(self, cell: Cell) -> None:
        """Take in what a cell bound and changed."""
        passage = cell.passage
        if passage is None:
            return
        try:
            self._flow.evidence(passage, cell.label)
            if passage.label is not None and passage.because is not None:
                self._rise(cell, passage.label, passage.because)
            hiding = self._flow.settle(passage, cell.label)
        except Exception:  # noqa: BLE001 - what it bound is not known: as good as everything
            label = self._flow.marked.everything()
            if label is not None:
                self._rise(cell, label, f"{label}, because it could not be followed")
            hiding = ("an error",)
        if hiding:
            shown = ", ".join(f"`{construct}`" for construct in hiding[:_SHOWN])
            self.raise_mark(cell, f"{cell.label}, because {shown} in cell {number_of(cell)} may carry its data on")

    def raise_mark(self, cell: Cell, because: str | None = None) -> None:
        """Raise the mark to a cell's label."""
        mark = self._scheme.join(cell.label, *([] if self.high_water is None else [self.high_water]))
        if mark == self.high_water or not self.is_labelled(mark):
            return
        self.high_water, self.raised_by = mark, cell.sequence
        self.because = because or f"{mark}, as every cell is since cell {number_of(cell)} ran at that label"

    def clear_mark(self) -> None:
        """Take the mark down, once that was decided and recorded."""
        self.high_water = self.raised_by = self.because = None

    def is_labelled(self, label: Label) -> bool:
        """Whether a label says more than the session's own."""
        return not self._scheme.dominates(self._scheme.session, label)

    # --- values ------------------------------------------------------------------------------------------------------

    def label(self, value: Any, text: str) -> None:
        """Attach a label to a value; the cell that does so carries it from here on.

        Raises:
            LabelError: `text` is no label.
        """
        label, cell = self._scheme.parse(text), self._current()
        self._flow.label(value, label, cell.passage)
        self._rise(cell, label, f"{label}, because it labels data")

    def label_name(self, name: str, text: str) -> None:
        """As `label`, for a variable.

        Raises:
            LabelError: `text` is no label.
        """
        label, cell = self._scheme.parse(text), self._current()
        self._flow.label_name(name, label, cell.passage)
        self._rise(cell, label, f"{label}, because it labels data")

    def lower(self, value: Any, text: str, name: str | None = None) -> None:
        """Take the label of a value down to one that was decided on; and that of `name`, if it goes by that."""
        self._flow.lower(value, self._scheme.parse(text), self._current().passage, name)

    def label_of(self, value: Any) -> Label:
        """The label of a variable, by name, or of an object; the session's where it carries none."""
        found = self._flow.marked.label_of(value)
        return self._scheme.join(self._scheme.session, *([] if found is None else [found]))

    def uses(self, name: str) -> None:
        """Raise the cell that runs to the label of a variable that it names to us alone."""
        label = self.label_of(name)
        self._rise(self._current(), label, f"{label}, because it lowers the label of `{name}`")

    def shows(self, value: Any) -> None:
        """Look at a value that is about to be displayed; if it reaches what is labelled, its cell rises first."""
        found = self._flow.marked.reaches([value])
        if found is not None and self.is_labelled(found.label):
            because = f"{found.label}, because it shows what was labelled in cell {found.cell}"
            self._rise(self._current(), found.label, because)

    def reads(self, expression: str) -> str | None:
        """Why an expression may not be answered in clear; None when it reads nothing that is sealed."""
        if self._flow.marked.idle:
            return None
        passage = self.enter(expression, 0, 0)
        sealed = passage.label is not None and self._policy.handling(passage.label).seal
        return passage.because if sealed else None

    def view(self) -> FlowView:
        """The labelled variables, with their lineage."""
        return FlowView(self._flow.marked.marks(), self.high_water or self._scheme.session, self.because)

    def _file_opened(self, path: str, writes: bool) -> None:  # noqa: FBT001 - an event, told by place
        """What the audit hook saw."""
        cell = self._current()
        if writes:
            self._flow.wrote(path, cell.label, number_of(cell))
        found = self._flow.marked.files.get(path)
        if found is not None:
            self._rise(cell, found.label, f"{found.label}, because it opens a file that cell {found.cell} wrote")


def number_of(cell: Cell) -> int:
    """The number of a cell as its user knows it, where somebody said it."""
    return cell.sequence if cell.passage is None else cell.passage.number
