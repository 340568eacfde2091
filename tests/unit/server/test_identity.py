"""The identity in the server process, by a clock of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnb.errors import ConfigError, NoIdentityMatchError, StorageError
from qnb.server.identity import IdentityKeeper
from qnb.store.keys import create_identity

PASSPHRASE = "open sesame"


class Clock:
    """Stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Time."""
    return Clock()


@pytest.fixture
def keeper(tmp_path: Path, clock: Clock) -> IdentityKeeper:
    """Of an identity under a passphrase, forgotten after a minute."""
    create_identity(tmp_path / "identity", PASSPHRASE, work_factor=10)
    return IdentityKeeper(tmp_path / "identity", 60.0, clock)


def test_identity_is_forgotten_after_the_idle_time(keeper: IdentityKeeper, clock: Clock) -> None:
    """Each opening begins it anew, asking for the state does not."""
    keeper.unlock("ada", PASSPHRASE)
    clock.now += 50
    assert len(keeper.take("ada")) == 1
    clock.now += 50
    assert keeper.describe("ada")["idle"] == 10.0
    clock.now += 10
    assert keeper.describe("ada")["state"] == "locked"
    with pytest.raises(ConfigError, match="locked"):
        keeper.take("ada")


def test_sweep_lets_go_of_the_keys_without_anybody_asking(keeper: IdentityKeeper, clock: Clock) -> None:
    """A laptop that is closed does not keep them until somebody comes back."""
    keeper.unlock("ada", PASSPHRASE)
    clock.now += 60
    keeper.sweep()
    assert keeper._unlocked == {}


def test_idle_time_of_zero_keeps_it_until_it_is_locked(tmp_path: Path, clock: Clock) -> None:
    """A choice of whoever runs the server; its state says so."""
    create_identity(tmp_path / "identity", PASSPHRASE, work_factor=10)
    keeper = IdentityKeeper(tmp_path / "identity", 0.0, clock)
    keeper.unlock("ada", PASSPHRASE)
    clock.now += 1e9
    assert keeper.describe("ada")["state"] == "open"
    assert keeper.describe("ada")["idle"] is None
    keeper.forget("ada")
    assert keeper.describe("ada")["state"] == "locked"


def test_wrong_passphrase_unlocks_nothing_and_names_no_path(keeper: IdentityKeeper, tmp_path: Path) -> None:
    """The error is for whoever asks over the network."""
    with pytest.raises(NoIdentityMatchError) as wrong:
        keeper.unlock("ada", "close sesame")
    assert wrong.value.code == "wrong-passphrase"
    assert str(tmp_path) not in str(wrong.value)
    assert keeper.describe("ada")["state"] == "locked"


def test_what_one_user_unlocked_is_not_anothers(keeper: IdentityKeeper) -> None:
    """Users of one server are told apart by their names."""
    keeper.unlock("ada", PASSPHRASE)
    with pytest.raises(ConfigError, match="locked"):
        keeper.take("bob")


def test_identity_that_was_exchanged_on_disk_has_to_be_unlocked_again(keeper: IdentityKeeper, tmp_path: Path) -> None:
    """After a rotation nobody opens with a key that is no longer there."""
    keeper.unlock("ada", PASSPHRASE)
    (tmp_path / "identity").unlink()
    with pytest.raises(ConfigError, match="no identity"):
        keeper.take("ada")
    create_identity(tmp_path / "identity", PASSPHRASE, work_factor=10)
    with pytest.raises(ConfigError, match="locked"):
        keeper.take("ada")


def test_plain_identity_is_open_and_not_kept(tmp_path: Path) -> None:
    """Its file mode is all that protects it, so it is read for each opening; one that others can read is not."""
    create_identity(tmp_path / "identity", None)
    keeper = IdentityKeeper(tmp_path / "identity", 60.0)
    assert keeper.describe("anybody")["state"] == "open"
    assert keeper.describe("anybody")["fingerprints"] == [keeper.take("anybody")[0].recipient.fingerprint]
    assert keeper._unlocked == {}
    (tmp_path / "identity").chmod(0o644)
    with pytest.raises(StorageError):
        keeper.take("anybody")
