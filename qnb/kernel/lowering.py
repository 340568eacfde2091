"""Lowering a label: an act of its own, decided with a reason and recorded, before anything follows from it.

Enters: what is to be lowered, to which label, and why. Leaves: the decision, with the index of its
entry. Never: a label that is lowered first.
"""

from __future__ import annotations

from dataclasses import replace

from qnb.errors import ConfigError, LabelError
from qnb.kernel.cell import Cell
from qnb.kernel.session import Session
from qnb.model import Action, Decision, Label, Request


def declassify(session: Session, cell: Cell, target: str, reason: str, digest: bytes) -> Decision:
    """Decide and record that something of `cell` may be shown at `target`.

    Args:
        session: decides and records.
        cell: where the value stands.
        target: the label asked for.
        reason: why, in words; committed in the entry, not written in clear.
        digest: SHA-256 of the representation that will be shown.

    Raises:
        DeniedError: the policy says no.
        LabelError: `target` is no label, is not lower than the value's, or is itself sealed.
    """
    policy = session.authority.policy
    label = policy.scheme.parse(target)
    if policy.scheme.dominates(label, cell.label):
        raise LabelError("not-lower", f"`{label}` is not lower than `{cell.label}`", "name the label to lower it to")
    if policy.handling(label).seal:
        # what is released is shown in clear, and `label` is none at which anything may be
        raise LabelError(
            "still-sealed",
            f"`{label}` is sealed too, so nothing can be shown at it",
            "name a label whose outputs are not sealed, or share the sealed notebook",
        )
    return _lower(session, cell, cell.label, label, reason, digest)


def clear_kernel(session: Session, reason: str) -> tuple[Label, Decision]:
    """Take the kernel's high-water mark down.

    Returns:
        The mark as it was, and the decision.

    Raises:
        DeniedError: the policy says no.
        ConfigError: there is no mark to clear, it rose meanwhile, or there is no reason.
    """
    before = session.labels.high_water
    if before is None:
        raise ConfigError("nothing-to-release", "the kernel carries no label", "`%qnb status` says why")
    after = session.authority.policy.scheme.session
    decision = _lower(session, session.current_cell(), before, after, reason, None)
    if session.labels.high_water != before:
        raise ConfigError("rose-meanwhile", "the kernel's label rose while it was decided on", "ask again")
    session.labels.clear_mark()
    return before, decision


def _lower(session: Session, cell: Cell, before: Label, after: Label, reason: str, digest: bytes | None) -> Decision:
    if not reason.strip():
        raise ConfigError("no-reason", "a declassification needs a reason", 'pass reason="…"')
    request = Request(
        Action.DECLASSIFY, session.authority.principal, before, purpose=cell.purpose, target=after, reason=reason
    )
    decision = session.require(request, cell)
    context = replace(session.context(cell), label=before)
    entry = session.authority.record_declassify(context, digest, after, reason, decision=decision)
    return replace(decision, entry=entry)
