"""An account in a process that lives for days: policy, log and authority, opened when needed and renewed when changed.

Enters: the account's home. Leaves: the policy as it is on disk now, the authority that decides by it, the record.
Never: falls back to an older policy when the new one cannot be read; goes on when the log was exchanged under it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from qnb.core.digester import Digester
from qnb.core.policy import FILES, Policy
from qnb.errors import ConsistencyError
from qnb.store.authority import Authority
from qnb.store.config import HomeReport, ensure_home, load_policy
from qnb.store.log import Log
from qnb.store.record import Record
from qnb.store.verifying import load_digester

_Signature = tuple[tuple[int, int, int] | None, ...]


class Service:
    """One account. Hold `lock` for as long as what a method gave is used: it may be closed by the next call.

    Args:
        home: the account's.
        first_use: told when keys were made because something had to be sealed and there were none.
    """

    def __init__(self, home: Path, first_use: Callable[[HomeReport], None] = lambda _: None) -> None:
        self.home = home
        self.lock = threading.RLock()
        self._first_use = first_use
        self._policy: tuple[_Signature, Policy] | None = None
        self._authority: tuple[Policy, Authority] | None = None
        self._record: tuple[tuple[int, int], Record] | None = None
        self._digester: Digester | None = None

    def policy(self) -> Policy:
        """The policy in force.

        Raises:
            PolicyError: it cannot be used.
        """
        with self.lock:
            signature = tuple(_stat(self.home / "policy" / name) for name in ("", *FILES))
            if self._policy is None or self._policy[0] != signature:
                self._policy = (signature, load_policy(self.home))
            return self._policy[1]

    def authority(self, *, create: bool = False) -> Authority:
        """The authority, deciding by the policy in force.

        Args:
            create: whether to make what is missing of the home, as a kernel does on first use.

        Raises:
            ConfigError: there is no log key.
            PolicyError, StorageError, ConsistencyError: policy or log cannot be used.
        """
        with self.lock:
            if create and not (self.home / "log.key").exists():
                report = ensure_home(self.home)
                if report.created:
                    self._first_use(report)
            self.record()
            policy = self.policy()
            if self._authority is None or self._authority[0] is not policy:
                if self._authority is not None:
                    self._authority[1].close()
                    self._authority = None
                self._authority = (policy, Authority.open(self.home))
            return self._authority[1]

    def record(self) -> Record | None:
        """What the log says of cells; None while there is no log.

        Raises:
            ConsistencyError: the log is another file than before.
            StorageError: it cannot be read.
        """
        with self.lock:
            path = self.home / "log.db"
            found = _stat(path)
            identity = None if found is None else found[:2]
            if self._record is None:
                if identity is None:
                    return None
                self._record = (identity, Record(Log.open(path, readonly=True)))
            elif self._record[0] != identity:
                raise ConsistencyError(
                    "log-exchanged",
                    f"the log `{path}` was removed or exchanged while it was open",
                    "put it back; if that was meant, restart the server",
                )
            return self._record[1]

    def digester(self) -> Digester | None:
        """The log's keyed digester; None without its key."""
        with self.lock:
            if self._digester is None:
                self._digester = load_digester(self.home)
            return self._digester

    def close(self) -> None:
        """Close what is open; everything acknowledged is durable already."""
        with self.lock:
            if self._authority is not None:
                self._authority[1].close()
            if self._record is not None:
                self._record[1].log.close()
            self._authority = self._record = None


def _stat(path: Path) -> tuple[int, int, int] | None:
    """Device, inode, time of change: for the log's identity the first two."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
