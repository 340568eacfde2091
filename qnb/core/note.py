"""Signed notes: the text form of heads and of the signatures on them, and the heads themselves.

Enters: texts of anybody. Leaves: heads, signature lines as (key name, key id and signature), key ids.
Never: checks a signature: that is `qnb.core.checkpoint` for the log's own and `qnb.core.witness` for a witness's.
Spec: C2SP signed-note, tlog-checkpoint, and of tlog-cosignature the signed messages.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from qnb.errors import CheckpointError, ConfigError

ED25519 = 0x01
ED25519_COSIGNATURE = 0x04
MLDSA44 = 0x06
KEY_SIZES = {ED25519: 32, ED25519_COSIGNATURE: 32, MLDSA44: 1312}
ALGORITHMS = {ED25519: "Ed25519", ED25519_COSIGNATURE: "Ed25519", MLDSA44: "ML-DSA-44"}
SIGNATURE_SIZES = {ED25519: 64, ED25519_COSIGNATURE: 64, MLDSA44: 2420}

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
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


def split_note(note: str) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """Head and (key name, key id and signature) lines. Source: C2SP signed-note, Format.

    Raises:
        CheckpointError: not a checkpoint, or one with extension lines.
    """
    fault = CheckpointError("checkpoint", "the checkpoint does not parse")
    text, blank, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if len(note) > _MAX_NOTE or not blank or not tail.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise fault
    if len(lines) > 3:
        raise CheckpointError("extension-lines", "the checkpoint has extension lines, which one signature leaves open")
    root = unb64(lines[2]) if len(lines) == 3 else None
    if root is None or len(root) != 32 or not lines[0] or not _DECIMAL.fullmatch(lines[1]):
        raise fault
    signatures: list[tuple[str, bytes]] = []
    for line in tail[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = unb64(encoded)
        if dash != "—" or not name or signature is None or len(signature) < 5:
            raise fault
        signatures.append((name, signature))
    return Checkpoint(lines[0], int(lines[1]), root), signatures


def add_lines(note: str, other: str) -> str:
    """A note with the signature lines that another note on the same head has and it has not.

    Raises:
        CheckpointError: they are of different heads.
    """
    head, _ = split_note(note)
    other_head, _ = split_note(other)
    if head != other_head:
        raise CheckpointError("other-head", "the cosignature is of another head")
    have = note.partition("\n\n")[2].splitlines(keepends=True)
    more = [line for line in other.partition("\n\n")[2].splitlines(keepends=True) if line not in have]
    return note + "".join(more)


def parse_decimal(text: str) -> int | None:
    """A size as a note writes it; None for any other spelling."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def signature_line(name: str, key_id: bytes, signature: bytes) -> str:
    """One signature line of a note. Source: C2SP signed-note, Signatures."""
    return f"— {name} {b64(key_id + signature)}\n"


def cosigned_message(name: str, stamp: bytes, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA line signs. Source: C2SP tlog-cosignature, ML-DSA-44 signed message.

    Args:
        name: of the cosigner.
        stamp: POSIX seconds, 8 bytes, big-endian.
        checkpoint: the head.

    Raises:
        CheckpointError: the origin is too long.
    """
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


def key_id(name: str, kind: int, key: bytes) -> bytes:
    """Source: C2SP signed-note, Verifier keys."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def check_name(name: str) -> None:
    """A key's name fits into a note.

    Raises:
        ConfigError: it is empty, longer than 255 bytes, or has a space, a plus or a control character in it.
    """
    # a lone surrogate, which a command line can hold, has no bytes to sign
    odd = any(c.isspace() or c < " " or "\ud800" <= c <= "\udfff" for c in name)
    if not name or odd or "+" in name or len(name.encode()) > _MAX_NAME:
        raise ConfigError(
            "origin",
            f"`{name[:40]}` cannot name a key",
            "at most 255 bytes without spaces, plus or control characters",
        )


def format_vkeys(name: str, keys: dict[int, bytes]) -> str:
    """Verifier keys, one a line. Source: C2SP signed-note, Verifier keys."""
    return "".join(f"{name}+{key_id(name, kind, key).hex()}+{b64(bytes([kind]) + key)}\n" for kind, key in keys.items())


def parse_vkey_lines(text: str, kinds: tuple[int, ...]) -> tuple[str, dict[int, bytes]]:
    """Read verifier keys, one a line: exactly one of each kind, all of the same name.

    Returns:
        The name, and kind -> public key.

    Raises:
        ConfigError: a line that does not parse or whose id is not that of its key; a missing or a further key.
    """
    keys: dict[int, bytes] = {}
    names: set[str] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition("+")
        named_id, _, encoded = rest.partition("+")
        raw = unb64(encoded)
        if not raw or raw[0] not in kinds or len(raw) - 1 != KEY_SIZES[raw[0]]:
            raise ConfigError("vkey", "a verifier key does not parse", "give the two lines of the signer's .vkey file")
        check_name(name)
        if named_id != key_id(name, raw[0], raw[1:]).hex() or raw[0] in keys:
            raise ConfigError("vkey", f"the {ALGORITHMS[raw[0]]} verifier key is not of its id, or given twice")
        keys[raw[0]] = raw[1:]
        names.add(name)
    missing = [ALGORITHMS[kind] for kind in kinds if kind not in keys]
    if missing:
        raise ConfigError("vkey", f"no {' and no '.join(missing)} verifier key", "give both lines of the .vkey file")
    if len(names) != 1:
        raise ConfigError("vkey", "the verifier keys are of different signers")
    return names.pop(), {kind: keys[kind] for kind in kinds}


def b64(raw: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(raw).decode()


def unb64(text: str) -> bytes | None:
    """Canonical base64 only, so that one signature has one spelling; None for anything else."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if b64(raw) == text else None
