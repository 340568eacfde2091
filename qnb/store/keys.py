"""Identity files: the private side, on disk or in the operating system's keyring.

Enters: a path, and where the file is wrapped a way to ask for its passphrase. Leaves: identities, or a new file and the
public recipient of what is in it.
Never: reads an identity that other accounts can read, unless a platform mounted it; replaces one by another; shows one.
Spec: what `age-keygen` writes (comments, then one identity a line), in clear or as an age file under a passphrase (C2SP
age.md, "scrypt"), armored; or, of an identity in a keyring, the line `keyring:` and the fingerprint of its recipient.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from qnb.core.seal import (
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    armor,
    generate_identity,
    is_age,
    open_,
    parse_identities,
    parse_recipient,
    seal,
)
from qnb.core.seal.scrypt import MAX_WORK_FACTOR
from qnb.errors import ConfigError, NoIdentityMatchError, RecipientError
from qnb.store.files import is_mounted_secret, overwrite, read_private, write_atomic
from qnb.store.os_keyring import forget_in_keyring, load_from_keyring, save_in_keyring

AskPassphrase = Callable[[], str]

_KEYRING = re.compile(r"^keyring:([0-9a-f]{16})$", re.MULTILINE)
_PUBLIC = re.compile(r"^# public key: (age1[0-9a-z]+)$", re.MULTILINE)
_LEAST_WORK_FACTOR = 16
_SECONDS = 1.0  # what opening the file shall cost; whoever guesses pays it for each guess


def create_identity(
    path: Path, passphrase: str | None, *, work_factor: int | None = None, keyring: bool = False
) -> str:
    """Make a post-quantum identity and write it, mode 0600, where no file stands yet.

    Args:
        path: the identity file.
        passphrase: wraps the file; None leaves it to its mode alone.
        work_factor: base-two logarithm of the scrypt cost of the wrapping; None: about a second on this machine.
        keyring: keep the identity in the operating system's keyring; the file then says only where it is.

    Returns:
        The public recipient, `age1pq1…`.

    Raises:
        StorageError: a file stands there, it cannot be written, or there is no keyring.
        RecipientError: the passphrase is empty.
    """
    identity = generate_identity()
    if keyring:
        fingerprint = identity.recipient.fingerprint
        save_in_keyring(fingerprint, identity.reveal())
        text = _text(identity, f"keyring:{fingerprint}")
    else:
        text = _text(identity, identity.reveal())
        if passphrase is not None:
            text = _wrapped(text, passphrase, work_factor)
    try:
        write_atomic(path, text, mode=0o600, replace=False)
    except BaseException:
        if keyring:
            forget_in_keyring(identity.recipient.fingerprint)
        raise
    return identity.recipient.text


def load_identities(paths: Iterable[Path], ask_passphrase: AskPassphrase | None) -> tuple[Identity, ...]:
    """The identities of several files, in order.

    Args:
        paths: identity files: plain, wrapped under a passphrase (armored or not), or in a keyring.
        ask_passphrase: called once for each wrapped file; None when nobody can be asked.

    Raises:
        ConfigError: `passphrase-needed`.
        NoIdentityMatchError: `wrong-passphrase`.
        RecipientError: a file that holds no identity, or one that does not parse.
        SealError: a wrapped file that does not parse.
        StorageError: a file that cannot be read, or that other accounts can read; a keyring that does not give it.
    """
    return tuple(identity for path in paths for identity in _load(path, ask_passphrase))


def identity_protection(path: Path) -> str | None:
    """`passphrase`, `keyring`, `mounted` or `plain`; None when the file cannot be read. Looks at the file only."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if is_age(head[:256]):
                return "passphrase"
            if _KEYRING.search(head.decode("utf-8", "replace")):
                return "keyring"
            return "mounted" if is_mounted_secret(file.fileno()) else "plain"
    except OSError:
        return None


def is_mounted(path: Path) -> bool:
    """Whether an identity file is a secret that a platform mounted."""
    try:
        with path.open("rb") as file:
            return is_mounted_secret(file.fileno())
    except OSError:
        return False


def load_recipient(path: Path) -> str | None:
    """The public recipient of an identity file, without asking for anything; None when the file does not tell.

    A wrapped file does not: then the public text that was kept beside it, `NAME.pub`, is taken.

    Raises:
        StorageError, RecipientError: as `load_identities`.
    """
    protection = identity_protection(path)
    if protection in ("plain", "mounted"):
        return load_identities([path], None)[0].recipient.text
    if protection == "keyring":
        found = _PUBLIC.search(read_private(path).decode("utf-8", "replace"))
        return None if found is None else parse_recipient(found[1]).text
    try:
        said = public_file(path).read_bytes()[:4096].decode("ascii", "replace").split()
        of = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
    # a file that speaks of another one (a stop between writing the two) tells nothing
    return parse_recipient(said[0]).text if len(said) == 2 and said[1] == f"sha256:{of}" else None


def save_recipient(path: Path, recipient: str) -> None:
    """Keep the public recipient beside an identity file, with the digest of the file that it is of.

    Raises:
        StorageError: it cannot be written.
    """
    of = hashlib.sha256(read_private(path)).hexdigest()
    write_atomic(public_file(path), f"{recipient}\nsha256:{of}\n".encode("ascii"), mode=0o644)


def public_file(path: Path) -> Path:
    """Where the public recipient of an identity file is kept."""
    return path.with_name(path.name + ".pub")


def lock_identity(path: Path, passphrase: str, *, work_factor: int | None = None) -> bool:
    """Put an identity that lies in clear, or in a keyring, under a passphrase; the keyring forgets it.

    What was in clear is overwritten, which does not reach what a file system or a backup keeps beside it.

    Returns:
        Whether anything was done: False when it is under a passphrase already.

    Raises:
        ConfigError: a mounted identity, which is not this account's to change.
        StorageError, RecipientError: as `load_identities` and `create_identity`.
    """
    protection = identity_protection(path)
    if protection == "passphrase":
        return False
    if protection == "mounted":
        raise ConfigError("identity-mounted", f"`{path}` is mounted by the platform, which protects it", None)
    identities = load_identities([path], None)
    kept = _KEYRING.search(read_private(path).decode("utf-8", "replace"))
    text = b"".join(_text(identity, identity.reveal()) for identity in identities)
    wrapped = _wrapped(text, passphrase, work_factor)
    with path.open("r+b") as old:
        write_atomic(path, wrapped, mode=0o600)
        if os.fstat(old.fileno()).st_nlink == 0:  # else it has another name: somebody's backup
            overwrite(old)
    save_recipient(path, identities[0].recipient.text)
    if kept is not None:
        forget_in_keyring(kept[1])
    return True


def choose_work_factor(clock: Callable[[], float] = time.perf_counter) -> int:
    """The scrypt work factor that costs about a second on this machine, between 16 and what is accepted on reading."""
    probe = PassphraseRecipient("probe", work_factor=14)
    spent = []
    for _ in range(3):
        start = clock()
        probe.wrap(bytes(16))
        spent.append(clock() - start)
    factor = 14
    while factor < MAX_WORK_FACTOR and min(spent) * 2 ** (factor + 1 - 14) <= _SECONDS * 1.25:
        factor += 1
    return max(_LEAST_WORK_FACTOR, factor)


def _text(identity: Identity, line: str) -> bytes:
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"# created: {created}\n# public key: {identity.recipient.text}\n{line}\n".encode("ascii")


def _wrapped(text: bytes, passphrase: str, work_factor: int | None) -> bytes:
    factor = choose_work_factor() if work_factor is None else work_factor
    return armor(seal(text, [PassphraseRecipient(passphrase, work_factor=factor)]))


def _load(path: Path, ask_passphrase: AskPassphrase | None) -> tuple[Identity, ...]:
    data = read_private(path, mounted=True)
    if is_age(data[:256]):
        if ask_passphrase is None:
            raise ConfigError(
                "passphrase-needed",
                f"`{path}` is protected by a passphrase, and nobody can be asked",
                "run it in a terminal",
            )
        try:
            data = open_(data, [PassphraseIdentity(ask_passphrase())])
        except NoIdentityMatchError:
            raise NoIdentityMatchError("wrong-passphrase", f"the passphrase does not open `{path}`") from None
    try:
        text = data.decode("utf-8")
        kept = _KEYRING.search(text)
        return parse_identities(text if kept is None else load_from_keyring(kept[1]))
    except UnicodeDecodeError:
        raise RecipientError("identity-malformed", f"`{path}` is not an identity file") from None
    except RecipientError as error:
        raise RecipientError(error.code, f"`{path}`: {error.message}", error.hint) from None
