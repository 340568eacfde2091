"""Targets: sealed outputs, notebooks, the log, labels, the policy, and files that are given to a command."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from checks import LONGEST, attempt, check_error
from choices import Choices, as_text, edit_bytes, edit_json
from seeds import (
    ALICE,
    BUNDLE,
    DECISION,
    DIGESTER,
    ENTRIES,
    EVALUATIONS,
    HEADER,
    NOTE,
    NOTEBOOK,
    ORIGIN,
    OTHERS,
    OUTPUTS,
    POLICY,
    RECEIPT,
    SCHEME,
    SEALED,
    SIGNER,
    TREE,
    encode_json,
    execution,
)

from qnb.cli.execute import _load as load_for_execution
from qnb.cli.log import _parse_time
from qnb.cli.pinned import load_pinned
from qnb.core.audit import audit_log
from qnb.core.audit_bundle import audit_proof
from qnb.core.bundle import format_proof, parse_proof
from qnb.core.card import render_html, render_text
from qnb.core.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    parse_signer,
    parse_vkeys,
    sign_checkpoint,
    verify_checkpoint,
)
from qnb.core.directive import directive_line, mentions_directive, parse_directive
from qnb.core.dsse import parse_envelope, parse_envelopes, sign_envelope, verify_envelope
from qnb.core.entry import parse_statement, status_of
from qnb.core.merkle import Frontier, leaf_hash
from qnb.core.notebook import find_outputs, open_notebook
from qnb.core.policy import parse_policy
from qnb.core.policy_file import parse_policy_file
from qnb.core.rotation import parse_rotation
from qnb.core.seal.output import (
    SealedOutput,
    open_output,
    pack_output,
    parse_bundle,
    unpack_output,
)
from qnb.core.skim import skim_statement
from qnb.core.verify import LogAtHand, audit_notebook, verify_entry, verify_receipt
from qnb.core.witness import parse_submission
from qnb.errors import QnbError
from qnb.store.sealing import load_notebook, sniff


def _json_of(seed: Any, data: bytes) -> Any:
    """A changed seed, or with a first byte of `{`, `[` or `"` the JSON that the bytes are."""
    if data[:1] in (b"{", b"[", b'"'):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None
    return edit_json(seed, Choices(data))


def fuzz_bundle(data: bytes) -> None:
    """The MIME value: it parses or is refused, its cards come out all the same, and it opens only to what it says."""
    value = _json_of(BUNDLE, data)
    if isinstance(value, dict):
        assert "<script" not in render_html(value)
        assert render_text(value).replace("\n", "").isprintable()
    sealed = attempt(parse_bundle, value)
    if sealed is not None:
        if sealed.receipt is not None:
            attempt(verify_receipt, sealed.receipt, SIGNER.vkeys)
            attempt(verify_entry, ENTRIES[2], sealed.receipt, sealed)
        opened = attempt(open_output, sealed, [ALICE])
        if opened is not None:
            assert opened[0] == HEADER
            assert sealed.label == HEADER.label


def fuzz_content(data: bytes) -> None:
    """What is inside a sealed output: anybody who knows the recipient may have sealed it."""
    attempt(unpack_output, data)
    content = _json_of(json.loads(pack_output(HEADER, OUTPUTS)), data)
    unpacked = attempt(unpack_output, encode_json(content))
    if unpacked is not None:
        assert unpack_output(pack_output(*unpacked)) == unpacked
    if isinstance(content, dict) and isinstance(content.get("outputs"), list):
        attempt(pack_output, HEADER, content["outputs"])


def _at_hand() -> LogAtHand:
    return LogAtHand(
        ORIGIN, 3, TREE, lambda index: ENTRIES[index], lambda old, new: (), lambda notebook, cell: 2, SIGNER.vkeys
    )


def fuzz_notebook(data: bytes) -> None:
    """A notebook of any shape: looked through, opened, verified with a log and without."""
    nb = _json_of(NOTEBOOK, data)
    found = attempt(find_outputs, nb)
    opened = attempt(open_notebook, nb, [ALICE], check=_check_sealed)
    assert (found is None) == (opened is None)
    if opened is not None:
        for each in opened[1]:
            if each.error is not None:
                check_error(each.error)
    for log, vkeys, digester in ((None, None, None), (_at_hand(), None, DIGESTER), (None, SIGNER.vkeys, None)):
        reports = attempt(
            lambda *a: list(audit_notebook(nb, log=a[0], vkeys=a[1], digester=a[2])), log, vkeys, digester
        )
        for report in reports or ():
            assert all(step.detail.isprintable() and len(step.detail) <= 2 * LONGEST for step in report.steps)


def _check_sealed(sealed: object) -> None:
    assert isinstance(sealed, SealedOutput)


# --- the log ---------------------------------------------------------------------------------------------------------


def fuzz_statement(data: bytes) -> None:
    """An entry of any bytes is a statement of ours or is refused; what is read of it has the types that it says."""
    choices = Choices(data)
    seed = (DECISION, execution([]), SEALED, *OTHERS)[choices.below(3 + len(OTHERS))]
    for entry in (data, encode_json(_json_of(seed, choices.rest()))):
        view = attempt(parse_statement, entry)
        if view is not None:
            status_of(view, None)
            assert all(isinstance(v, str | None) for v in (view.state, view.ciphertext, view.policy, view.backend))
            assert view.source is None or all(isinstance(v, str) for v in view.source.values())
            assert view.evaluations is None or isinstance(view.evaluations[2], str | None)
            assert view.evaluations is None or all(type(n) is int for n in view.evaluations[:2])
            assert isinstance(view.action, str | None)
        skim = attempt(skim_statement, entry)
        assert (skim is None) == (view is None)
        assert view is None or skim is None or (skim.kind, skim.session, skim.decision) == (
            view.kind, view.session, view.decision,
        )  # fmt: skip
        attempt(parse_rotation, entry)


def fuzz_checkpoint(data: bytes) -> None:
    """A note with any change is not vouched for, unless it is in lines of other keys."""
    note = as_text(data)
    for text in (note, as_text(edit_bytes(NOTE.encode(), Choices(data)))):
        attempt(parse_checkpoint, text)
        attempt(parse_submission, text)
        attempt(parse_submission, f"old 2\n\n{text}")
        head = attempt(verify_checkpoint, text, SIGNER.vkeys)
        if head is not None:
            assert (head.size, head.root) == (3, TREE)


def fuzz_handed(data: bytes) -> None:
    """What an auditor is handed, of any shape: always a report, and nothing altered is held for signed."""
    proof = _json_of(format_proof(RECEIPT, SIGNER.vkeys, [RECEIPT]), data)
    report = audit_proof(proof, log=None, vkeys=SIGNER.vkeys)
    assert all(step.detail.isprintable() and len(step.detail) <= 2 * LONGEST for step in report.steps)
    if report.held:
        assert attempt(parse_proof, proof).receipt.statement == RECEIPT.statement
    envelope = _json_of(sign_envelope(ENTRIES[2], SIGNER), data)
    parsed = attempt(parse_envelope, envelope)
    if parsed is not None and attempt(verify_envelope, parsed, SIGNER.vkeys) is not None:
        assert parsed.payload == ENTRIES[2]
    attempt(lambda text: list(parse_envelopes(text)), as_text(data))


def fuzz_vkeys(data: bytes) -> None:
    """Verifier keys that parse are those that are written."""
    for text in (as_text(data), as_text(edit_bytes(SIGNER.vkeys.format().encode(), Choices(data)))):
        vkeys = attempt(parse_vkeys, text)
        if vkeys is not None:
            assert parse_vkeys(vkeys.format()) == vkeys
        attempt(load_pinned, [text], ())
        attempt(load_pinned, (), [text])


def fuzz_log_key(data: bytes) -> None:
    """The log's private keys: whole or refused, and no error quotes them."""
    secret = SIGNER.format()
    for text in (as_text(data), as_text(edit_bytes(secret.encode(), Choices(data)))):
        try:
            signer = parse_signer(text)
        except QnbError as error:
            check_error(error)
            assert not any(len(word) > 16 and word in str(error) for word in re.split(r"[+\n]", text))
        else:
            assert sorted(signer.format().split()) == sorted(text.split())


def fuzz_log(data: bytes) -> None:
    """A whole log, forged with its hashes: always a report, whatever the entries say."""
    choices = Choices(data)
    lines = [encode_json(line) for line in EVALUATIONS]
    if choices.below(2):
        lines = [encode_json(edit_json(line, choices)) for line in EVALUATIONS]
    entries = [DECISION, execution(lines), SEALED, *OTHERS]
    at = choices.below(len(entries))
    entries[at] = edit_json(entries[at], choices)
    frontier = Frontier()
    rows = []
    for index, entry in enumerate(entries):
        body = encode_json(entry)
        rows.append((index, frontier.append(leaf_hash(body)), body))
    note = sign_checkpoint(Checkpoint(ORIGIN, len(rows), frontier.root()), SIGNER, 1)
    heads = [(choices.below(9), as_text(edit_bytes(NOTE.encode(), choices))), (len(rows), note)]
    report = audit_log(rows, heads[choices.below(2) :], lambda index: lines, vkeys=SIGNER.vkeys)
    assert all(step.detail.isprintable() and len(step.detail) <= 2 * LONGEST for step in report.steps)


# --- labels, policy, command line ------------------------------------------------------------------------------------


def fuzz_label(data: bytes) -> None:
    """A label that parses is spelled in one way and parses to itself."""
    label = attempt(SCHEME.parse, as_text(data))
    if label is not None:
        assert SCHEME.parse(str(label)) == label


def fuzz_directive(data: bytes) -> None:
    """The `%%qsecure` line, and where it may stand."""
    text = as_text(data)
    line = directive_line(text)
    assert line is None or mentions_directive(text)
    for candidate in (line or text, "%%qsecure " + text):
        directive = attempt(parse_directive, candidate)
        if directive is not None:
            assert directive.label != ""
    attempt(_parse_time, text)


def fuzz_policy_file(data: bytes) -> None:
    """`qnb.toml`: every safeguard is read or the file is refused."""
    for text in (data, edit_bytes(POLICY[0], Choices(data))):
        policy = attempt(parse_policy_file, text)
        if policy is not None:
            assert set(policy.handling) == set(policy.scheme.levels)


def fuzz_policy(data: bytes) -> None:
    """`policy.cedar` and its schema, with the data of the default."""
    choices = Choices(data)
    files = list(POLICY)
    if choices.below(3):
        which = 1 + choices.below(2)
        files[which] = edit_bytes(files[which], choices)
    else:
        files[1] = choices.rest()
    attempt(parse_policy, *files)


_SCRATCH = tempfile.TemporaryDirectory(prefix="qnb-fuzz-")


def fuzz_loaders(data: bytes) -> None:
    """A file that is given to a command."""
    path = Path(_SCRATCH.name) / "given"
    path.write_bytes(data)
    attempt(sniff, path)
    attempt(load_notebook, path)
    if data[:1] not in (b"{", b"["):
        path.write_bytes(encode_json(_json_of(NOTEBOOK, data)))
    attempt(load_for_execution, path)
