"""Identity files: the private side, on disk.

Enters: a path, and where the file is wrapped a way to ask for its passphrase. Leaves: identities, or a new file and the
public recipient of what is in it.
Never: reads an identity that other accounts can read, replaces one, shows one.
Spec: what `age-keygen` writes (comments, then one identity a line), in clear or as an age file under a passphrase (C2SP
age.md, "scrypt"), armored.
"""

from __future__ import annotations

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
    seal,
)
from qnb.core.seal.scrypt import DEFAULT_WORK_FACTOR
from qnb.errors import ConfigError, NoIdentityMatchError, RecipientError
from qnb.store.files import read_private, write_atomic

AskPassphrase = Callable[[], str]


def create_identity(path: Path, passphrase: str | None, *, work_factor: int = DEFAULT_WORK_FACTOR) -> str:
    """Make a post-quantum identity and write it, mode 0600, where no file stands yet.

    Args:
        path: the identity file.
        passphrase: wraps the file; None leaves it to its mode alone.
        work_factor: base-two logarithm of the scrypt cost of the wrapping.

    Returns:
        The public recipient, `age1pq1…`.

    Raises:
        StorageError: a file stands there, or it cannot be written.
        RecipientError: the passphrase is empty.
    """
    identity = generate_identity()
    recipient = identity.recipient.text
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    text = f"# created: {created}\n# public key: {recipient}\n{identity.reveal()}\n".encode("ascii")
    if passphrase is not None:
        text = armor(seal(text, [PassphraseRecipient(passphrase, work_factor=work_factor)]))
    write_atomic(path, text, mode=0o600, replace=False)
    return recipient


def load_identities(paths: Iterable[Path], ask_passphrase: AskPassphrase | None) -> tuple[Identity, ...]:
    """The identities of several files, in order.

    Args:
        paths: identity files: plain, or wrapped under a passphrase (armored or not).
        ask_passphrase: called once for each wrapped file; None when nobody can be asked.

    Raises:
        ConfigError: `passphrase-needed`.
        NoIdentityMatchError: `wrong-passphrase`.
        RecipientError: a file that holds no identity, or one that does not parse.
        SealError: a wrapped file that does not parse.
        StorageError: a file that cannot be read, or that other accounts can read.
    """
    return tuple(identity for path in paths for identity in _load(path, ask_passphrase))


def identity_protection(path: Path) -> str | None:
    """`passphrase` or `plain`; None when the file cannot be read. Looks at the first bytes only."""
    try:
        with path.open("rb") as file:
            return "passphrase" if is_age(file.read(256)) else "plain"
    except OSError:
        return None


def _load(path: Path, ask_passphrase: AskPassphrase | None) -> tuple[Identity, ...]:
    data = read_private(path)
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
        return parse_identities(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipientError("identity-malformed", f"`{path}` is not an identity file") from None
    except RecipientError as error:
        raise RecipientError(error.code, f"`{path}`: {error.message}", error.hint) from None
