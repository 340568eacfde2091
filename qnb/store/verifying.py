"""What verification needs of this account: its log, its public keys, its digest key.

Enters: the account's home. Leaves: what `qnb.core.verify` takes. Never: a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qnb.core.checkpoint import VKeys, parse_signer, parse_vkeys
from qnb.core.digester import Digester
from qnb.core.verify import LogAtHand
from qnb.errors import ConfigError
from qnb.store.files import read_private
from qnb.store.record import Record


def load_vkeys(home: Path) -> VKeys | None:
    """The account's own public keys; None where there are none."""
    path = home / "log.vkey"
    return parse_vkeys(path.read_text(encoding="utf-8")) if path.exists() else None


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


def log_at_hand(record: Record, vkeys: VKeys | None) -> LogAtHand:
    """The log that a notebook is compared with, as it is now."""
    log = record.log
    return LogAtHand(log.origin, log.size, log.root(), log.entry, log.consistency_proof, record.latest_seal, vkeys)
