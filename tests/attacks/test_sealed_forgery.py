"""What age does not promise, shown: others can seal, and recipients can replace. What notices is the entry."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from qnb.core.checkpoint import Checkpoint, Signer, sign_checkpoint
from qnb.core.digester import Digester
from qnb.core.merkle import inclusion_proof, leaf_hash, nodes_of, root
from qnb.core.seal import generate_identity, open_, seal
from qnb.core.seal.header import derive, parse_header
from qnb.core.seal.output import OutputHeader, open_output, pack_output, parse_bundle, sealed_bundle
from qnb.core.seal.stream import encrypt_into, sealed_size
from qnb.core.statement import Context, encode, seal_statement
from qnb.core.verify import verify_entry, verify_receipt
from qnb.errors import SubjectMismatchError
from qnb.model import Assurance, Label, Principal, Receipt

ALICE = generate_identity(lambda n: b"a" * n)
MALLORY = generate_identity(lambda n: b"m" * n)
SIGNER = Signer("example.org/log", b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
HEADER = OutputHeader(1, "s", 1, "ok", None, "restricted", "nb", "c", None)
CONTEXT = Context(
    Principal("ada", 1000, Assurance.OS), "s", "nb", "c", 1, None, Label("restricted"), "2026-11-23T09:30:00.000Z", {}
)
TRUE = [{"output_type": "stream", "name": "stdout", "text": "-1.137"}]
FALSE = [{"output_type": "stream", "name": "stdout", "text": "-9.999"}]
ORIGINAL = seal(pack_output(HEADER, TRUE), [ALICE.recipient, MALLORY.recipient])


def receipt_of(ciphertext: bytes) -> Receipt:
    """What a log of one entry gives for it."""
    entry = encode(seal_statement(CONTEXT, hashlib.sha256(ciphertext).digest(), "ok", [], Digester(SIGNER.digest_key)))
    leaf = leaf_hash(entry)
    note = sign_checkpoint(Checkpoint(SIGNER.origin, 1, root([leaf])), SIGNER, 1)
    return Receipt(SIGNER.origin, 0, leaf, inclusion_proof(0, 1, nodes_of([leaf])), note, entry.decode())


def by_a_stranger(recipients: list[Any]) -> bytes:
    """Sealed by somebody who knows the public recipients, and nothing else."""
    return seal(pack_output(HEADER, FALSE), recipients)


def by_a_recipient() -> bytes:
    """Another content behind the very header of the original: one of its recipients knows the file key."""
    src = io.BytesIO(ORIGINAL)
    header = parse_header(src)
    file_key = next(key for stanza in header.stanzas if (key := MALLORY.unwrap(stanza)) is not None)
    head, nonce, content = ORIGINAL[: src.tell()], b"n" * 16, pack_output(HEADER, FALSE)
    payload = bytearray(sealed_size(len(content)))
    encrypt_into(derive(file_key, nonce, b"payload"), content, memoryview(payload))
    return head + nonce + payload


@pytest.mark.parametrize(
    "forged", [by_a_stranger([ALICE.recipient, MALLORY.recipient]), by_a_recipient()], ids=["stranger", "recipient"]
)
def test_forged_output_opens_and_only_its_entry_tells(forged: bytes) -> None:
    """It opens to a false result with every binding right; the entry speaks of another ciphertext, and says so."""
    receipt = receipt_of(ORIGINAL)
    sealed = parse_bundle(json.loads(json.dumps(sealed_bundle(HEADER, forged, [ALICE.recipient], receipt))))
    assert open_output(sealed, [ALICE]) == (HEADER, FALSE)
    verify_receipt(receipt, SIGNER.vkeys)  # the receipt itself is a true one
    with pytest.raises(SubjectMismatchError) as caught:
        verify_entry(str(receipt.statement).encode(), receipt, sealed)
    assert caught.value.code == "other-output"


def test_original_output_is_what_its_entry_speaks_of() -> None:
    """What the forgeries are held against."""
    receipt = receipt_of(ORIGINAL)
    sealed = parse_bundle(sealed_bundle(HEADER, ORIGINAL, [ALICE.recipient], receipt))
    assert verify_entry(str(receipt.statement).encode(), receipt, sealed).kind == "seal"
    assert open_output(sealed, [ALICE]) == (HEADER, TRUE)


def test_identity_gained_later_opens_what_was_sealed_before() -> None:
    """There is no forward secrecy: an identity opens the past, and a new one does not close it."""
    before = seal(b"sealed before", [ALICE.recipient])
    renewed = generate_identity()
    after = seal(b"sealed after", [renewed.recipient])
    assert open_(before, [renewed, ALICE]) == b"sealed before"
    assert open_(after, [ALICE, renewed]) == b"sealed after"


def test_length_of_a_sealed_output_says_little_and_of_a_file_all() -> None:
    """Outputs are padded; the bytes of a file are counted as they are."""
    outputs = [replace_text(n) for n in range(1000, 1016)]
    assert len({len(seal(pack_output(HEADER, output), [ALICE.recipient])) for output in outputs}) <= 2
    assert len({len(seal(b"x" * n, [ALICE.recipient])) for n in range(1000, 1016)}) == 16


def replace_text(length: int) -> list[dict[str, Any]]:
    return [TRUE[0] | {"text": "x" * length}]


def test_bindings_are_no_signature() -> None:
    """Whoever seals chooses them: that they agree says only that clear and sealed fields were written together."""
    header = replace(HEADER, label="public", cell="another")
    forged = sealed_bundle(header, seal(pack_output(header, FALSE), [ALICE.recipient]), [ALICE.recipient])
    assert open_output(parse_bundle(forged), [ALICE])[0] == header
