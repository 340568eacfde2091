"""Entries as in-toto attestations: DSSE envelopes with two signatures, both of them required.

Enters: statement bytes and the log's keys (`Signer`), or envelopes that anybody may have written and public keys.
Leaves: envelopes, a JSON object each; a file of them, one a line, is an in-toto bundle.
Never: accepts an envelope on one signature, or parses a payload before both hold.
Spec: DSSE v1 (protocol.md: PAE; envelope.md); in-toto attestation framework, bundle.md; ML-DSA-44 as in FIPS 204, pure,
with an empty context, over the PAE.

The keys are those of the log's heads. What they sign there begins with an origin or with `subtree/v1`, what they sign
here with `DSSEv1 `, and no origin has a space in it: one is never taken for the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from qnb.core.checkpoint import KeyRing, Signer, VKeys
from qnb.core.digester import Json
from qnb.core.note import ALGORITHMS, SIGNATURE_SIZES, b64, unb64
from qnb.errors import SignatureError, VerificationError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope as it was read: payload and its type, and (key id, signature) pairs. Nothing is checked yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that are signed. Source: DSSE protocol.md, Signature Definition."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_envelope(statement: bytes, signer: Signer) -> dict[str, Json]:
    """Sign an entry's bytes as they stand in the log."""
    signatures: list[Json] = [
        {"keyid": signer.vkeys.ids[kind].hex(), "sig": b64(signature)}
        for kind, signature in signer.sign_message(pae(PAYLOAD_TYPE, statement)).items()
    ]
    return {"payload": b64(statement), "payloadType": PAYLOAD_TYPE, "signatures": signatures}


def is_envelope(value: object) -> bool:
    """Whether a JSON value looks like a DSSE envelope."""
    return isinstance(value, dict) and "payloadType" in value and "signatures" in value


def parse_envelopes(text: str) -> Iterator[Envelope]:
    """Read an in-toto bundle, or one envelope.

    Raises:
        VerificationError: `envelope-malformed`; says which line.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield parse_envelope(json.loads(line))
            except (ValueError, RecursionError):
                raise _malformed(f"line {number} is not JSON") from None


def parse_envelope(value: object) -> Envelope:
    """Read one envelope.

    Raises:
        VerificationError: `envelope-malformed`.
    """
    if not isinstance(value, dict):
        raise _malformed("it is not an object")
    kind, payload, signatures = value.get("payloadType"), value.get("payload"), value.get("signatures")
    raw = unb64(payload) if isinstance(payload, str) else None
    if not isinstance(kind, str) or raw is None:
        raise _malformed("its payload")
    if not isinstance(signatures, list) or len(signatures) > _MAX_SIGNATURES:
        raise _malformed("its signatures")
    pairs = []
    for entry in signatures:
        key_id, sig = (entry.get("keyid"), entry.get("sig")) if isinstance(entry, dict) else (None, None)
        signature = unb64(sig) if isinstance(sig, str) else None
        if not isinstance(key_id, str) or signature is None:
            raise _malformed("a signature")
        pairs.append((key_id, signature))
    return Envelope(kind, raw, tuple(pairs))


def verify_envelope(envelope: Envelope, vkeys: VKeys | KeyRing) -> bytes:
    """Check both signatures of an envelope.

    Signatures of unknown keys are passed over; one that carries a known id must hold, however many there are.

    Args:
        envelope: as parsed.
        vkeys: the signer's keys; of a ring any one pair will do, because an envelope carries no position in the log.

    Returns:
        The payload.

    Raises:
        VerificationError: `payload-type`, it is no in-toto statement.
        SignatureError: one of the two is missing or does not hold; says which.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise VerificationError("payload-type", "the envelope holds something else than an in-toto statement")
    pairs = [vkeys] if isinstance(vkeys, VKeys) else [keys for _, keys in vkeys.spans]
    named = {key_id for key_id, _ in envelope.signatures}
    chosen = next((keys for keys in pairs if named & {key_id.hex() for key_id in keys.ids.values()}), pairs[-1])
    message = pae(envelope.payload_type, envelope.payload)
    for kind, key_id in chosen.ids.items():
        signatures = [signature for named_id, signature in envelope.signatures if named_id == key_id.hex()]
        if not signatures:
            raise SignatureError("missing-signature", f"the envelope has no {ALGORITHMS[kind]} signature of this log")
        for signature in signatures:
            if len(signature) != SIGNATURE_SIZES[kind]:
                raise SignatureError(
                    "wrong-signature", f"the {ALGORITHMS[kind]} signature of the envelope has a wrong length"
                )
            chosen.verify(kind, message, signature, "envelope")
    return envelope.payload


def _malformed(what: str) -> VerificationError:
    return VerificationError("envelope-malformed", f"the envelope does not parse: {what}")
