"""Keys of datasets and classifications: made, rotated, destroyed.

Enters: a home and the name of a key. Leaves: `keys/NAME.age`, the key's identities sealed for its members; or, of one
that was destroyed, `keys/NAME.shredded`.
Never: writes such an identity in clear; destroys a key that a level is sealed to; takes up a name that was shredded.
Spec: docs/adr/0010-dataset-keys.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qnb.core.policy import Policy
from qnb.core.policy_edit import add_dataset, remove_recipient, replace_recipient
from qnb.core.seal import Identity, generate_identity, parse_recipient, seal
from qnb.errors import ConfigError, NoIdentityMatchError, QnbError, StorageError
from qnb.model import Decision
from qnb.store.authority import Authority
from qnb.store.config import load_policy, locked
from qnb.store.files import destroy_file, write_atomic
from qnb.store.history import History
from qnb.store.keychain import Keychain, Shredded, load_shredded, open_dataset, save_shredded
from qnb.store.recipients import PolicyChange, change_policy, members_of, share_request

_RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class DatasetKey:
    """A dataset key made or rotated: its recipient, the fingerprints of its members, where its identity lies."""

    recipient: str
    members: tuple[str, ...]
    path: Path
    change: PolicyChange


@dataclass(frozen=True, slots=True)
class Erasure:
    """What destroying a key did: when, fingerprints of what was destroyed, how many known ciphertexts it closes."""

    time: str
    fingerprints: tuple[str, ...]
    ciphertexts: int
    decision: int | None
    entry: int


def dataset_file(home: Path, name: str) -> Path:
    """Where the identities of a dataset are.

    Raises:
        ConfigError: the name is none, and would lead elsewhere.
    """
    if Path(name).name != name or name.startswith("."):
        raise ConfigError("bad-name", f"`{name[:64]}` is not the name of a key", "`qnb keys show` lists them")
    return home / "keys" / f"{name}.age"


def make_dataset(home: Path, name: str, members: Sequence[str] = ()) -> DatasetKey:
    """Make a key for a dataset or a classification, and name it in the policy.

    Args:
        home: the account's home.
        name: of the key.
        members: groups or recipients that can open with it; none: those of a bare `%%qsecure`. `recovery` always can.

    Raises:
        DeniedError: this account may not share at the highest level.
        ConfigError: the name is taken or was shredded, or there would be no member.
        PolicyError, StorageError: as `change_policy`.
    """
    if any(key.name == name for key in load_shredded(home)):
        raise ConfigError("name-shredded", f"a key `{name}` was shredded here", "take another name")
    policy = load_policy(home)
    chosen = tuple(dict.fromkeys(members or policy.handling(policy.scheme.cell).recipients))
    if _RECOVERY in policy.data.groups and _RECOVERY not in chosen:
        chosen = (*chosen, _RECOVERY)
    identity, path = generate_identity(), dataset_file(home, name)
    recipient = identity.recipient.text
    prints: list[str] = []

    @contextmanager
    def prepare(proposed: Policy, decision: Decision) -> Iterator[None]:  # noqa: ARG001 -- the shape of a preparation
        prints.extend(_save(path, (identity,), members_of(proposed, name), replace=False))
        try:
            yield
        except BaseException:
            path.unlink(missing_ok=True)  # nothing was sealed to it
            raise

    facts = {"name": name, "members": prints}
    change = change_policy(
        home,
        lambda toml: add_dataset(toml, name, recipient, chosen),
        (name,),
        ("created", recipient, facts),
        named_after=True,
        prepare=prepare,
    )
    return DatasetKey(recipient, tuple(prints), path, change)


def rotate_dataset(home: Path, name: str, keychain: Keychain) -> DatasetKey:
    """Give a dataset a new identity, sealed with those before it for the members as they are now.

    Whoever was a member keeps what the old identity opens until that is rewrapped, and in copies for ever.

    Raises:
        NoIdentityMatchError: this account is no member, so it cannot hand on the identities before.
        DeniedError, ConfigError, PolicyError, StorageError: as `make_dataset`.
    """
    policy = load_policy(home)
    if name not in policy.data.datasets:
        raise ConfigError("unknown-dataset", f"the policy has no dataset key `{name}`", "`qnb keys show` lists them")
    path, old = dataset_file(home, name), policy.data.recipients[name]
    before = _open_member(path, name, keychain)
    identity = generate_identity()
    recipient = identity.recipient.text
    prints: list[str] = []

    @contextmanager
    def prepare(proposed: Policy, decision: Decision) -> Iterator[None]:  # noqa: ARG001 -- as above
        # old and new together, so that a stop at any point leaves everything readable
        prints.extend(_save(path, (identity, *before), members_of(proposed, name), replace=True))
        yield

    facts = {"name": name, "previous": old, "members": prints}
    change = change_policy(
        home,
        lambda toml: replace_recipient(toml, old, recipient),
        (name,),
        ("rotated", recipient, facts),
        named_after=True,
        prepare=prepare,
    )
    return DatasetKey(recipient, tuple(prints), path, change)


def reseal_dataset(home: Path, name: str, keychain: Keychain) -> tuple[tuple[str, ...], int]:
    """Seal the identities of a dataset for its members as the policy now names them.

    Whoever was one keeps the file that they have: taking somebody out needs `rotate_dataset`.

    Returns:
        Fingerprints of the members, and the entry.

    Raises:
        DeniedError: this account may not share at the highest level.
        NoIdentityMatchError: this account is no member.
        ConfigError, StorageError: there is no key file, or it cannot be written.
    """
    policy, path = load_policy(home), dataset_file(home, name)
    identities = _open_member(path, name, keychain)
    with locked(home), Authority.open(home) as authority:
        decision = authority.require(share_request(authority.principal, policy, (name,)))
        prints = _save(path, identities, members_of(policy, name), replace=True)
        recipient = policy.data.recipients[name]
        entry = authority.record_key("resealed", recipient, decision=decision.entry, name=name, members=prints)
    return prints, entry


def shred_dataset(home: Path, name: str, keychain: Keychain) -> Erasure:
    """Destroy the identities of a dataset: what was sealed to them can be opened by nobody who kept no copy of them.

    Begun again after a stop, it goes on where it stopped.

    Args:
        home: the account's home.
        name: of the key.
        keychain: opens a key that was made in another account, to know which one it was.

    Raises:
        DeniedError: this account may not share at the highest level.
        ConfigError: there is no such key, or the policy seals a level to it.
        PolicyError, StorageError: as `change_policy`; the key cannot be destroyed, or the erasure not be recorded.
    """
    policy = load_policy(home)
    path, tombstone = dataset_file(home, name), _tombstone(home, name)
    named = name in policy.data.datasets
    if not named and not path.exists() and tombstone is None:
        raise ConfigError("unknown-dataset", f"there is no dataset key `{name}` here", "`qnb keys show` lists them")
    for level in policy.data.handling.values():
        if name in level.recipients:
            raise ConfigError(
                "key-in-use",
                f"`{level.level}` outputs are sealed to `{name}`: without it they could not be sealed",
                f"name other recipients under [levels.{level.level}] in qnb.toml first",
            )
    text = policy.data.recipients[name] if named else None
    with Authority.open(home) as authority:
        prints = History.of(home).fingerprints_of(name)
        if text is None:
            request = share_request(authority.principal, policy, _anybody(policy))
            session, decision = authority.run, authority.require(request).entry
    if text is not None:
        prints = tuple(dict.fromkeys((parse_recipient(text).fingerprint, *prints)))
        # first, so that nothing more is sealed to what nobody will open
        facts = ("removed", text, {"name": name})
        change = change_policy(home, lambda toml: remove_recipient(toml, name), (name,), facts, named_after=False)
        session, decision = change.session, change.decision
    if not prints and path.exists():  # made in another account
        with suppress(QnbError):
            prints = tuple(one.recipient.fingerprint for one in open_dataset(path, keychain()) or ())
    if tombstone is None:
        tombstone = Shredded(name, prints, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
        with locked(home):
            (home / "keys").mkdir(mode=0o700, exist_ok=True)
            save_shredded(home, tombstone)
    destroy_file(path)
    known = History.of(home).count_sealed_to(tombstone.fingerprints)
    with Authority.open(home) as authority:
        entry = authority.record_key(
            "shredded",
            name if text is None else text,
            session=session,
            decision=decision,
            name=name,
            erased=tombstone.fingerprints,
            ciphertexts=known,
        )
    return Erasure(tombstone.time, tombstone.fingerprints, known, decision, entry)


def _save(path: Path, identities: Sequence[Identity], members: Sequence[str], *, replace: bool) -> tuple[str, ...]:
    if not members:
        raise ConfigError("no-members", f"nobody is named who could open with `{path.stem}`", "name them with `--for`")
    recipients = [parse_recipient(text) for text in members]
    text = "".join(f"{identity.reveal()}\n" for identity in identities)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or "input/output error").lower()
        raise StorageError("not-written", f"`{path.parent}` cannot be made: {reason}", "check the home") from None
    write_atomic(path, seal(text.encode("ascii"), recipients), replace=replace)
    return tuple(recipient.fingerprint for recipient in recipients)


def _open_member(path: Path, name: str, keychain: Keychain) -> tuple[Identity, ...]:
    if not path.exists():
        raise ConfigError("no-key-file", f"there is no key file `{path}`", "put back a copy from a backup")
    identities = open_dataset(path, keychain())
    if identities is None:
        raise NoIdentityMatchError(
            "not-a-member", f"none of your identities opens the key `{name}`", "have one of its members rotate it"
        )
    return identities


def _tombstone(home: Path, name: str) -> Shredded | None:
    return next((key for key in load_shredded(home) if key.name == name), None)


def _anybody(policy: Policy) -> tuple[str, ...]:
    """Whom a question about a key is asked for that the policy no longer names: the readers of the highest level."""
    return policy.handling(policy.scheme.parse(policy.scheme.levels[-1])).recipients
