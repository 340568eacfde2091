"""Protecting and backing up an account's own identities, on the record.

Enters: a home, a way to ask. Leaves: identity files under a passphrase, or a page to print, mode 0600, and an
entry for each.
Never: writes an identity anywhere but into the file that was asked for, and not before that was recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qnb.core.paper import render_paper_svg, render_paper_text
from qnb.errors import ConfigError, StorageError
from qnb.store.authority import Authority
from qnb.store.config import locked
from qnb.store.files import atomic_writer
from qnb.store.keychain import Keychain, retired_files
from qnb.store.keys import identity_protection, load_recipient, lock_identity


def lock_identities(home: Path, ask_new_passphrase: Callable[[], str]) -> list[tuple[Path, int]]:
    """Put what lies in clear or in a keyring under one passphrase; those under one already stay.

    Args:
        home: the account's home.
        ask_new_passphrase: called once, and only if there is anything to lock.

    Returns:
        The files that were locked, each with its entry.

    Raises:
        ConfigError: the identity is mounted by a platform.
        StorageError, RecipientError: as `lock_identity`.
    """
    files = [home / "identity", *retired_files(home)]
    if identity_protection(files[0]) == "mounted":
        raise ConfigError("identity-mounted", f"`{files[0]}` is mounted by the platform, which protects it", None)
    wanted = [path for path in files if identity_protection(path) in ("plain", "keyring")]
    if not wanted:
        return []
    passphrase = ask_new_passphrase()
    done: list[tuple[Path, int]] = []
    with locked(home), Authority.open(home) as authority:
        for path in wanted:
            recipient = load_recipient(path)
            if recipient is not None and lock_identity(path, passphrase):
                done.append((path, authority.record_key("locked", recipient)))
    return done


def save_paper(home: Path, keychain: Keychain, path: Path, created: str, *, replace: bool = False) -> tuple[str, int]:
    """Write an identity for a printer; SVG when the name says so, else text.

    Args:
        home: the account's home.
        keychain: gives the identity, its first.
        path: the page, mode 0600; a regular file.
        created: when, for people.
        replace: whether a file at `path` may be replaced.

    Returns:
        The fingerprint of the identity's recipient, and the entry.

    Raises:
        ConfigError: there is no identity, or `path` is a device.
        StorageError: it cannot be written or recorded, or exists.
    """
    if os.path.lexists(path):
        if not path.is_file():
            raise ConfigError("not-a-file", f"`{path}` is no regular file", "a page goes to a file of mode 0600 only")
        if not replace:
            raise StorageError("exists", f"`{path}` exists already", "name another file, or give `--force`")
    identity = next(iter(keychain()))
    render = render_paper_svg if path.suffix.lower() == ".svg" else render_paper_text
    with Authority.open(home) as authority, atomic_writer(path, replace=replace) as dst:
        dst.write(render(identity, created).encode("utf-8"))
        entry = authority.record_key("backed-up", identity.recipient.text)
    return identity.recipient.fingerprint, entry
