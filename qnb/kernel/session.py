"""The story of a cell: label, decision, execution on a copy, record, sealed output, entry, display.

Enters: what the magic, the interceptor and the output channel saw. Leaves: decisions, entries and sealed bundles.
Never: an identity (the kernel seals with public recipients and can open nothing), an execution without a durable
decision, a result or an output that could not be recorded.

What label a cell has is the matter of `qnb.kernel.labels`.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from qnb.core.directive import Directive
from qnb.core.seal import Recipient, parse_recipient
from qnb.core.statement import Context, source_digest
from qnb.errors import DeniedError, ExecutionError, LabelError, QnbError, SealError
from qnb.kernel.cell import Cell, Grant, Passport
from qnb.kernel.labels import Labels
from qnb.kernel.loading import decide_load
from qnb.kernel.tickets import RetrievalTicket, Ticket
from qnb.model import Action, Call, Decision, Label, Outcome, Request, Retrieval
from qnb.store.authority import Authority
from qnb.store.outputs import seal_outputs

_FLUSH_SECONDS = 1.0
_CURRENT: contextvars.ContextVar[Cell | None] = contextvars.ContextVar("qnb_cell", default=None)


class Session:
    """A kernel's guarded life, from `%load_ext qnb` to its end.

    Args:
        authority: decides, signs, appends.
        check_guard: names the hooks that are no longer in place.
        settle: follows what a cell submitted to its end, as far as it has ended.
        unguarded: names the loaded packages that no guard reaches.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        check_guard: Callable[[], list[str]],
        settle: Callable[[], None],
        unguarded: Callable[[], list[str]] = list,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.authority = authority
        self.id = uuid.uuid4().hex
        self.any_sealed = False
        self._on_rise: Callable[[Cell], None] = lambda _: None
        self._check_guard = check_guard
        self._settle = settle
        self._unguarded = unguarded
        self._clock = clock
        self._lock = threading.RLock()
        self._sequence = 0
        self._recipients: dict[tuple[str, ...], tuple[Recipient, ...]] = {}
        self.labels = Labels(authority.policy, self.rise, self.current_cell)
        self._latest = self._outside = self.labels.opened(0, None, None)

    # --- label -------------------------------------------------------------------------------------------------------

    def open_cell(
        self,
        raw: str,
        directive: Directive | None,
        *,
        msg_id: str | None = None,
        cell_id: str | None = None,
        notebook_id: str | None = None,
        code: str | None = None,
        number: int | None = None,
        flags: int = 0,
    ) -> Cell:
        """Open the outermost cell that is about to run; what speaks against running it is in `refused`, not raised.

        Data is followed by `code`, the source as it will be compiled with `flags`; `number` is that of `In [7]`.
        """
        with self._lock:
            self._sequence += 1
            refused: QnbError | None = None
            declared: Label | None = None
            try:
                declared = self.labels.declared(directive)
            except LabelError as error:
                refused = error
            known = self._sequence if number is None else number
            passage = None if code is None else self.labels.enter(code, known, flags)
            cell = self.labels.opened(self._sequence, declared, passage)
            cell.msg_id, cell.cell_id, cell.notebook_id, cell.directive = msg_id, cell_id, notebook_id, directive
            cell.purpose = directive.purpose if directive is not None else None
            cell.source = source_digest(raw)
            self._latest = cell
            _CURRENT.set(cell)
            # also before a cell that is not classified: what was imported or defined since is guarded by looking
            missing = self._check_guard()
            try:
                cell.refused = refused
                if refused is None:
                    self.labels.check_declared(declared, passage)
                    if cell.classified:
                        self._prepare(cell, missing)
            except QnbError as error:
                cell.refused = error
            if cell.refused is None:
                self.any_sealed |= cell.classified
                self.labels.begun(cell)
            return cell

    def end_cell(self, cell: Cell) -> None:
        """Take in what a cell bound and changed. Called when its code has ended, before its output is settled."""
        if cell.refused is None:
            with self._lock:
                self.labels.ended(cell)

    def rise(self, cell: Cell, label: Label, because: str) -> None:
        """Join a label to that of a cell that runs already: from here on sealed, if that level seals."""
        policy = self.authority.policy
        with self._lock:
            if policy.scheme.dominates(cell.label, label):
                return
            was_classified = cell.classified
            with cell.lock:
                cell.label = policy.scheme.join(cell.label, label)
                cell.classified = policy.handling(cell.label).seal
            cell.because = because
            if cell.classified and not was_classified:
                cell.because = f"{because}; what it had shown before is cleared"
            self.labels.raised(cell)
            if not cell.classified:
                return
            self.any_sealed = True
            try:
                self._prepare(cell, self._check_guard())
            except QnbError as error:
                cell.withheld = error  # it runs already; what it shows can only be withheld
            if not was_classified:
                self._on_rise(cell)

    def follow(self, namespace: dict[str, Any], on_rise: Callable[[Cell], None]) -> None:
        """Follow a notebook's variables; `on_rise` hears of a cell that becomes a classified one while it runs."""
        self.labels.follow(namespace)
        self._on_rise = on_rise

    def current_cell(self) -> Cell:
        """The cell of this context, else the one opened last, else what stands for code outside any cell."""
        cell = _CURRENT.get()
        return cell if cell is not None and cell.state == "running" else self._latest

    def running_cell(self) -> Cell:
        """The cell of this context while it runs, else what stands for code outside any cell."""
        cell = self.current_cell()
        if cell.state != "running":
            # a thread or timer that outlived its cell, and nobody is left to flush a grant
            cell = self._outside = self.labels.outside(cell, self._outside)
        return cell

    def _prepare(self, cell: Cell, missing: list[str]) -> None:
        """Make sure that a classified cell can be guarded and sealed before anything of it runs."""
        if missing:
            raise ExecutionError(
                "guard-removed",
                f"the guard is no longer in place on {', '.join(f'`{name}`' for name in missing)}",
                "restart the kernel and load qnb again; nothing classified runs unguarded",
            )
        policy = self.authority.policy
        extra = cell.directive.to if cell.directive is not None else ()
        names = policy.sealed_to(cell.label, extra)
        if extra:
            self.require(
                Request(Action.SHARE, self.authority.principal, cell.label, purpose=cell.purpose, recipients=extra),
                cell,
            )
        cell.recipients = self.recipients(names)
        if not cell.recipients:
            raise SealError(
                "no-recipient",
                f"nobody is named who could open a `{cell.label}` output",
                "run `qnb init`, or name recipients in the policy: `qnb policy show`",
            )

    def recipients(self, names: tuple[str, ...]) -> tuple[Recipient, ...]:
        """The recipients that names of the policy stand for."""
        if names not in self._recipients:
            self._recipients[names] = tuple(parse_recipient(text) for text in self.authority.policy.recipients(names))
        return self._recipients[names]

    # --- decision ----------------------------------------------------------------------------------------------------

    def begin(self, call: Call) -> Ticket:
        """Ask whether `call` may run now; the answer is durable before this returns.

        Raises:
            DeniedError: the policy says no.
            QnbError: no decision could be made or recorded; nothing may run.
        """
        cell = self.running_cell()
        with cell.lock:
            key = (
                cell.label,
                call.target,
                call.backend.cls,
                call.backend.name,
                tuple(info.structure for info in call.circuits),
                call.options,
                call.noise_model,
                call.shots,
                call.private,
            )
            grant = cell.grants.get(key)
            if grant is None or grant.begun >= grant.decision.grant:
                if grant is not None:
                    self._flush(cell, grant)
                decision = self.require(self._request(cell, call), cell, call)
                grant = cell.grants[key] = Grant(decision, self.authority.batch(cell.label, 0))
            elif self._due(grant):
                self._flush(cell, grant)
            grant.begun += 1
            return Ticket(self, cell, grant, call)

    def retrieve(self, retrieval: Retrieval) -> RetrievalTicket:
        """Ask whether the results of a job that nobody saw submitted may be fetched; durable before this returns.

        Raises:
            DeniedError: the policy says no.
            QnbError: no decision could be made or recorded; nothing may be fetched.
        """
        cell = self.running_cell()
        request = Request(
            Action.RETRIEVE, self.authority.principal, cell.label, purpose=cell.purpose, backend=retrieval.backend
        )
        with cell.lock:
            return RetrievalTicket(self, cell, self.require(request, cell), retrieval)

    def _request(self, cell: Cell, call: Call) -> Request:
        return Request(
            Action.EXECUTE,
            self.authority.principal,
            cell.label,
            purpose=cell.purpose,
            backend=call.backend,
            circuits=len(call.circuits),
            qubits=max((info.qubits for info in call.circuits), default=None),
            shots=call.shots,
            private=call.private,
        )

    def load(self, format_: str, content: bytes | None = None, *, hooked: bool = False) -> None:
        """Decide that a circuit may be loaded; see `qnb.kernel.loading`."""
        decide_load(self, format_, content, hooked=hooked)

    def require(self, request: Request, cell: Cell, call: Call | None = None, content: bytes | None = None) -> Decision:
        """Ask in the name of a cell; a no is raised, and told in clear beside its output.

        Raises:
            DeniedError: the policy says no.
            QnbError: no decision could be made or recorded.
        """
        try:
            return self.authority.require(request, self.context(cell), call, content)
        except DeniedError as denied:
            cell.denials.append(denied)
            raise

    # --- record ------------------------------------------------------------------------------------------------------

    def ended(self, cell: Cell, grant: Grant, call: Call, outcome: Outcome) -> None:
        """Take in how one evaluation ended; the first of a grant is durable at once, later ones within a second."""
        with cell.lock:
            grant.batch.add(call, outcome)
            if cell.state != "running" or cell.sequence == 0 or self._due(grant):
                self._flush(cell, grant)

    def _due(self, grant: Grant) -> bool:
        return grant.flushed_at is None or self._clock() - grant.flushed_at >= _FLUSH_SECONDS

    def _flush(self, cell: Cell, grant: Grant) -> None:
        batch = grant.batch
        if len(batch) == 0:
            return
        try:
            # at the label it was decided at; the cell's may have risen since
            context = replace(self.context(cell), label=grant.decision.label)
            self.authority.record_execution(context, grant.decision, batch)
        except QnbError as error:
            cell.withheld = error
            raise
        grant.batch = self.authority.batch(grant.decision.label, batch.first + len(batch))
        grant.flushed_at = self._clock()

    def end_executions(self, cell: Cell) -> None:
        """Record what the cell's executions have come to; called once its code has ended, before the final seal.

        Raises:
            QnbError: something that ran could not be recorded; the cell's output must be withheld.
        """
        try:
            self._settle()
        finally:
            with cell.lock:
                cell.state = "ended"
                for grant in cell.grants.values():
                    # one stretch that cannot be recorded must not keep the others out of the log
                    with contextlib.suppress(QnbError):
                        self._flush(cell, grant)
        if cell.withheld is not None:
            raise cell.withheld

    # --- sealed output, entry, display -------------------------------------------------------------------------------

    def seal_output(self, cell: Cell, outputs: list[dict[str, Any]], state: str) -> dict[str, Any]:
        """Seal a cell's outputs so far and give the MIME bundle to display.

        Args:
            cell: a classified cell.
            outputs: nbformat outputs, in order.
            state: `running` (no entry), or how the cell ended: `ok`, `failed`, `interrupted`.

        Returns:
            MIME type -> content: the sealed output and two cards that say nothing of the content.

        Raises:
            QnbError: sealing or recording failed; nothing may be shown.
        """
        # an output may hold numpy's numbers or a date: sealed it is what it would have been in clear
        from jupyter_client.jsonutil import json_default

        context = self.context(cell)
        data = seal_outputs(
            self.authority,
            context,
            cell.recipients,
            outputs,
            state,
            purpose=cell.purpose,
            source=cell.sealed_source,
            # it names variables, which stand in the source
            because=cell.because if cell.sealed_source is None else None,
            default=json_default,
        )
        if state != "running":
            cell.state = state
        return data

    def vouch(self, shown: Mapping[str, str]) -> object:
        """The mark on an answer of `%qnb` in the current cell, by which it is known again where it was saved."""
        cell = self.current_cell()
        return self.authority.vouch(cell.notebook_id, cell.cell_id, dict(shown))

    # --- what is known -----------------------------------------------------------------------------------------------

    def context(self, cell: Cell) -> Context:
        """What every entry of `cell` says of where it comes from."""
        return self.authority.context(
            cell.label,
            session=self.id,
            notebook=cell.notebook_id,
            cell=cell.cell_id,
            sequence=cell.sequence,
            source=cell.source,
        )

    def status(self) -> dict[str, object]:
        """The session in policy facts; nothing of any content."""
        label = self.labels.high_water or self.authority.policy.scheme.session
        return {
            "session": self.id,
            "label": str(label),
            "raised_by_cell": self.labels.raised_by,
            "because": self.labels.because,
            "last_raised": self.labels.last_raised,
            "sealed": self.authority.policy.handling(label).seal,
            "principal": self.authority.principal.name,
            "assurance": str(self.authority.principal.assurance),
            "policy": self.authority.policy.digest,
            "log": self.authority.origin,
            "entries": self.authority.size,
            "guard_missing": self._check_guard(),
            "guard_does_not_reach": self._unguarded(),
        }

    # --- children ----------------------------------------------------------------------------------------------------

    def passport(self) -> Passport:
        """What a process that is started now needs to go on with this session's label."""
        cell = self.current_cell()
        if cell.state != "running":
            cell = self.labels.outside(cell, self._outside)
        return Passport(self.id, cell.label, cell.notebook_id, cell.cell_id, cell.purpose)

    def adopt(self, passport: Passport) -> None:
        """Go on, in another process, where the session that gave the passport stood: outside any cell, at its label.

        Nobody ends a cell in a child, so that each evaluation is recorded at once; decisions and locks are its own.
        """
        self.id = passport.session
        self._lock = threading.RLock()
        classified = self.authority.policy.handling(passport.label).seal
        self._outside = self._latest = Cell(0, passport.label, classified)
        self._outside.notebook_id, self._outside.cell_id = passport.notebook, passport.cell
        self._outside.purpose = passport.purpose
        self.labels.high_water = passport.label
        _CURRENT.set(None)
