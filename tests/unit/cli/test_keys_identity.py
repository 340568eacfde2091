"""`qnb keys rotate`, `lock`, `backup`, and what `qnb init` asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal import generate_identity, parse_identity
from qnb.store import keys
from qnb.store.keys import identity_protection, load_identities

PASSPHRASE = "correct horse"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who can be asked, and a work factor that costs nothing."""
    for module in ("keys_identity", "keys_rewrap", "seal", "init"):
        monkeypatch.setattr(f"qnb.cli.{module}.at_terminal", lambda: True)
    monkeypatch.setattr(keys, "choose_work_factor", lambda: 10)


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The names and secrets that a keyring holds."""
    held: dict[str, str] = {}
    monkeypatch.setattr(keys, "save_in_keyring", held.__setitem__)
    monkeypatch.setattr(keys, "load_from_keyring", held.__getitem__)
    monkeypatch.setattr(keys, "forget_in_keyring", held.__delitem__)
    monkeypatch.setattr("qnb.cli.init.has_keyring", lambda: True)
    return held


# --- rotate ----------------------------------------------------------------------------------------------------------


def test_rotated_account_reads_old_and_new(ada: Any) -> None:
    """The new identity is named, the old one kept; what is rewrapped on request needs the old one no more."""
    old, name = ada.identity, next(iter(ada.names()))
    ada.seal_cell(Path("n.ipynb"), "x")
    Path("d").write_text("x")
    ada.run("seal", "d", "--label", "restricted")
    said = ada.json("keys", "rotate", "--rewrap", "n.ipynb")
    assert ada.names()[name] == ada.identity.recipient.text == said["recipient"]
    assert said["previous"] == old.recipient.fingerprint
    assert load_identities([Path(said["kept"])], None)[0].recipient == old.recipient
    assert Path(said["kept"]).stat().st_mode & 0o777 == 0o600
    assert ada.opens(Path("d.age"))
    event = ada.entries("key")[-1].predicate
    assert (event["event"], event["previous"], event["fingerprint"]) == (
        "rotated",
        said["previous"],
        said["fingerprint"],
    )
    Path(said["kept"]).unlink()
    assert ada.opens(Path("n.ipynb"))
    assert not ada.opens(Path("d.age"))
    assert ada.json("verify")["held"]


def test_rotation_takes_the_dataset_keys_along(ada: Any) -> None:
    """The new identity is a member where the old one was."""
    ada.run("keys", "add", "trial", "--dataset")
    Path("d").write_text("x")
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    said = ada.json("keys", "rotate")
    assert said["datasets"] == ["trial"]
    Path(said["kept"]).unlink()
    assert ada.opens(Path("d.age"))


def test_recipient_that_the_policy_does_not_name_is_rotated_alone(ada: Any) -> None:
    """The policy is a data owner's; the new recipient is theirs to add."""
    toml = ada.home / "policy" / "qnb.toml"
    other = generate_identity().recipient.text
    toml.write_text(toml.read_text().replace(ada.identity.recipient.text, other))
    before = toml.read_bytes()
    assert "have a data owner add" in ada.run("keys", "rotate").stdout
    assert toml.read_bytes() == before


def test_rotation_keeps_the_kind_of_protection(ada: Any, keyring: dict[str, str], terminal: None) -> None:
    """A passphrase stays a passphrase, a keyring a keyring: nothing becomes weaker by itself."""
    ada.run("keys", "lock", input=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    ada.run("keys", "rotate", input="\n", rc=2)
    ada.run("keys", "rotate", input="new\nnew\n")
    assert identity_protection(ada.home / "identity") == "passphrase"
    Path("d").write_text("x")
    ada.run("seal", "d", "--label", "restricted")
    ada.run("unseal", "d.age", "--force", input="new\n")


def test_passphrase_of_an_old_identity_is_asked_for_only_when_it_is_needed(ada: Any, terminal: None) -> None:
    """And the question says which file it is about."""
    Path("d").write_text("x")
    ada.run("seal", "d", "--label", "restricted")
    ada.run("keys", "lock", input=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    ada.run("keys", "rotate", input="new\nnew\n")
    asked = ada.run("unseal", "d.age", "--force", input=f"new\n{PASSPHRASE}\n").stderr
    assert asked.count("passphrase of") == 2
    assert "identities" in asked
    ada.run("keys", "rewrap", "d.age", input=f"new\n{PASSPHRASE}\n")
    assert ada.run("unseal", "d.age", "--force", input="new\n").stderr.count("passphrase of") == 1


@pytest.mark.parametrize("stop", ["_keep", "save_recipient", "change_policy", "create_identity"])
def test_rotation_that_was_stopped_loses_nothing(ada: Any, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    """Wherever it stops: what was sealed opens, what is sealed next opens, and the next rotation goes through."""
    from qnb.store import rotation

    Path("d").write_text("x")
    ada.run("seal", "d", "--label", "restricted")
    real = getattr(rotation, stop)

    def die(*args: Any, **more: Any) -> None:
        real(*args, **more)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(rotation, stop, die)
        with pytest.raises(RuntimeError):
            ada.run("keys", "rotate")
    ada.run("seal", "d", "--label", "restricted", "-o", "e.age")
    assert ada.opens(Path("d.age"))
    assert ada.opens(Path("e.age"))
    ada.run("keys", "rotate")
    ada.run("seal", "d", "--label", "restricted", "-o", "f.age")
    for name in ("d.age", "e.age", "f.age"):
        assert ada.opens(Path(name))


# --- lock ------------------------------------------------------------------------------------------------------------


def test_lock_needs_somebody_who_can_be_asked(ada: Any) -> None:
    """Without a terminal there is no passphrase, so nothing is changed."""
    before = (ada.home / "identity").read_bytes()
    ada.run("keys", "lock", rc=2)
    assert (ada.home / "identity").read_bytes() == before


def test_lock_takes_the_old_identities_too(ada: Any, terminal: None) -> None:
    """They open what was not rewrapped, so a plain one beside a locked one would be a door left open."""
    ada.run("keys", "rotate", input="\n")
    said = ada.run("keys", "lock", input=f"{PASSPHRASE}\n{PASSPHRASE}\n").stdout
    assert said.count("locked /") == 2
    assert b"SECRET" not in b"".join(path.read_bytes() for path in ada.home.rglob("*") if path.is_file())
    assert [event.predicate["event"] for event in ada.entries("key")[-2:]] == ["locked", "locked"]
    assert "nothing was changed" in ada.run("keys", "lock").stdout
    assert "identity-unprotected" not in ada.run("doctor", "--json", rc=1).stdout
    assert ada.json("keys", "show")["own"]["recipient"].startswith("age1pq1")


def test_lock_makes_the_keyring_forget(ada: Any, keyring: dict[str, str], terminal: None) -> None:
    """Afterwards the passphrase alone opens."""
    (ada.home / "identity").unlink()
    keys.create_identity(ada.home / "identity", None, keyring=True)
    recipient = ada.json("keys", "show")["own"]["recipient"]
    ada.run("keys", "lock", input=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    assert keyring == {}
    (identity,) = load_identities([ada.home / "identity"], lambda: PASSPHRASE)
    assert identity.recipient.text == recipient


# --- backup ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id.svg", "id.txt"])
def test_page_holds_the_identity_and_is_nobody_elses(ada: Any, name: str) -> None:
    """Mode 0600, the identity in letters and as a code; nothing of it on the terminal or in the log."""
    result = ada.run("keys", "backup", name)
    page = Path(name).read_text()
    secret = ada.identity.reveal()
    assert secret[:39] in page
    assert secret[39:] in page
    assert ada.identity.recipient.fingerprint in page
    assert Path(name).stat().st_mode & 0o777 == 0o600
    assert secret[:39] not in result.output
    assert ada.entries("key")[-1].predicate["event"] == "backed-up"
    typed = "".join(line.strip() for line in (secret[:39], secret[39:]))
    assert parse_identity(typed).recipient == ada.identity.recipient


def test_page_replaces_nothing_and_goes_to_no_device(ada: Any) -> None:
    """A file of mode 0600 only."""
    Path("id.svg").write_text("old")
    ada.run("keys", "backup", "id.svg", rc=2)
    assert Path("id.svg").read_text() == "old"
    ada.run("keys", "backup", "/dev/stdout", rc=2)
    ada.run("keys", "backup", "id.svg", "--force")
    assert Path("id.svg").stat().st_mode & 0o777 == 0o600


def test_page_that_could_not_be_recorded_is_not_written(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret leaves on the record or not at all."""
    from qnb.errors import StorageError

    def full(*_: object, **__: object) -> int:
        raise StorageError("log-full", "the log cannot be written")

    monkeypatch.setattr("qnb.store.authority.Authority.record_key", full)
    ada.run("keys", "backup", "id.svg", rc=2)
    assert list(Path.cwd().iterdir()) == []


# --- init ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(account: Callable[[str], Any], ada: Any) -> Any:
    """An account that has no home yet."""
    ada.spare = account("spare")
    ada.home = ada.home.with_name("fresh")
    return ada


def test_recovery_recipient_of_init_opens_everything(fresh: Any) -> None:
    """Named in the group, sealed for, and no finding any more."""
    assert fresh.json("init", "--recovery", fresh.spare.pub)["recovery"]
    Path("d").write_text("x")
    fresh.run("seal", "d", "--label", "restricted")
    assert fresh.spare.opens(Path("d.age"))
    assert "no-recovery" not in fresh.run("doctor", "--json", rc=1).stdout


@pytest.mark.parametrize("given", ["age1pq1nonsense", "no-such-file"])
def test_recovery_recipient_that_is_none_makes_no_home(fresh: Any, given: str) -> None:
    """Half a home would look like one that has a recovery."""
    fresh.run("init", "--recovery", given, rc=2)
    assert not fresh.home.exists()


def test_recovery_of_an_account_that_exists_is_added_by_keys(ada: Any, bob: Any) -> None:
    """What is there stays; the error names the command."""
    error = ada.run("init", "--recovery", bob.pub, rc=2).exception
    assert "qnb keys add recovery-key" in str(error)


def test_init_at_a_terminal_offers_keyring_and_recovery(fresh: Any, keyring: dict[str, str], terminal: None) -> None:
    """The keyring is used when it is wanted; a word that is no recipient is asked again."""
    said = fresh.run("init", input=f"y\nnonsense\n{fresh.spare.pub}\n").stdout
    assert "protected by the keyring" in said
    assert "qnb keys backup" in said
    assert len(keyring) == 1
    assert identity_protection(fresh.home / "identity") == "keyring"
    assert set(fresh.json("keys", "show")["groups"]["recovery"]) == {"recovery-key"}
    Path("d").write_text("x")
    fresh.run("seal", "d", "--label", "restricted")
    assert fresh.opens(Path("d.age"))
    assert "identity-unprotected" not in fresh.run("doctor", "--json").stdout


def test_keyring_asked_for_where_there_is_none_is_an_error(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is not quietly replaced by something weaker; not asked for, nothing is said."""
    monkeypatch.setattr("qnb.store.os_keyring.find_keyring", lambda: None)
    fresh.run("init", "--keyring", rc=2)
    assert not (fresh.home / "identity").exists()
    assert not json.loads(fresh.run("init", "--json").stdout)["keyring"]
