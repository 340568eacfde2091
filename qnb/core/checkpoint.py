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

import base64
import binascii
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from qnb.errors import CheckpointError, ConfigError, SignatureError

ED25519 = 0x01
MLDSA44 = 0x06
_NAMES = {ED25519: "Ed25519", MLDSA44: "ML-DSA-44"}
_KEY_SIZES = {ED25519: 32, MLDSA44: 1312}
_DIGEST_KEY = 0xFF  # signed-note reserves it for types without a byte of their own
_SEED_SIZE = 32
_MLDSA_SIGNATURE_SIZE = 2420
_MAX_NOTE = 128 * 1024  # signed-note asks for room for 16 signatures of up to 5 kB
_MAX_NAME = 255  # of the length byte in the cosigned message
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head.

    Attributes:
        origin: the log's name, first line of the note.
        size: number of entries.
        root: RFC 6962 root hash.
        time: POSIX seconds that the ML-DSA line vouches for; None when nobody verified it.
    """

    origin: str
    size: int
    root: bytes
    time: int | None = None

    def text(self) -> str:
        """The note text: three lines, each with its newline. Source: C2SP tlog-checkpoint, Note text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signer:
    """The log's private keys: both signing keys, and the key of its content digests. Its repr names the origin only.

    Args:
        origin: the log's name, also the name of both keys.
        ed25519_seed, mldsa_seed: 32 bytes each.
        digest_key: 32 bytes; HMAC key of content digests, see `qnb.core.statement`.
    """

    __slots__ = ("_ed25519", "_mldsa", "_seeds", "digest_key", "origin", "vkeys")

    def __init__(self, origin: str, ed25519_seed: bytes, mldsa_seed: bytes, digest_key: bytes) -> None:
        _check_name(origin)
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
        quantum = stamp + self._mldsa.sign(_cosigned_message(self.origin, stamp, checkpoint))
        lines = [
            f"— {self.origin} {base64.b64encode(self.vkeys.ids[kind] + signature).decode()}\n"
            for kind, signature in ((ED25519, classic), (MLDSA44, quantum))
        ]
        return f"{text}\n{lines[0]}{lines[1]}"

    def format(self) -> str:
        """See `format_signer`."""
        lines = [
            f"PRIVATE+KEY+{self.origin}+{self.vkeys.ids[kind].hex()}+{_b64(bytes([kind]) + seed)}\n"
            for kind, seed in self._seeds.items()
        ]
        key_id = _key_id(self.origin, _DIGEST_KEY, b"qnb/digest-key" + self.digest_key)
        return f"{lines[0]}{lines[1]}DIGEST+KEY+{self.origin}+{key_id.hex()}+{_b64(self.digest_key)}\n"


class VKeys:
    """The log's public keys, one of each algorithm.

    Attributes:
        origin: the log's name, also the name of both keys.
        ids: signature type -> 4-byte key id.
    """

    __slots__ = ("_keys", "_verify", "ids", "origin")

    def __init__(self, origin: str, ed25519: bytes, mldsa44: bytes) -> None:
        _check_name(origin)
        self.origin = origin
        self._keys = {ED25519: ed25519, MLDSA44: mldsa44}
        self.ids = {kind: _key_id(origin, kind, key) for kind, key in self._keys.items()}
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
        return "".join(
            f"{self.origin}+{self.ids[kind].hex()}+{_b64(bytes([kind]) + key)}\n" for kind, key in self._keys.items()
        )

    def verify(self, kind: int, message: bytes, signature: bytes) -> None:
        """Check one signature.

        Raises:
            SignatureError: it does not hold.
        """
        try:
            self._verify[kind](signature, message)
        except InvalidSignature:
            raise SignatureError(
                "wrong-signature", f"the {_NAMES[kind]} signature of the checkpoint does not hold"
            ) from None


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
        raw = _unb64(parts[2])
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
    keys: dict[int, bytes] = {}
    origins: set[str] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _unb64(encoded)
        if not raw or raw[0] not in _KEY_SIZES or len(raw) - 1 != _KEY_SIZES[raw[0]]:
            raise ConfigError("vkey", "a verifier key does not parse", "give the two lines of the signer's log.vkey")
        _check_name(name)
        if key_id != _key_id(name, raw[0], raw[1:]).hex() or raw[0] in keys:
            raise ConfigError("vkey", f"the {_NAMES[raw[0]]} verifier key is not of its id, or given twice")
        keys[raw[0]] = raw[1:]
        origins.add(name)
    missing = [_NAMES[kind] for kind in _KEY_SIZES if kind not in keys]
    if missing:
        raise ConfigError("vkey", f"no {' and no '.join(missing)} verifier key", "give both lines of log.vkey")
    if len(origins) != 1:
        raise ConfigError("vkey", "the verifier keys are of different logs")
    return VKeys(origins.pop(), keys[ED25519], keys[MLDSA44])


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
    return _split(note)[0]


def verify_checkpoint(note: str, vkeys: VKeys) -> Checkpoint:
    """Check both signatures of a checkpoint.

    Lines of unknown keys (witnesses) are passed over. A line that carries a known name and id must hold, however
    many there are.

    Returns:
        The head with the time that was signed.

    Raises:
        CheckpointError: it does not parse, or is of another origin than the keys.
        SignatureError: one of the two lines is missing or does not hold; says which.
    """
    checkpoint, signatures = _split(note)
    if checkpoint.origin != vkeys.origin:
        raise CheckpointError("origin", f"the checkpoint is of the log `{checkpoint.origin}`, not `{vkeys.origin}`")
    time: int | None = None
    found: set[int] = set()
    for name, signature in signatures:
        for kind, key_id in vkeys.ids.items():
            if name != vkeys.origin or signature[:4] != key_id:
                continue
            if kind == ED25519:
                vkeys.verify(kind, checkpoint.text().encode(), signature[4:])
            else:
                if len(signature) != 12 + _MLDSA_SIGNATURE_SIZE:
                    raise SignatureError("wrong-signature", "the ML-DSA-44 line of the checkpoint has a wrong length")
                stamp = signature[4:12]
                vkeys.verify(kind, _cosigned_message(name, stamp, checkpoint), signature[12:])
                time = int.from_bytes(stamp, "big")
            found.add(kind)
    for kind in vkeys.ids:
        if kind not in found:
            raise SignatureError("missing-signature", f"the checkpoint has no {_NAMES[kind]} signature of this log")
    return Checkpoint(checkpoint.origin, checkpoint.size, checkpoint.root, time)


def _split(note: str) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """Head and (key name, key id and signature) lines. Source: C2SP signed-note, Format."""
    fault = CheckpointError("checkpoint", "the checkpoint does not parse")
    text, blank, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if len(note) > _MAX_NOTE or not blank or not tail.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise fault
    if len(lines) > 3:
        raise CheckpointError("extension-lines", "the checkpoint has extension lines, which one signature leaves open")
    root = _unb64(lines[2]) if len(lines) == 3 else None
    if root is None or len(root) != 32 or not lines[0] or not _DECIMAL.fullmatch(lines[1]):
        raise fault
    signatures: list[tuple[str, bytes]] = []
    for line in tail[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = _unb64(encoded)
        if dash != "—" or not name or signature is None or len(signature) < 5:
            raise fault
        signatures.append((name, signature))
    return Checkpoint(lines[0], int(lines[1]), root), signatures


def _cosigned_message(name: str, stamp: bytes, checkpoint: Checkpoint) -> bytes:
    """What the ML-DSA line signs. Source: C2SP tlog-cosignature, ML-DSA-44 signed message."""
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    if len(origin) > _MAX_NAME:
        raise CheckpointError("origin", "the checkpoint's origin is longer than 255 bytes")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            bytes([len(cosigner)]),
            cosigner,
            stamp,
            bytes([len(origin)]),
            origin,
            bytes(8),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _key_id(name: str, kind: int, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def _check_name(name: str) -> None:
    # a lone surrogate, which a command line can hold, has no bytes to sign
    odd = any(c.isspace() or c < " " or "\ud800" <= c <= "\udfff" for c in name)
    if not name or odd or "+" in name or len(name.encode()) > _MAX_NAME:
        raise ConfigError(
            "origin", f"`{name[:40]}` cannot name a log", "at most 255 bytes without spaces, plus or control characters"
        )


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unb64(text: str) -> bytes | None:
    """Canonical base64 only, so that one signature has one spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _b64(raw) == text else None
