"""The identity in the server process: unlocked by a user, for that user, and forgotten after an idle time.

Enters: a passphrase, who gives it, the time. Leaves: identities for one opening.
Never: writes a passphrase or a key anywhere, or hands one user what another has unlocked. An identity without a
passphrase (plain, mounted, in the keyring) is read for each opening and not kept. (Python cannot wipe memory: forgotten
means that nothing refers to it any more.)
Spec: docs/adr/0017-where-the-identity-is-opened.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnb.core.seal import Identity
from qnb.errors import ConfigError, NoIdentityMatchError, QnbError
from qnb.store.keys import identity_protection, load_identities


@dataclass(slots=True)
class _Unlocked:
    identities: tuple[Identity, ...]
    file: tuple[int, int, int] | None
    deadline: float


class IdentityKeeper:
    """Keeps what users unlocked.

    Args:
        path: of the account's identity file.
        idle: seconds without an opening after which it is forgotten; 0 for never.
        clock: monotonic seconds.
    """

    def __init__(self, path: Path, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._idle = idle
        self._clock = clock
        self._lock = threading.Lock()
        self._scrypt = threading.Lock()
        self._unlocked: dict[str, _Unlocked] = {}

    def describe(self, user: str) -> dict[str, Any]:
        """The user's `Identity` of the contract. Does not count as use."""
        protection = self._protection()
        if protection is None:
            return {"state": "missing", "protection": None, "fingerprints": [], "idle": None}
        if protection != "passphrase":
            prints = [i.recipient.fingerprint for i in load_identities((self._path,), None)]
            return {"state": "open", "protection": protection, "fingerprints": prints, "idle": None}
        self.sweep()
        with self._lock:
            found = self._unlocked.get(user)
            if found is None:
                return {"state": "locked", "protection": "passphrase", "fingerprints": [], "idle": None}
            prints = [identity.recipient.fingerprint for identity in found.identities]
            left = max(0.0, round(found.deadline - self._clock(), 1)) if self._idle else None
        return {"state": "open", "protection": "passphrase", "fingerprints": prints, "idle": left}

    def unlock(self, user: str, passphrase: str) -> None:
        """Unlock for a user. Takes about a second and 256 MiB, so one at a time.

        Raises:
            ConfigError: `no-identity`.
            NoIdentityMatchError: `wrong-passphrase`.
            QnbError: the file cannot be read.
        """
        protection = self._protection()
        if protection is None:
            raise _no_identity(self._path)
        if protection != "passphrase":
            return
        with self._scrypt:
            file = self._file()
            try:
                identities = load_identities((self._path,), lambda: passphrase)
            except NoIdentityMatchError:
                raise NoIdentityMatchError("wrong-passphrase", "the passphrase does not open the identity") from None
        with self._lock:
            self._unlocked[user] = _Unlocked(identities, file, self._clock() + self._idle)

    def forget(self, user: str) -> None:
        """Lock for a user."""
        with self._lock:
            self._unlocked.pop(user, None)

    def check(self, user: str) -> None:
        """Make sure that `take` would give something, before anything is asked or recorded.

        Raises:
            ConfigError: `no-identity`, `identity-locked`.
        """
        protection = self._protection()
        if protection is None:
            raise _no_identity(self._path)
        self.sweep()
        with self._lock:
            if protection == "passphrase" and user not in self._unlocked:
                raise ConfigError("identity-locked", "the identity is locked", "unlock it with its passphrase")

    def take(self, user: str) -> tuple[Identity, ...]:
        """The identities, for one opening; the idle time begins anew.

        Raises:
            ConfigError: `no-identity`, `identity-locked`.
            QnbError: the file cannot be read.
        """
        self.check(user)
        if self._protection() != "passphrase":
            return load_identities((self._path,), None)
        with self._lock:
            found = self._unlocked.get(user)
            if found is None:
                raise ConfigError("identity-locked", "the identity is locked", "unlock it with its passphrase")
            found.deadline = self._clock() + self._idle
            return found.identities

    def sweep(self) -> None:
        """Forget what was idle too long, and what is of a file that is no longer there."""
        file, now = self._file(), self._clock()
        with self._lock:
            for user, found in list(self._unlocked.items()):
                if found.file != file or (self._idle and found.deadline <= now):
                    del self._unlocked[user]

    def _protection(self) -> str | None:
        return identity_protection(self._path)

    def _file(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _no_identity(path: Path) -> QnbError:
    return ConfigError("no-identity", f"there is no identity at `{path}`", "run `qnb init`")
