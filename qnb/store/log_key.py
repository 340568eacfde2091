"""The log's keys on disk, also while they are rotated.

Enters: a home. Leaves: the keys that may sign its log now.
Never: a moment at which a crash leaves a log without them: new keys are on disk before the entry that names them, and
whoever loads the keys next finishes what was begun.

The key of the content digests stays: with another, equal content would no longer be seen to be equal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qnb.core.checkpoint import Signer, format_signer, generate_signer, parse_signer
from qnb.core.rotation import parse_rotation
from qnb.errors import ConfigError
from qnb.store.files import read_private, write_atomic
from qnb.store.leases import hold_key
from qnb.store.log import Log

WAITING = ".log.key.new"


def load_signer(home: Path) -> Signer:
    """The log's keys; finishes a rotation that a crash cut short.

    Raises:
        ConfigError: there are none; `qnb init` makes them.
        StorageError: they cannot be read, or are open to others.
    """
    key = home / "log.key"
    if os.path.lexists(home / WAITING):
        finish(home)
    if not key.exists():
        raise ConfigError("no-log-key", f"there is no signing key at `{key}`", "run `qnb init`")
    return _load(key)


@contextmanager
def open_signing(home: Path) -> Iterator[tuple[Signer, Log]]:
    """The keys and the log, open for signing heads; the keys stay in force until the block ends.

    Raises:
        ConfigError, StorageError: as `load_signer` and `Log.open`; or the keys are being rotated now.
    """
    lease = hold_key(home)
    try:
        signer = load_signer(home)
        with Log.open(home / "log.db", signer) as log:
            yield signer, log
    finally:
        if lease is not None:
            lease.release()


def begin(home: Path, old: Signer) -> Signer:
    """Make the new keys and write them beside the old ones."""
    fresh = generate_signer(old.origin)
    new = fresh.with_digest_key(old.digest_key)
    write_atomic(home / WAITING, format_signer(new).encode("ascii"))
    return new


def finish(home: Path) -> None:
    """Let the new keys take over if the log names them; else forget them."""
    waiting = home / WAITING
    if not os.path.lexists(waiting):  # another process was quicker
        return
    new = _load(waiting)
    if not _is_named(home / "log.db", new):
        waiting.unlink(missing_ok=True)
        return
    write_atomic(home / "log.vkey", new.vkeys.format().encode("ascii"), mode=0o644)
    with suppress(FileNotFoundError):  # as above
        waiting.replace(home / "log.key")


def _is_named(database: Path, new: Signer) -> bool:
    if not database.exists():
        return False
    with Log.open(database, readonly=True) as log:
        for receipt in log.rotations():
            pair = parse_rotation((receipt.statement or "").encode("utf-8", "surrogatepass"))
            if pair is not None and pair[1] == new.vkeys:
                return True
    return False


def _load(path: Path) -> Signer:
    return parse_signer(read_private(path).decode("ascii", "replace"))
