"""The story of a cell: label, decision, execution on a copy, record, sealed output, entry, display.

Enters: what the magic, the interceptor and the output channel saw. Leaves: decisions, entries and sealed bundles.
Never: an identity (the kernel seals with public recipients and can open nothing), an execution without a durable
decision, a result or an output that could not be recorded.

The label is kernel-global and floats up (LIO's current label): a contextvar would be lost in user threads.
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
from qnb.errors import ConfigError, DeniedError, ExecutionError, LabelError, QnbError, SealError
from qnb.kernel.cell import Cell, Grant, Passport
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
        self.high_water: Label | None = None
        self.any_sealed = False
        self._raised_by: int | None = None
        self._check_guard = check_guard
        self._settle = settle
        self._unguarded = unguarded
        self._clock = clock
        self._lock = threading.RLock()
        self._sequence = 0
        self._recipients: dict[tuple[str, ...], tuple[Recipient, ...]] = {}
        policy = authority.policy
        label = policy.scheme.session
        self._outside = Cell(0, label, policy.handling(label).seal)
        self._latest = self._outside

    # --- label -------------------------------------------------------------------------------------------------------

    def open_cell(
        self,
        raw: str,
        directive: Directive | None,
        *,
        msg_id: str | None = None,
        cell_id: str | None = None,
        notebook_id: str | None = None,
    ) -> Cell:
        """Open the outermost cell that is about to run; what speaks against running it is in `refused`, not raised."""
        with self._lock:
            self._sequence += 1
            refused: QnbError | None = None
            declared: Label | None = None
            try:
                declared = self._declared(directive)
            except LabelError as error:
                refused = error
            cell = self._labelled(declared)
            cell.msg_id, cell.cell_id, cell.notebook_id, cell.directive = msg_id, cell_id, notebook_id, directive
            cell.purpose = directive.purpose if directive is not None else None
            cell.source = source_digest(raw)
            self._latest = cell
            _CURRENT.set(cell)
            # also before a cell that is not classified: what was imported or defined since is guarded by looking
            missing = self._check_guard()
            try:
                cell.refused = refused
                if refused is None and cell.classified:
                    self._prepare(cell, missing)
            except QnbError as error:
                cell.refused = error
            if cell.classified and cell.refused is None:
                self.any_sealed = True
            if cell.refused is None and cell.label != self.high_water:
                self.high_water = cell.label
                self._raised_by = cell.sequence
                self._outside = Cell(0, cell.label, cell.classified)
            return cell

    def current_cell(self) -> Cell:
        """The cell of this context, else the one opened last, else what stands for code outside any cell."""
        cell = _CURRENT.get()
        return cell if cell is not None and cell.state == "running" else self._latest

    def running_cell(self) -> Cell:
        """The cell of this context while it runs, else what stands for code outside any cell."""
        cell = self.current_cell()
        # a thread or timer that outlived its cell: under the kernel's label, and nobody is left to flush a grant
        return cell if cell.state == "running" else self._outside

    def _declared(self, directive: Directive | None) -> Label | None:
        if directive is None:
            return None
        scheme = self.authority.policy.scheme
        return scheme.cell if directive.label is None else scheme.parse(directive.label)

    def _labelled(self, declared: Label | None) -> Cell:
        policy = self.authority.policy
        reads = [label for label in (declared, self.high_water) if label is not None]
        label = policy.scheme.join(policy.scheme.session, *reads)
        own = policy.scheme.join(policy.scheme.session, *([] if declared is None else [declared]))
        return Cell(
            self._sequence, label, policy.handling(label).seal, carried=None if label == own else self._raised_by
        )

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
        cell = self.current_cell()
        if cell.state != "running":
            cell = self._outside
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
        """As `Authority.require`, for a cell, which remembers its denials."""
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
            self.authority.record_execution(self.context(cell), grant.decision, batch)
        except QnbError as error:
            cell.withheld = error
            raise
        grant.batch = self.authority.batch(cell.label, batch.first + len(batch))
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
            default=json_default,
        )
        if state != "running":
            cell.state = state
        return data

    def declassify(self, cell: Cell, target: str, reason: str, digest: bytes) -> Decision:
        """Decide and record that something of `cell` may be shown at `target`.

        Args:
            cell: where the value stands.
            target: the label asked for.
            reason: why, in words; committed in the entry, not written in clear.
            digest: SHA-256 of the representation that will be shown.

        Raises:
            DeniedError: the policy says no.
            LabelError: `target` is no label, is not lower than the value's, or is itself sealed.
        """
        scheme = self.authority.policy.scheme
        label = scheme.parse(target)
        if scheme.dominates(label, cell.label):
            raise LabelError(
                "not-lower", f"`{label}` is not lower than `{cell.label}`", "name the label to lower it to"
            )
        if self.authority.policy.handling(label).seal:
            # what is released is shown in clear, and `label` is none at which anything may be
            raise LabelError(
                "still-sealed",
                f"`{label}` is sealed too, so nothing can be shown at it",
                "name a label whose outputs are not sealed, or share the sealed notebook",
            )
        if not reason.strip():
            raise ConfigError("no-reason", "a declassification needs a reason", 'pass reason="…"')
        request = Request(
            Action.DECLASSIFY, self.authority.principal, cell.label, purpose=cell.purpose, target=label, reason=reason
        )
        decision = self.require(request, cell)
        entry = self.authority.record_declassify(self.context(cell), digest, label, reason, decision=decision)
        return replace(decision, entry=entry)

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
        label = self.high_water or self.authority.policy.scheme.session
        return {
            "session": self.id,
            "label": str(label),
            "raised_by_cell": self._raised_by,
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
            cell = self._outside
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
        self.high_water = passport.label
        _CURRENT.set(None)
