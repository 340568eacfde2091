"""Sealing a cell's outputs on the record: seal, record, and only then give out what may be shown.

Enters: an authority, outputs, and for whom. Leaves: a MIME bundle with its receipt, and its cards.
Never: a final bundle without its entry; an identity, since recipients are public.
Spec: DESIGN.md "Formats".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qnb.core.card import render_html, render_text
from qnb.core.plaintext import openable
from qnb.core.seal import Recipient, parse_recipient, seal
from qnb.core.seal.output import MIME, RUNNING, OutputHeader, pack_output, sealed_bundle
from qnb.core.statement import Context, source_digest
from qnb.errors import SealError
from qnb.model import Action, Label, Request
from qnb.store.authority import Authority


def seal_outputs(
    authority: Authority,
    context: Context,
    recipients: Sequence[Recipient],
    outputs: Sequence[Mapping[str, Any]],
    state: str,
    *,
    purpose: str | None = None,
    source: str | None = None,
    because: str | None = None,
    decision: int | None = None,
    default: Callable[[Any], Any] | None = None,
) -> dict[str, Any]:
    """Seal a cell's outputs, and record the sealing unless the cell still runs.

    Args:
        authority: records.
        context: the cell and its run, which the output is bound to.
        recipients: for whom; at least one.
        outputs: nbformat outputs, in order.
        state: `running` (no entry), or how the cell ended: `ok`, `failed`, `interrupted`.
        purpose: sealed with it.
        source: the cell's source, where it is sealed with its output.
        because: why the cell carries a label that it did not declare; said in clear.
        decision: entry of the decision that allowed it, where there was one.
        default: as in `pack_output`.

    Returns:
        MIME type -> content: the sealed output and two cards that say nothing of the content.

    Raises:
        SealError: there is nobody to seal for, or an output is no JSON.
        StorageError: it could not be recorded; nothing may be shown.
    """
    if not recipients:
        raise SealError("no-recipient", "there is nobody to seal to", "`qnb policy show` names the recipients")
    header = OutputHeader(
        version=1,
        session=context.session,
        sequence=context.sequence or 0,
        state=state,
        source_digest=None if context.source is None else context.source.hex(),
        label=str(context.label),
        notebook=context.notebook,
        cell=context.cell,
        purpose=purpose,
        source=source,
    )
    ciphertext = seal(pack_output(header, outputs, default), recipients)
    digest = hashlib.sha256(ciphertext).digest()
    receipt = None
    if state != RUNNING:
        receipt = authority.record_seal(context, digest, state, [r.fingerprint for r in recipients], decision=decision)
    bundle = sealed_bundle(header, ciphertext, recipients, receipt, digest=digest, because=because)
    return {MIME: bundle, "text/html": render_html(bundle), "text/plain": render_text(bundle)}


def recipients_of(authority: Authority, label: Label) -> tuple[Recipient, ...]:
    """Those that the policy names for a label.

    Raises:
        SealError: it names nobody.
        LabelError: the label is not in the scheme.
    """
    policy = authority.policy
    recipients = tuple(parse_recipient(text) for text in policy.recipients(policy.handling(label).recipients))
    if not recipients:
        raise SealError(
            "no-recipient",
            f"nobody is named who could open a `{label}` output",
            "run `qnb init`, or name recipients in the policy: `qnb policy show`",
        )
    return recipients


def seal_standing_outputs(
    authority: Authority,
    outputs: Sequence[dict[str, Any]],
    label: Label,
    *,
    notebook: str | None,
    cell: str | None,
    source: str | None,
    sequence: int,
    decision: int | None = None,
) -> dict[str, Any]:
    """Seal outputs that stand in clear in a notebook: the cell was labelled after it ran, or ran unguarded.

    Args:
        authority: decides, unless it has, and records.
        outputs: of one cell, in order.
        label: decides for whom.
        notebook: its id where known.
        cell: its id where known.
        source: the cell's source as it stands.
        sequence: counts the sealed outputs of the authority's run.
        decision: entry of the decision, where one was made for several outputs.

    Returns:
        As `seal_outputs`. The state is what the outputs show: `failed` when there is an error among them.

    Raises:
        DeniedError: the policy says no.
        SealError, LabelError, StorageError: as `seal_outputs`.
    """
    recipients = recipients_of(authority, label)
    if decision is None:
        decision = authority.require(Request(Action.SEAL, authority.principal, label)).entry
    context = authority.context(
        label,
        notebook=notebook,
        cell=cell,
        sequence=sequence,
        source=None if source is None else source_digest(source),
    )
    state = "failed" if any(output.get("output_type") == "error" for output in outputs) else "ok"
    return seal_outputs(authority, context, recipients, [openable(o) for o in outputs], state, decision=decision)
