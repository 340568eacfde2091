"""The operating system's keyring, where a real one exists.

Enters: the name of a secret, and the secret. Leaves: it again, or nothing.
Never: a back end that is not one of the operating systems' own. `keyring` takes whatever is installed or configured,
with `keyrings.alt` a file in clear; so its choice is not asked, and only what is listed is used. Without the package,
without a desktop or without a back end there is no keyring, which is no error.
Spec: https://keyring.readthedocs.io/, "Configuring".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qnb.errors import StorageError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_SERVICE = "qnb"
_REAL = (
    "keyring.backends.macOS.Keyring",
    "keyring.backends.Windows.WinVaultKeyring",
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.libsecret.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
)


def find_keyring() -> KeyringBackend | None:
    """The operating system's keyring; None where there is none."""
    try:
        from keyring.backend import get_all_keyring
    except ImportError:
        return None
    try:
        # each back end that works here: asking for its priority is how one that does not says so
        found = {f"{type(one).__module__}.{type(one).__qualname__}": one for one in get_all_keyring()}
    except Exception:  # noqa: BLE001 -- back ends of third parties may raise anything while they are looked for
        return None
    return next((found[name] for name in _REAL if name in found), None)


def has_keyring() -> bool:
    """Whether a secret can be kept in one."""
    return find_keyring() is not None


def save_in_keyring(name: str, secret: str) -> None:
    """Keep a secret, and read it back.

    Raises:
        StorageError: there is no keyring, it is locked, or it does not give back what it was given.
    """
    backend = _require()
    with _wrapped("keep"):
        backend.set_password(_SERVICE, name, secret)
        kept = backend.get_password(_SERVICE, name) == secret
    if not kept:
        raise StorageError("keyring", "the keyring did not keep what it was given", "use a passphrase: `qnb keys lock`")


def load_from_keyring(name: str) -> str:
    """A secret that was kept.

    Raises:
        StorageError: there is no keyring, it is locked, or it does not know the name.
    """
    backend = _require()
    with _wrapped("give"):
        secret = backend.get_password(_SERVICE, name)
    if secret is None:
        raise StorageError(
            "keyring", f"the keyring has no identity `{name}`", "give a backup of it with `-i`, or unlock the right one"
        )
    return secret


def forget_in_keyring(name: str) -> None:
    """Remove a secret.

    Raises:
        StorageError: there is no keyring, or it does not let go.
    """
    backend = _require()
    with _wrapped("remove"):
        backend.delete_password(_SERVICE, name)


def _require() -> KeyringBackend:
    backend = find_keyring()
    if backend is None:
        raise StorageError(
            "no-keyring",
            "there is no keyring of the operating system here",
            "`pip install 'qnb[keyring]'` in a desktop session, or use a passphrase",
        )
    return backend


@contextmanager
def _wrapped(verb: str) -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 -- back ends raise what their libraries do, and its text could quote the secret
        raise StorageError("keyring", f"the keyring did not {verb} the identity", "unlock it and try again") from None
