"""Rotation of the log's signing keys, recorded in the log: the old keys sign the entry that names the new ones.

Enters: receipts of rotation entries, and keys that a verifier trusts. Leaves: a ring that says which keys sign which
heads.
Never: takes a key from an entry that no trusted key vouches for, or another origin along.
Spec: docs/spec/checkpoint.md, "Rotation".

A rotation entry at index i names the keys before and after it. Heads up to size i + 1 are the old keys' to sign, later
ones the new keys'. So who trusts the old keys accepts the new ones on the old keys' head of size i + 1, and who trusts
the new ones accepts the old ones for what came before.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from qnb.core.checkpoint import KeyRing, VKeys, parse_vkeys, verify_checkpoint
from qnb.core.digester import Digester
from qnb.core.entry import is_key_entry, parse_statement
from qnb.core.merkle import leaf_hash, verify_inclusion
from qnb.core.statement import Context, Statement, key_statement
from qnb.errors import QnbError, VerificationError
from qnb.model import Receipt

EVENT = "rotated"


def rotation_statement(context: Context, old: VKeys, new: VKeys, digester: Digester) -> Statement:
    """The entry that hands the log over from the old keys to the new ones."""
    statement = key_statement(context, EVENT, new.format(), digester, previous=old.format())
    predicate = statement["predicate"]
    if isinstance(predicate, dict):
        predicate["vkeys"] = new.format()
        predicate["previousVkeys"] = old.format()
    return statement


def parse_rotation(entry: bytes) -> tuple[VKeys, VKeys] | None:
    """Old and new keys of a rotation entry; None for any other entry.

    Raises:
        VerificationError: it says it is one, and does not parse.
    """
    if not is_key_entry(entry):
        return None
    view = parse_statement(entry)
    new, old = view.predicate.get("vkeys"), view.predicate.get("previousVkeys")
    if view.kind != "key" or view.predicate.get("event") != EVENT or new is None:
        return None
    fault = VerificationError("rotation", "the entry does not name the log's keys before and after it")
    if not isinstance(new, str) or not isinstance(old, str):
        raise fault
    try:
        before, after = parse_vkeys(old), parse_vkeys(new)
    except QnbError:
        raise fault from None
    if before.origin != after.origin or view.predicate.get("fingerprint") != sha256(new.encode()).hexdigest()[:16]:
        raise fault
    return before, after


def key_ring(pinned: VKeys, rotations: Iterable[Receipt]) -> KeyRing:
    """The keys that a verifier trusts who pinned one pair of them.

    The keys of a log are a line: each has one before it and one after it at most, in the order of the log. So keys that
    were replaced cannot name others in the place of those that replaced them.

    Args:
        pinned: the keys before, after or between the rotations.
        rotations: receipts of rotation entries, with their statements, from anywhere. One counts when it continues the
            line at one of its ends and its checkpoint is signed by the keys at that end. Others change nothing: what is
            signed by keys that nobody vouches for does not verify.
    """
    waiting = sorted(
        ((receipt, *pair) for receipt in rotations if (pair := _pair(receipt)) is not None),
        key=lambda found: found[0].index,
    )
    line: list[tuple[int, VKeys]] = [(0, pinned)]
    for receipt, old, new in waiting:  # forward, from the pinned keys on
        first, last = line[-1]
        if old == last and receipt.index + 2 > first and _holds(receipt, last, handover=True):
            line.append((receipt.index + 2, new))
    switch = None if len(line) == 1 else line[1][0]
    for receipt, old, new in reversed(waiting):  # and back, to the first
        earlier = switch is None or receipt.index + 2 < switch
        if new == line[0][1] and earlier and _holds(receipt, new, handover=False):
            switch = receipt.index + 2
            line = [(0, old), (switch, new), *line[1:]]
    return KeyRing(line)


def _pair(receipt: Receipt) -> tuple[VKeys, VKeys] | None:
    try:
        return None if receipt.statement is None else parse_rotation(statement_bytes(receipt))
    except QnbError:
        return None


def statement_bytes(receipt: Receipt) -> bytes:
    """The entry's bytes, as far as a receipt carries them."""
    return (receipt.statement or "").encode("utf-8", "surrogatepass")


def _holds(receipt: Receipt, vkeys: VKeys, *, handover: bool) -> bool:
    """Whether these keys signed a head over the entry; the old ones, handing over, the one that ends with it."""
    try:
        head = verify_checkpoint(receipt.checkpoint, vkeys)
        leaf = leaf_hash(statement_bytes(receipt))
        verify_inclusion(leaf, receipt.index, head.size, receipt.proof, head.root)
    except QnbError:
        return False
    return not handover or head.size == receipt.index + 1
