"""The public keys that a reader pins, for every command that verifies.

Enters: names of key files or keys. Leaves: keys, receipts of rotations. Never: a private key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qnb.core.bundle import is_proof, parse_proof
from qnb.core.checkpoint import KeyRing, VKeys, parse_vkeys
from qnb.core.rotation import key_ring
from qnb.core.witness import WitnessVKeys, parse_witness_vkeys
from qnb.errors import ConfigError
from qnb.model import Receipt
from qnb.store.log import Log


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the reader pinned: keys of a log (None: none), receipts of rotations, keys of witnesses."""

    vkeys: VKeys | None
    rotations: tuple[Receipt, ...] = ()
    witnesses: tuple[WitnessVKeys, ...] = ()

    def ring(self, log: Log | None = None) -> KeyRing | None:
        """The keys to check heads with, None if none are pinned."""
        if self.vkeys is None:
            return None
        return key_ring(self.vkeys, (*self.rotations, *([] if log is None else log.rotations())))


def load_pinned(keys: Sequence[str], witnesses: Sequence[str]) -> Pinned:
    """Read what `--key` and `--witness` name.

    Args:
        keys: files with public keys of the log, such keys, or proofs of rotation entries.
        witnesses: files with public keys of a witness.

    Raises:
        ConfigError: one that cannot be read.
    """
    lines, rotations = [], []
    for text in map(_content, keys):
        if text.lstrip().startswith("{"):
            rotations += _rotations(text)
        else:
            lines.append(text)
    if rotations and not lines:
        raise ConfigError("vkey", "the proof of a rotation needs the keys before or after it", "give log.vkey, too")
    return Pinned(
        parse_vkeys("\n".join(lines)) if lines else None,
        tuple(rotations),
        tuple(parse_witness_vkeys(_content(name)) for name in witnesses),
    )


def _content(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8") if Path(name).is_file() else name
    except (OSError, UnicodeDecodeError):
        raise ConfigError("vkey", f"`{name}` cannot be read as a key file", "give the signer's .vkey file") from None


def _rotations(text: str) -> list[Receipt]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not is_proof(value):
        raise ConfigError("vkey", "a key file is neither keys nor the proof of a rotation", "give log.vkey")
    proof = parse_proof(value)
    return [proof.receipt, *proof.rotations]
