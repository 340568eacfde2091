"""The proof of one entry in a file of its own, which a stranger verifies offline with the pinned public keys.

Enters: receipts, or the JSON of a file that anybody may have written. Leaves: that JSON, or the receipts in it.
Never: checks a signature or a proof while it parses; carries a secret: what is classified is a keyed digest in the
statement already.
Spec: docs/spec/bundles.md, "Proof of an entry".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qnb.core.checkpoint import VKeys
from qnb.core.digester import Json
from qnb.core.merkle import leaf_hash
from qnb.core.note import ALGORITHMS, b64, split_note, unb64
from qnb.errors import VerificationError
from qnb.model import Receipt

PROOF_TYPE = "urn:qnb:proof:v1"
_MAX_PROOF = 64
_MAX_ROTATIONS = 1024


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file says.

    Attributes:
        receipt: of the entry, with its statement.
        keys: algorithm -> hex id of the key that signed the head, as the file names them: a help for whoever looks for
            the keys, checked by nobody's word.
        rotations: receipts of the rotation entries of that log, oldest first.
    """

    receipt: Receipt
    keys: Mapping[str, str]
    rotations: tuple[Receipt, ...]


def format_proof(receipt: Receipt, vkeys: VKeys, rotations: Iterable[Receipt]) -> dict[str, Json]:
    """The content of a proof file.

    Args:
        receipt: of the entry, with its statement.
        vkeys: the keys that signed its checkpoint.
        rotations: receipts of the rotation entries up to there.
    """
    keys: dict[str, Json] = {ALGORITHMS[kind]: key_id.hex() for kind, key_id in vkeys.ids.items()}
    return {
        "_type": PROOF_TYPE,
        **_format_receipt(receipt),
        "keys": keys,
        "rotations": [_format_receipt(rotation) for rotation in rotations],
    }


def is_proof(value: object) -> bool:
    """Whether a JSON value says it is a proof file, of any version."""
    return isinstance(value, dict) and str(value.get("_type", "")).startswith("urn:qnb:proof:")


def parse_proof(value: object) -> Proof:
    """Read a proof file.

    Raises:
        VerificationError: `bundle-malformed`, `bundle-version`.
    """
    if not isinstance(value, dict) or value.get("_type") != PROOF_TYPE:
        raise VerificationError("bundle-version", "the file is no proof of a version that is known here", "update qnb")
    keys, rotations = value.get("keys"), value.get("rotations")
    if not isinstance(keys, dict) or not all(isinstance(part, str) for pair in keys.items() for part in pair):
        raise _malformed("keys")
    if not isinstance(rotations, list) or len(rotations) > _MAX_ROTATIONS:
        raise _malformed("rotations")
    return Proof(_parse_receipt(value), keys, tuple(map(_parse_receipt, rotations)))


def format_receipts(receipts: Sequence[Receipt]) -> list[Json]:
    """Receipts as JSON, for a folder that heads are published to."""
    return [_format_receipt(receipt) for receipt in receipts]


def parse_receipts(value: object) -> tuple[Receipt, ...]:
    """Inverse of `format_receipts`.

    Raises:
        VerificationError: `bundle-malformed`.
    """
    if not isinstance(value, list) or len(value) > _MAX_ROTATIONS:
        raise _malformed("rotations")
    return tuple(map(_parse_receipt, value))


def _format_receipt(receipt: Receipt) -> dict[str, Json]:
    return {
        "index": receipt.index,
        "statement": receipt.statement,
        "proof": [b64(node) for node in receipt.proof],
        "checkpoint": receipt.checkpoint,
    }


def _parse_receipt(value: object) -> Receipt:
    if not isinstance(value, dict):
        raise _malformed("entry")
    index, statement = value.get("index"), value.get("statement")
    proof, checkpoint = value.get("proof"), value.get("checkpoint")
    if type(index) is not int or index < 0 or not isinstance(statement, str) or not isinstance(checkpoint, str):
        raise _malformed("entry")
    nodes = [unb64(node) if isinstance(node, str) else None for node in proof] if isinstance(proof, list) else [None]
    path = tuple(node for node in nodes if node is not None and len(node) == 32)
    if len(path) != len(nodes) or len(path) > _MAX_PROOF:
        raise _malformed("inclusion proof")
    origin = split_note(checkpoint)[0].origin
    return Receipt(origin, index, leaf_hash(statement.encode("utf-8", "surrogatepass")), path, checkpoint, statement)


def _malformed(what: str) -> VerificationError:
    return VerificationError("bundle-malformed", f"the bundle does not parse: its {what}")
