"""Signed heads of the log: C2SP checkpoints with two signature lines, both of them required.

Enters: a tree head and the log's keys (`Signer`), or a note and public keys (`VKeys`); the time as POSIX seconds.
Leaves: a signed note, or the head that it vouches for.
Never: accepts a note on one signature, reads a clock, shows a key in a repr. Extension lines are refused: the ML-DSA
line does not cover them.
Spec: C2SP signed-note, tlog-checkpoint and tlog-cosignature.

The lines are Ed25519 over the note text (signature type 0x01) and an ML-DSA-44 timestamped cosignature over the whole
tree as a subtree (type 0x06). Both carry the log's origin as their key name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from qnb.core.note import (
    ALGORITHMS,
    ED25519,
    MLDSA44,
    SIGNATURE_SIZES,
    Checkpoint,
    b64,
    check_name,
    cosigned_message,
    format_vkeys,
    key_id,
    parse_vkey_lines,
    signature_line,
    split_note,
    unb64,
)
from qnb.errors import CheckpointError, ConfigError, SignatureError

__all__ = [
    "ED25519", "MLDSA44", "Checkpoint", "KeyRing", "Signer", "VKeys", "format_signer", "generate_signer",
    "parse_checkpoint", "parse_signer", "parse_vkeys", "sign_checkpoint", "verify_checkpoint",
]  # fmt: skip

_DIGEST_KEY = 0xFF  # signed-note reserves it for types without a byte of their own
_SEED_SIZE = 32


class Signer:
    """The log's private keys: both signing keys, and the key of its content digests. Its repr names the origin only.

    Args:
        origin: the log's name, also the name of both keys.
        ed25519_seed, mldsa_seed: 32 bytes each.
        digest_key: 32 bytes; HMAC key of content digests, see `qnb.core.statement`.
    """

    __slots__ = ("_ed25519", "_mldsa", "_seeds", "digest_key", "origin", "vkeys")

    def __init__(self, origin: str, ed25519_seed: bytes, mldsa_seed: bytes, digest_key: bytes) -> None:
        check_name(origin)
        if {len(ed25519_seed), len(mldsa_seed), len(digest_key)} != {_SEED_SIZE}:
            raise ConfigError("log-key", "the keys of the log are not 32 bytes each")
        self.origin = origin
        self.digest_key = digest_key
        self._seeds = {ED25519: ed25519_seed, MLDSA44: mldsa_seed}
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(ed25519_seed)
        self._mldsa = MLDSA44PrivateKey.from_seed_bytes(mldsa_seed)
        self.vkeys = VKeys(
            origin, self._ed25519.public_key().public_bytes_raw(), self._mldsa.public_key().public_bytes_raw()
        )

    def __repr__(self) -> str:
        return f"Signer(origin={self.origin!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("the keys of the log are not pickled")

    def sign(self, checkpoint: Checkpoint, time: int) -> str:
        """See `sign_checkpoint`."""
        text = checkpoint.text()
        classic = self._ed25519.sign(text.encode())
        stamp = time.to_bytes(8, "big")
        quantum = stamp + self._mldsa.sign(cosigned_message(self.origin, stamp, checkpoint))
        lines = [
            signature_line(self.origin, self.vkeys.ids[kind], signature)
            for kind, signature in ((ED25519, classic), (MLDSA44, quantum))
        ]
        return f"{text}\n{lines[0]}{lines[1]}"

    def sign_message(self, message: bytes) -> dict[int, bytes]:
        """Sign a message whose domain is told apart from a head's by its first bytes: kind -> signature."""
        return {ED25519: self._ed25519.sign(message), MLDSA44: self._mldsa.sign(message)}

    def with_digest_key(self, digest_key: bytes) -> Signer:
        """The same signing keys with another key for content digests."""
        return Signer(self.origin, self._seeds[ED25519], self._seeds[MLDSA44], digest_key)

    def format(self) -> str:
        """See `format_signer`."""
        lines = [
            f"PRIVATE+KEY+{self.origin}+{self.vkeys.ids[kind].hex()}+{b64(bytes([kind]) + seed)}\n"
            for kind, seed in self._seeds.items()
        ]
        digest_id = key_id(self.origin, _DIGEST_KEY, b"qnb/digest-key" + self.digest_key)
        return f"{lines[0]}{lines[1]}DIGEST+KEY+{self.origin}+{digest_id.hex()}+{b64(self.digest_key)}\n"


class VKeys:
    """The log's public keys, one of each algorithm.

    Attributes:
        origin: the log's name, also the name of both keys.
        ids: signature type -> 4-byte key id.
    """

    __slots__ = ("_keys", "_verify", "ids", "origin")

    def __init__(self, origin: str, ed25519: bytes, mldsa44: bytes) -> None:
        check_name(origin)
        self.origin = origin
        self._keys = {ED25519: ed25519, MLDSA44: mldsa44}
        self.ids = {kind: key_id(origin, kind, key) for kind, key in self._keys.items()}
        try:
            classic, quantum = Ed25519PublicKey.from_public_bytes(ed25519), MLDSA44PublicKey.from_public_bytes(mldsa44)
        except ValueError:
            raise ConfigError("vkey", "a public key of the log does not have the length of its algorithm") from None
        self._verify: dict[int, Callable[[bytes, bytes], None]] = {ED25519: classic.verify, MLDSA44: quantum.verify}

    def __repr__(self) -> str:
        return f"VKeys(origin={self.origin!r}, ids={[key_id.hex() for key_id in self.ids.values()]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VKeys) and (self.origin, self._keys) == (other.origin, other._keys)

    def __hash__(self) -> int:
        return hash((self.origin, *self.ids.values()))

    def format(self) -> str:
        """The content of `log.vkey`: one line per key. Source: C2SP signed-note, Verifier keys."""
        return format_vkeys(self.origin, self._keys)

    def at(self, size: int) -> VKeys:  # noqa: ARG002 -- as `KeyRing.at`
        """These keys, whatever the size of the head."""
        return self

    def verify(self, kind: int, message: bytes, signature: bytes, what: str = "checkpoint") -> None:
        """Check one signature. `what` carries it, for the message.

        Raises:
            SignatureError: it does not hold.
        """
        try:
            self._verify[kind](signature, message)
        except InvalidSignature:
            raise SignatureError(
                "wrong-signature", f"the {ALGORITHMS[kind]} signature of the {what} does not hold"
            ) from None


class KeyRing:
    """The keys of a log whose signing keys were rotated: each signs heads up to the one that hands over to the next.

    Args:
        spans: (size of the first head, keys), by size; at least one. `qnb.core.rotation` makes them.
    """

    __slots__ = ("spans",)

    def __init__(self, spans: Sequence[tuple[int, VKeys]]) -> None:
        self.spans = tuple(spans)

    def __repr__(self) -> str:
        return f"KeyRing(origin={self.origin!r}, keys={len(self.spans)})"

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.spans[0][1].origin

    def at(self, size: int) -> VKeys:
        """The keys that sign heads of that size."""
        return next((vkeys for first, vkeys in reversed(self.spans) if first <= size), self.spans[0][1])


def generate_signer(origin: str, random: Callable[[int], bytes] = os.urandom) -> Signer:
    """New keys for a log of that name.

    Raises:
        ConfigError: the origin is empty, longer than 255 bytes, or has a space, a plus or a control character in it.
    """
    return Signer(origin, random(_SEED_SIZE), random(_SEED_SIZE), random(_SEED_SIZE))


def format_signer(signer: Signer) -> str:
    """The content of `log.key`: two `PRIVATE+KEY+<origin>+<key id>+<base64>` lines and one `DIGEST+KEY+…` line.

    The base64 of a private key is its signature type and its 32-byte seed, as the Go `sumdb/note` package writes it.
    """
    return signer.format()


def parse_signer(text: str) -> Signer:
    """Read `log.key`.

    Raises:
        ConfigError: a line that does not parse, a key that is missing or twice there, or that is not of its key id.
    """
    fault = ConfigError("log-key", "the log's key file cannot be read", "restore log.key from its backup")
    seeds: dict[int, bytes] = {}
    origins: set[str] = set()
    ids: dict[int, str] = {}
    for line in filter(None, text.splitlines()):
        prefix, plus, rest = line.partition("+KEY+")
        parts = rest.split("+", 2)
        if not plus or len(parts) != 3 or prefix not in ("PRIVATE", "DIGEST"):
            raise fault
        raw = unb64(parts[2])
        kind = _DIGEST_KEY if prefix == "DIGEST" else raw[0] if raw else -1
        seed = raw if prefix == "DIGEST" else (raw or b"")[1:]
        if kind not in (ED25519, MLDSA44, _DIGEST_KEY) or kind in seeds or seed is None or len(seed) != _SEED_SIZE:
            raise fault
        seeds[kind], ids[kind] = seed, parts[1]
        origins.add(parts[0])
    if set(seeds) != {ED25519, MLDSA44, _DIGEST_KEY} or len(origins) != 1:
        raise fault
    signer = Signer(origins.pop(), seeds[ED25519], seeds[MLDSA44], seeds[_DIGEST_KEY])
    if sorted(signer.format().splitlines()) != sorted(filter(None, text.splitlines())):
        raise fault
    return signer


def parse_vkeys(text: str) -> VKeys:
    """Read verifier keys, one a line: exactly one Ed25519 and one ML-DSA-44 key of the same name.

    Raises:
        ConfigError: a line that does not parse or whose id is not that of its key; a missing or a further key.
    """
    origin, keys = parse_vkey_lines(text, (ED25519, MLDSA44))
    return VKeys(origin, keys[ED25519], keys[MLDSA44])


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer, time: int) -> str:
    """Sign a head.

    Args:
        checkpoint: of the signer's own log; its `time` is not looked at.
        signer: the log's keys.
        time: POSIX seconds.

    Returns:
        The signed note: three lines, an empty one, the Ed25519 line, the ML-DSA-44 line.

    Raises:
        CheckpointError: the head is of another log.
    """
    if checkpoint.origin != signer.origin:
        raise CheckpointError("origin", "the head to sign is of another log than the key")
    return signer.sign(checkpoint, time)


def parse_checkpoint(note: str) -> Checkpoint:
    """Read the head of a note and check no signature: never act on it without `verify_checkpoint`.

    Raises:
        CheckpointError: not a checkpoint, or one with extension lines.
    """
    return split_note(note)[0]


def verify_checkpoint(note: str, vkeys: VKeys | KeyRing) -> Checkpoint:
    """Check both signatures of a checkpoint.

    Lines of unknown keys (witnesses) are passed over. A line that carries a known name and id must hold, however
    many there are.

    Returns:
        The head with the time that was signed.

    Raises:
        CheckpointError: it does not parse, or is of another origin than the keys.
        SignatureError: one of the two lines is missing or does not hold; says which.
    """
    checkpoint, signatures = split_note(note)
    vkeys = vkeys.at(checkpoint.size)
    if checkpoint.origin != vkeys.origin:
        raise CheckpointError("origin", f"the checkpoint is of the log `{checkpoint.origin}`, not `{vkeys.origin}`")
    time: int | None = None
    found: set[int] = set()
    for name, signature in signatures:
        for kind, expected in vkeys.ids.items():
            if name != vkeys.origin or signature[:4] != expected:
                continue
            if kind == ED25519:
                vkeys.verify(kind, checkpoint.text().encode(), signature[4:])
            else:
                if len(signature) != 12 + SIGNATURE_SIZES[MLDSA44]:
                    raise SignatureError("wrong-signature", "the ML-DSA-44 line of the checkpoint has a wrong length")
                stamp = signature[4:12]
                vkeys.verify(kind, cosigned_message(name, stamp, checkpoint), signature[12:])
                time = int.from_bytes(stamp, "big")
            found.add(kind)
    for kind in vkeys.ids:
        if kind not in found:
            raise SignatureError("missing-signature", f"the checkpoint has no {ALGORITHMS[kind]} signature of this log")
    return Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, time)
