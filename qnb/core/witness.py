"""A second party: who keeps the last head of a log, checks that each next one contains it, and cosigns it.

Enters: heads with their consistency proofs, as a log published them, and the witness's keys or those that a verifier
pinned. Leaves: the head that holds now, cosignature lines, and what of a note a witness has cosigned.
Never: goes back, or forgets: where the head is kept is the caller's affair.
Spec: C2SP tlog-cosignature (Ed25519 cosignature/v1 and ML-DSA-44; a witness of ours adds both, and a verifier requires
both), tlog-witness for the submissions and for what a witness checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from qnb.core.checkpoint import KeyRing, VKeys, verify_checkpoint
from qnb.core.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from qnb.core.note import (
    ALGORITHMS,
    ED25519_COSIGNATURE,
    MLDSA44,
    SIGNATURE_SIZES,
    Checkpoint,
    b64,
    check_name,
    cosigned_message,
    format_vkeys,
    key_id,
    parse_decimal,
    parse_vkey_lines,
    signature_line,
    split_note,
    unb64,
)
from qnb.errors import CheckpointError, ConfigError, ConsistencyError, SignatureError

_KINDS = (ED25519_COSIGNATURE, MLDSA44)
_SEED_SIZE = 32
_MAX_PROOF = 63  # tlog-witness: a client must not send more


class WitnessVKeys:
    """A witness's public keys, one of each algorithm.

    Attributes:
        name: of the witness, also the name of both keys.
        ids: signature type -> 4-byte key id.
    """

    __slots__ = ("_classic", "_keys", "_quantum", "ids", "name")

    def __init__(self, name: str, keys: dict[int, bytes]) -> None:
        check_name(name)
        self.name = name
        self._keys = keys
        self.ids = {kind: key_id(name, kind, keys[kind]) for kind in _KINDS}
        self._classic = Ed25519PublicKey.from_public_bytes(keys[ED25519_COSIGNATURE])
        self._quantum = MLDSA44PublicKey.from_public_bytes(keys[MLDSA44])

    def __repr__(self) -> str:
        return f"WitnessVKeys(name={self.name!r}, ids={[identity.hex() for identity in self.ids.values()]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WitnessVKeys) and (self.name, self._keys) == (other.name, other._keys)

    def __hash__(self) -> int:
        return hash((self.name, *self.ids.values()))

    def format(self) -> str:
        """The content of `witness.vkey`: one line per key."""
        return format_vkeys(self.name, self._keys)

    def verify(self, kind: int, stamp: bytes, signature: bytes, checkpoint: Checkpoint) -> None:
        """Check one cosignature.

        Raises:
            SignatureError: it does not hold.
        """
        try:
            if kind == MLDSA44:
                self._quantum.verify(signature, cosigned_message(self.name, stamp, checkpoint))
            else:
                self._classic.verify(signature, _v1_message(stamp, checkpoint))
        except InvalidSignature:
            raise SignatureError(
                "wrong-cosignature", f"the {ALGORITHMS[kind]} cosignature of `{self.name}` does not hold"
            ) from None


class WitnessKey:
    """A witness's private keys. Its repr names the witness only.

    Args:
        name: of the witness.
        seeds: signature type -> 32 bytes.
    """

    __slots__ = ("_classic", "_quantum", "_seeds", "vkeys")

    def __init__(self, name: str, seeds: dict[int, bytes]) -> None:
        if set(seeds) != set(_KINDS) or {len(seed) for seed in seeds.values()} != {_SEED_SIZE}:
            raise ConfigError("witness-key", "the keys of the witness are not two of 32 bytes")
        self._seeds = seeds
        self._classic = Ed25519PrivateKey.from_private_bytes(seeds[ED25519_COSIGNATURE])
        self._quantum = MLDSA44PrivateKey.from_seed_bytes(seeds[MLDSA44])
        public = {
            ED25519_COSIGNATURE: self._classic.public_key().public_bytes_raw(),
            MLDSA44: self._quantum.public_key().public_bytes_raw(),
        }
        self.vkeys = WitnessVKeys(name, public)

    def __repr__(self) -> str:
        return f"WitnessKey(name={self.vkeys.name!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("the keys of a witness are not pickled")

    def cosign(self, checkpoint: Checkpoint, time: int) -> str:
        """Two signature lines. Only for a head that `advance` gave, once that is kept.

        Args:
            checkpoint: the head.
            time: POSIX seconds.
        """
        stamp = time.to_bytes(8, "big")
        signatures = {
            ED25519_COSIGNATURE: self._classic.sign(_v1_message(stamp, checkpoint)),
            MLDSA44: self._quantum.sign(cosigned_message(self.vkeys.name, stamp, checkpoint)),
        }
        return "".join(
            signature_line(self.vkeys.name, self.vkeys.ids[kind], stamp + signature)
            for kind, signature in signatures.items()
        )

    def format(self) -> str:
        """The content of `witness.key`: two `PRIVATE+KEY+<name>+<key id>+<base64>` lines, as `log.key` has."""
        return "".join(
            f"PRIVATE+KEY+{self.vkeys.name}+{self.vkeys.ids[kind].hex()}+{b64(bytes([kind]) + seed)}\n"
            for kind, seed in self._seeds.items()
        )


@dataclass(frozen=True, slots=True)
class Submission:
    """A head as a log publishes it: with the proof that it contains the head of `old` entries published before."""

    old: int
    proof: tuple[bytes, ...]
    note: str


def generate_witness(name: str, random: Callable[[int], bytes] = os.urandom) -> WitnessKey:
    """New keys for a witness of that name.

    Raises:
        ConfigError: the name does not fit into a note.
    """
    return WitnessKey(name, {kind: random(_SEED_SIZE) for kind in _KINDS})


def parse_witness_key(text: str) -> WitnessKey:
    """Read `witness.key`.

    Raises:
        ConfigError: it does not parse, or a key is not of its id.
    """
    fault = ConfigError("witness-key", "the witness's key file cannot be read", "restore it from its backup")
    seeds: dict[int, bytes] = {}
    names: set[str] = set()
    for line in filter(None, text.splitlines()):
        prefix, plus, rest = line.partition("+KEY+")
        parts = rest.split("+", 2)
        raw = unb64(parts[2]) if plus and prefix == "PRIVATE" and len(parts) == 3 else None
        if not raw or raw[0] not in _KINDS or raw[0] in seeds or len(raw) != 1 + _SEED_SIZE:
            raise fault
        seeds[raw[0]] = raw[1:]
        names.add(parts[0])
    if set(seeds) != set(_KINDS) or len(names) != 1:
        raise fault
    key = WitnessKey(names.pop(), seeds)
    if sorted(key.format().splitlines()) != sorted(filter(None, text.splitlines())):
        raise fault
    return key


def parse_witness_vkeys(text: str) -> WitnessVKeys:
    """Read `witness.vkey`: exactly one Ed25519 cosignature key and one ML-DSA-44 key of the same name.

    Raises:
        ConfigError: it does not parse.
    """
    name, keys = parse_vkey_lines(text, _KINDS)
    return WitnessVKeys(name, keys)


def format_submission(submission: Submission) -> str:
    """The body of an `add-checkpoint` request. Source: C2SP tlog-witness, add-checkpoint."""
    proof = "".join(f"{b64(node)}\n" for node in submission.proof)
    return f"old {submission.old}\n{proof}\n{submission.note}"


def parse_submission(text: str) -> Submission:
    """Inverse of `format_submission`. Its note is not checked.

    Raises:
        CheckpointError: it does not parse.
    """
    fault = CheckpointError("submission", "the published head does not parse")
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    old = parse_decimal(first.removeprefix("old ")) if first.startswith("old ") else None
    nodes = [unb64(line) for line in lines]
    proof = tuple(node for node in nodes if node is not None and len(node) == HASH_SIZE)
    if not blank or old is None or len(proof) != len(lines) or len(proof) > _MAX_PROOF:
        raise fault
    split_note(note)
    return Submission(old, proof, note)


def advance(known: Checkpoint | None, submission: Submission, vkeys: VKeys | KeyRing) -> Checkpoint:
    """Check a published head against the one that the witness keeps.

    Args:
        known: the last head that it cosigned; None when it knows none of this log.
        submission: what was published.
        vkeys: the log's keys.

    Returns:
        The head to keep and cosign.

    Raises:
        CheckpointError, SignatureError: it is not a head of this log.
        ConsistencyError: the log went back, was rewritten, or the submission starts from another head than the one
            that is kept.
    """
    head = verify_checkpoint(submission.note, vkeys)
    size, root = (0, EMPTY_ROOT) if known is None else (known.size, known.root)
    if head.size < size:
        raise ConsistencyError(
            "log-went-back", f"the log went back: it has {head.size} entries, the head kept here has {size}"
        )
    if head.size == size and head.root != root:
        raise ConsistencyError(
            "log-rewritten", f"the log was rewritten: there are two heads of {size} entries, both signed"
        )
    if head.size > size:
        if submission.old != size:
            raise ConsistencyError(
                "gap", f"the head of {head.size} entries goes on from {submission.old}, the head kept here has {size}"
            )
        try:
            verify_consistency(size, head.size, root, head.root, submission.proof)
        except ConsistencyError:
            raise ConsistencyError(
                "log-rewritten",
                f"the log was rewritten: the head of {head.size} entries does not contain the one of {size} kept here",
            ) from None
    return head


def verify_cosignature(note: str, witness: WitnessVKeys) -> int | None:
    """Check what a witness says of a head.

    Args:
        note: a signed checkpoint; the log's own lines are not looked at.
        witness: the pinned keys.

    Returns:
        The time of the cosignature, POSIX seconds; None when the note carries none of this witness.

    Raises:
        SignatureError: a line of this witness does not hold, or it is there in one of the two algorithms only.
    """
    checkpoint, signatures = split_note(note)
    found: dict[int, int] = {}
    for name, line in signatures:
        for kind, expected in witness.ids.items():
            if name != witness.name or line[:4] != expected:
                continue
            if len(line) != 12 + SIGNATURE_SIZES[kind]:
                raise SignatureError("wrong-cosignature", f"a cosignature of `{name}` has a wrong length")
            witness.verify(kind, line[4:12], line[12:], checkpoint)
            found[kind] = int.from_bytes(line[4:12], "big")
    if not found:
        return None
    for kind in _KINDS:
        if kind not in found:
            raise SignatureError(
                "missing-cosignature", f"the head has no {ALGORITHMS[kind]} cosignature of `{witness.name}`"
            )
    return min(found.values())


def _v1_message(stamp: bytes, checkpoint: Checkpoint) -> bytes:
    """Source: C2SP tlog-cosignature, Ed25519 signed message."""
    return f"cosignature/v1\ntime {int.from_bytes(stamp, 'big')}\n{checkpoint.text()}".encode()
