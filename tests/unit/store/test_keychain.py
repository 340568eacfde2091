"""What an account opens with, in which order, and what is asked for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qnb.core.seal import Identity, PassphraseRecipient, armor, generate_identity, seal
from qnb.errors import ConfigError, NoIdentityMatchError, StorageError
from qnb.store.keychain import Keychain, Shredded, load_shredded, save_shredded

OWN, OLD, KEY, KEY_BEFORE, OTHER = (generate_identity(lambda n, i=i: bytes([i]) * n) for i in range(1, 6))


def write(path: Path, *identities: Identity, passphrase: str | None = None, to: Identity | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    data = "".join(f"{one.reveal()}\n" for one in identities).encode()
    if passphrase is not None:
        data = armor(seal(data, [PassphraseRecipient(passphrase, work_factor=2)]))
    if to is not None:
        data = seal(data, [to.recipient])
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An identity under a passphrase, one from before, a key that it opens and one that it does not."""
    write(tmp_path / "identity", OWN, passphrase="new")
    write(tmp_path / "identities" / OLD.recipient.fingerprint, OLD, passphrase="old")
    write(tmp_path / "keys" / "trial.age", KEY, KEY_BEFORE, to=OWN)
    write(tmp_path / "keys" / "foreign.age", OTHER, to=OTHER)
    return tmp_path


@pytest.fixture
def asking() -> tuple[list[str], Callable[[Path], str]]:
    """What was asked for, and somebody who answers rightly."""
    asked: list[str] = []

    def ask(path: Path) -> str:
        asked.append(path.name)
        return "new" if path.name == "identity" else "old"

    return asked, ask


def test_identities_come_in_order_and_are_asked_for_as_they_are_needed(
    home: Path, asking: tuple[list[str], Callable[[Path], str]]
) -> None:
    """One's own, the dataset keys that it opens, then those from before; each passphrase once."""
    asked, ask = asking
    chain = Keychain(home, ask)
    found = iter(chain())
    assert [next(found).recipient for _ in range(3)] == [one.recipient for one in (OWN, KEY, KEY_BEFORE)]
    assert asked == ["identity"]
    assert next(found).recipient == OLD.recipient
    assert [one.recipient for one in chain()] == [one.recipient for one in (OWN, KEY, KEY_BEFORE, OLD)]
    assert asked == ["identity", OLD.recipient.fingerprint]
    assert [chain.dataset_of(one) for one in chain] == [None, "trial", "trial", None]


def test_nobody_to_ask_leaves_out_what_needs_asking(home: Path) -> None:
    """One's own must be there; an old one under a passphrase is as good as not here."""
    with pytest.raises(ConfigError) as caught:
        Keychain(home, None)()
    assert caught.value.code == "passphrase-needed"
    write(home / "identity", OWN)
    assert [one.recipient for one in Keychain(home, None)()] == [one.recipient for one in (OWN, KEY, KEY_BEFORE)]


def test_wrong_passphrase_is_told_each_time_and_asked_for_once(home: Path) -> None:
    """The second output does not say that nothing fits, and does not ask again."""
    asked: list[str] = []

    def ask(path: Path) -> str:
        asked.append(path.name)
        return "new"

    chain = Keychain(home, ask)
    for _ in range(2):
        with pytest.raises(NoIdentityMatchError) as caught:
            list(chain)
        assert caught.value.code == "wrong-passphrase"
    assert len(asked) == 2


def test_files_that_are_named_take_the_place_of_ones_own(home: Path, tmp_path: Path) -> None:
    """As `-i` of age; dataset keys that they open are found all the same."""
    write(tmp_path / "given", OTHER)
    chain = Keychain(home, None, [tmp_path / "given"])
    found = list(chain())
    assert [one.recipient for one in found] == [OTHER.recipient] * 2
    assert chain.dataset_of(found[1]) == "foreign"


def test_home_without_an_identity_is_told(tmp_path: Path) -> None:
    """With the way on."""
    with pytest.raises(ConfigError, match="no identity"):
        Keychain(tmp_path, None)()


def test_shredded_key_is_used_under_no_name(home: Path) -> None:
    """Neither its file nor a copy of it; only what was destroyed is refused, identity by identity."""
    write(home / "identity", OWN)
    save_shredded(home, Shredded("trial", (KEY.recipient.fingerprint,), "2026-11-25T10:00:00Z"))
    (home / "keys" / "copy.age").write_bytes((home / "keys" / "trial.age").read_bytes())
    chain = Keychain(home, None)
    assert [one.recipient for one in chain()] == [OWN.recipient, KEY_BEFORE.recipient]
    error = NoIdentityMatchError("no-identity-match", "none opens it")
    assert "`trial`" in chain.explain(error, [KEY.recipient.fingerprint]).message
    assert chain.explain(error, ["0" * 16]) is error
    other = NoIdentityMatchError("wrong-passphrase", "wrong")
    assert chain.explain(other, [KEY.recipient.fingerprint]) is other


def test_word_on_a_shredded_key_that_is_damaged_opens_nothing(home: Path) -> None:
    """What it said is not known, so nothing is taken for not shredded."""
    write(home / "identity", OWN)
    (home / "keys" / "x.shredded").write_text("{}")
    with pytest.raises(StorageError):
        load_shredded(home)
    with pytest.raises(StorageError):
        list(Keychain(home, None)())
