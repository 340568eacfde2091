"""The public keys that a reader pins, and the log at hand, for every command that verifies.

Enters: names of key files or keys, the home. Leaves: keys, receipts of rotations, a `LogAtHand`. Never: a private key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qnb.core.bundle import is_proof, parse_proof
from qnb.core.checkpoint import KeyRing, VKeys, parse_checkpoint, parse_vkeys
from qnb.core.rotation import key_ring
from qnb.core.verify import LogAtHand
from qnb.core.witness import WitnessVKeys, parse_witness_vkeys, verify_cosignature
from qnb.errors import ConfigError, QnbError
from qnb.model import Receipt
from qnb.store.config import home
from qnb.store.history import History
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


def own_keys(log: Log | None = None) -> KeyRing | None:
    """The public keys beside this account's log, None if there are none."""
    path = home() / "log.vkey"
    if not path.exists():
        return None
    return key_ring(parse_vkeys(path.read_text(encoding="utf-8")), [] if log is None else log.rotations())


def at_hand(log: Log, witnesses: Sequence[WitnessVKeys] = ()) -> LogAtHand:
    """This account's log, for comparing something with it."""
    history: list[History] = []  # read when the first output with a cell id asks

    def latest_seal(notebook: str | None, cell: str) -> int | None:
        if not history:
            history.append(History(log))
        return history[0].latest_seal(notebook, cell)

    return LogAtHand(
        log.origin,
        log.size,
        log.root(),
        log.entry,
        log.consistency_proof,
        latest_seal,
        own_keys(log),
        _cosigned(log, witnesses),
    )


def _cosigned(log: Log, witnesses: Sequence[WitnessVKeys]) -> dict[str, int]:
    """Name of each pinned witness -> entries under the last head of this log that it cosigned; 0 for none."""
    found = {witness.name: 0 for witness in witnesses}
    for size, note in log.checkpoints() if witnesses else ():
        for witness in witnesses:
            try:
                if verify_cosignature(note, witness) is not None and parse_checkpoint(note).root == log.root_at(size):
                    found[witness.name] = size
            except QnbError:  # `qnb verify` of the log names it
                continue
    return found


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
