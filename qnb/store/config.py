"""The account's state folder: where it is, who it belongs to, the policy in it, and how it is made.

Enters: `QNB_HOME`, the account of this process, files under the home. Leaves: a home, a principal, a policy.
Never: overwrites anything, takes an environment variable's word for who asks, falls back to the default policy when the
account's own cannot be read.
Spec: DESIGN.md "The surface" (state under QNB_HOME), "First use".
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from qnb.core.checkpoint import format_signer, generate_signer, parse_signer
from qnb.core.policy import FILES, Policy, parse_policy
from qnb.core.policy_edit import add_recipient
from qnb.errors import ConfigError, PolicyError, StorageError
from qnb.model import Assurance, Principal
from qnb.store.files import read_private, write_atomic
from qnb.store.keys import create_identity, save_recipient
from qnb.store.mounts import network_filesystem

__all__ = [
    "HomeReport", "check_home", "ensure_home", "home", "hub_user", "init_home", "load_policy", "load_policy_folder",
    "locked", "network_filesystem", "principal",
]  # fmt: skip

_LOG_FILES = ("log.key", "log.vkey")


@dataclass(frozen=True, slots=True)
class HomeReport:
    """What making a home did.

    Attributes:
        home: the folder.
        created: what was made now, by name.
        recipient: of the identity made now, None when none was made.
        passphrase: whether the identity made now is protected by one.
        keyring: whether the identity made now is in the operating system's keyring.
        recovery: whether the policy made now names a recovery recipient.
        listed: whether the policy names a recipient for classified outputs; if not, nothing can be sealed.
    """

    home: Path
    created: tuple[str, ...] = ()
    recipient: str | None = None
    passphrase: bool = False
    listed: bool = True
    keyring: bool = False
    recovery: bool = False

    @property
    def identity(self) -> Path:
        """Where the identity is."""
        return self.home / "identity"

    @property
    def backup(self) -> str:
        """The command that copies the identity; without it sealed outputs cannot be opened."""
        if self.keyring:  # the file says only where it is
            return "qnb keys backup identity.svg"
        return f"cp -p {shlex.quote(str(self.identity))} /a/safe/place/"


def home() -> Path:
    """`QNB_HOME`, else the platform's folder for user data. It need not exist."""
    chosen = os.environ.get("QNB_HOME")
    path = Path(chosen).expanduser() if chosen else platformdirs.user_data_path("qnb", appauthor=False)
    return path.absolute()


def principal() -> Principal:
    """The account that this process runs as, from the operating system."""
    if sys.platform == "win32":
        return Principal(os.getlogin(), None, Assurance.OS)  # GetUserNameW, not the environment
    import pwd

    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container that runs as a number
        name = f"uid-{uid}"
    return Principal(name, uid, Assurance.OS)


def hub_user() -> str | None:
    """The user that JupyterHub started this server for; None outside a hub."""
    return os.environ.get("JUPYTERHUB_USER") or None


def load_policy(home: Path) -> Policy:
    """The policy in `home/policy` if there is such a folder, else the packaged default.

    Raises:
        PolicyError: it cannot be read, parsed or validated; the message names the file and the place.
    """
    folder = home / "policy"
    return load_policy_folder(folder) if os.path.lexists(folder) else parse_policy(*_packaged_policy())


def load_policy_folder(folder: Path) -> Policy:
    """The policy in a folder of any place.

    Raises:
        PolicyError: it cannot be read, parsed or validated; the message names the file and the place.
    """
    try:
        contents = {name: (folder / name).read_bytes() for name in FILES}
    except OSError as error:
        missing = error.filename or folder
        raise PolicyError(
            "policy-unreadable",
            f"`{missing}` cannot be read: {(error.strerror or 'input/output error').lower()}",
            f"restore it; a policy folder holds {', '.join(FILES)}",
        ) from None
    try:
        return parse_policy(contents["qnb.toml"], contents["policy.cedar"], contents["policy.cedarschema"])
    except PolicyError as error:
        hint = error.hint or "mend it, or put back the version that held; `qnb policy check` tries it"
        raise PolicyError(error.code, f"{folder}{os.sep}{error.message}", hint) from None


def check_home(home: Path, mounts: str | None = None) -> None:
    """The home can hold a log.

    Raises:
        StorageError: it lies on a network file system, is no folder, or belongs to another account.
    """
    kind = network_filesystem(home, mounts)
    if kind is not None:
        raise StorageError(
            "network-filesystem",
            f"`{home}` is on a network file system ({kind}), where two machines at once would tear the log",
            "set QNB_HOME to a folder on a local disk",
        )
    try:
        status = home.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(home, error) from None
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError("home-not-a-folder", f"`{home}` is not a folder", "set QNB_HOME to a folder of your own")
    # the default policy gives its roles to whoever the home belongs to
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        raise StorageError(
            "home-of-another", f"`{home}` belongs to another account", "set QNB_HOME to a folder of your own"
        )


def init_home(
    home: Path,
    *,
    passphrase: str | None = None,
    identity: bool = True,
    keyring: bool = False,
    recovery: str | None = None,
) -> HomeReport:
    """Make what is missing of a home: identity, policy, log keys. What is there stays as it is.

    Args:
        home: made with mode 0700 if missing.
        passphrase: protects the identity; None: its file mode alone does.
        identity: whether to make one, and with it a policy that names its recipient.
        keyring: keep the identity in the operating system's keyring.
        recovery: a recipient that the policy names in the group `recovery`.

    Raises:
        ConfigError: a recovery recipient was given, and there is a policy already.
        StorageError: the home cannot be used or written, there is no keyring, or keys of an existing log are gone.
        PolicyError: the policy that is there cannot be used, or the recovery recipient is none.
    """
    check_home(home)
    if recovery is not None and any(os.path.lexists(home / name) for name in ("identity", "policy")):
        raise ConfigError(
            "policy-exists",
            "there is an identity or a policy already, and they stay as they are",
            "name the recipient with `qnb keys add recovery-key RECIPIENT --group recovery`",
        )
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(home, error) from None
    with locked(home):
        created: list[str] = []
        recipient: str | None = None
        if identity and not os.path.lexists(home / "identity"):
            recipient, created = _make_identity(home, passphrase, recovery, keyring=keyring)
        created += _make_log_keys(home)
        policy = load_policy(home)
    listed = bool(policy.recipients(policy.handling(policy.scheme.cell).recipients))
    made = recipient is not None
    return HomeReport(
        home,
        tuple(created),
        recipient,
        passphrase is not None and made and not keyring,
        listed,
        keyring and made,
        recovery is not None,
    )


def ensure_home(home: Path) -> HomeReport:
    """First use: make what is missing, and an identity only if the policy names nobody to seal for.

    Raises:
        StorageError, PolicyError: as `init_home`.
    """
    check_home(home)
    if all(os.path.lexists(home / name) for name in ("identity", "policy", *_LOG_FILES)):
        return HomeReport(home)
    policy = load_policy(home)
    named = policy.recipients(policy.handling(policy.scheme.cell).recipients)
    return init_home(home, identity=not named)


def _make_identity(
    home: Path, passphrase: str | None, recovery: str | None, *, keyring: bool
) -> tuple[str | None, list[str]]:
    """Identity, and a policy that names it where there is none. A kill at any point leaves what the next run finishes.

    The identity waits under another name until a policy stands: an identity that no policy names would stay unused, and
    a wrapped one cannot be asked for its recipient.
    """
    waiting, folder = home / ".identity.new", home / "policy"
    recipient: str | None = None
    try:
        if os.path.lexists(waiting) and not os.path.lexists(folder):
            waiting.unlink()  # no policy ever named it, so nothing was sealed for it
        if not os.path.lexists(waiting):
            recipient = create_identity(waiting, passphrase, keyring=keyring)
        created = ["identity"]
        if recipient is not None and not os.path.lexists(folder):
            _write_policy(home, recipient, recovery)
            created.append("policy")
        waiting.rename(home / "identity")
        if recipient is not None:
            save_recipient(home / "identity", recipient)
        _sync(home)
    except OSError as error:
        raise _unusable(home, error) from None
    return recipient, created


def _packaged_policy() -> tuple[bytes, bytes, bytes]:
    folder = resources.files("qnb").joinpath("policies")
    toml, cedar, schema = (
        folder.joinpath(name).read_bytes() for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")
    )
    return toml, cedar, schema


def _write_policy(home: Path, recipient: str, recovery: str | None) -> None:
    """Copy the default policy with one recipient in `owners`; the folder appears whole or not at all."""
    toml, cedar, schema = _packaged_policy()
    name = re.sub(r"[^A-Za-z0-9._@+-]", "-", principal().name).lstrip("._@+-") or "owner"
    name = f"{name}-key" if name in parse_policy(toml, cedar, schema).recipient_names() else name
    filled = add_recipient(toml, name, recipient, ("owners",))
    if recovery is not None:
        spare = "recovery-key" if name != "recovery-key" else "recovery-key-2"
        filled = add_recipient(filled, spare, recovery, ("recovery",))
    parse_policy(filled, cedar, schema)  # refuses a recovery recipient that is none before anything is written
    try:
        # a folder of its own that is then renamed: a kill in between leaves no half policy, which would be an error
        folder = Path(tempfile.mkdtemp(prefix=".policy.", dir=home))
        for file, data in {"qnb.toml": filled, "policy.cedar": cedar, "policy.cedarschema": schema}.items():
            write_atomic(folder / file, data, replace=False)
        folder.rename(home / "policy")
        _sync(home)
    except OSError as error:
        raise _unusable(home / "policy", error) from None


def _make_log_keys(home: Path) -> list[str]:
    key, vkey = home / "log.key", home / "log.vkey"
    if os.path.lexists(key):
        if os.path.lexists(vkey):
            return []
        # a kill between the two: the public keys follow from the private ones
        signer = parse_signer(read_private(key).decode("ascii", "replace"))
        write_atomic(vkey, signer.vkeys.format().encode("ascii"), mode=0o644, replace=False)
        return ["log.vkey"]
    for other in ("log.db", "log.vkey"):
        if os.path.lexists(home / other):
            raise StorageError(
                "log-key-missing",
                f"`{key}` is gone, but `{home / other}` is there: new keys could not continue that log",
                f"restore log.key from a backup, or move {other} away to begin a new log",
            )
    signer = generate_signer(f"qnb/log/{secrets.token_hex(8)}")
    write_atomic(key, format_signer(signer).encode("ascii"), replace=False)
    write_atomic(vkey, signer.vkeys.format().encode("ascii"), mode=0o644, replace=False)
    return list(_LOG_FILES)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """One process at a time makes or changes a home: two that did at once would each keep half of what they made."""
    try:
        handle = os.open(home / ".init.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(home, error) from None
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # and with it the lock


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        "home-unusable",
        f"`{path}` cannot be used: {(error.strerror or 'input/output error').lower()}",
        "set QNB_HOME to a folder that this account can write to",
    )
