"""What verification needs of this account: its log, its public keys, its digest key.

Enters: the account's home. Leaves: what `qnb.core.verify` takes. Never: a change, a private key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qnb.core.checkpoint import KeyRing, VKeys, parse_checkpoint, parse_signer, parse_vkeys
from qnb.core.digester import Digester
from qnb.core.rotation import key_ring
from qnb.core.verify import Keys, LogAtHand
from qnb.core.witness import WitnessVKeys, verify_cosignature
from qnb.errors import ConfigError, QnbError
from qnb.store.files import read_private
from qnb.store.log import Log
from qnb.store.record import Record


def load_vkeys(home: Path, log: Log | None = None) -> KeyRing | None:
    """The account's own public keys, with those that they replaced as far as its log is at hand; None without any."""
    path = home / "log.vkey"
    if not path.exists():
        return None
    return key_ring(parse_vkeys(path.read_text(encoding="utf-8")), [] if log is None else log.rotations())


def load_signers(keys: Iterable[str]) -> dict[str, VKeys]:
    """The public keys of other logs, by origin.

    Args:
        keys: files (a colleague's `log.vkey`), or keys as they stand in one.

    Raises:
        ConfigError: one cannot be read, or does not parse.
    """
    found = {}
    for key in keys:
        try:
            text = Path(key).read_text(encoding="utf-8") if "\n" not in key and Path(key).is_file() else key
        except (OSError, UnicodeDecodeError):
            raise ConfigError("vkey", f"`{key}` cannot be read as a key file", "give the signer's log.vkey") from None
        vkeys = parse_vkeys(text)
        found[vkeys.origin] = vkeys
    return found


def load_digester(home: Path) -> Digester | None:
    """The log's keyed digester; None where its key is not at hand."""
    path = home / "log.key"
    return Digester(parse_signer(read_private(path).decode("utf-8", "replace")).digest_key) if path.exists() else None


def log_at_hand(record: Record, vkeys: Keys | None, witnesses: Sequence[WitnessVKeys] = ()) -> LogAtHand:
    """The log that something is compared with, as it is now.

    Args:
        record: its index.
        vkeys: its own keys.
        witnesses: pinned witnesses, whose cosignatures are looked for.
    """
    log = record.log
    return LogAtHand(
        log.origin,
        log.size,
        log.root(),
        log.entry,
        log.consistency_proof,
        record.latest_seal,
        vkeys,
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
