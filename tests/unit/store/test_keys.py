from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qnb.core.seal import (
    PassphraseRecipient,
    armor,
    generate_identity,
    is_age,
    open_,
    parse_recipient,
    seal,
)
from qnb.errors import ConfigError, NoIdentityMatchError, RecipientError, SealError, StorageError
from qnb.store import keys
from qnb.store.keys import (
    choose_work_factor,
    create_identity,
    identity_protection,
    load_identities,
    load_recipient,
    lock_identity,
    public_file,
    save_recipient,
)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_identity_made_is_what_age_keygen_writes(tmp_path: Path) -> None:
    """Comments with the time and the public key, then the identity; mode 0600; it opens what is sealed for it."""
    path = tmp_path / "identity"
    recipient = create_identity(path, None)
    created, public, secret = path.read_text().splitlines()
    assert re.fullmatch(r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)
    assert public == f"# public key: {recipient}"
    assert secret.startswith("AGE-SECRET-KEY-PQ-1")
    assert path.stat().st_mode & 0o777 == 0o600
    sealed = seal(b"content", [parse_recipient(recipient)])
    assert open_(sealed, load_identities([path], None)) == b"content"
    assert identity_protection(path) == "plain"


def test_identity_under_a_passphrase_is_an_age_file(tmp_path: Path) -> None:
    """The file is armored, holds no secret in clear, and opens with the passphrase only."""
    path = tmp_path / "identity"
    recipient = create_identity(path, "open sesame", work_factor=4)
    data = path.read_bytes()
    assert is_age(data)
    assert b"SECRET" not in data
    assert identity_protection(path) == "passphrase"
    (identity,) = load_identities([path], lambda: "open sesame")
    assert identity.recipient.text == recipient
    with pytest.raises(NoIdentityMatchError) as caught:
        load_identities([path], lambda: "wrong")
    assert caught.value.code == "wrong-passphrase"
    with pytest.raises(ConfigError) as asked:
        load_identities([path], None)
    assert asked.value.code == "passphrase-needed"


def test_identity_that_exists_is_never_replaced(tmp_path: Path) -> None:
    """Making one twice would lose the first, and with it everything sealed for it."""
    path = tmp_path / "identity"
    create_identity(path, None)
    before = path.read_bytes()
    with pytest.raises(StorageError):
        create_identity(path, None)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["identity"]


def test_empty_passphrase_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """An empty answer is no protection."""
    with pytest.raises(RecipientError):
        create_identity(tmp_path / "identity", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_identity_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says what to do."""
    path = tmp_path / "identity"
    create_identity(path, None)
    path.chmod(mode)
    with pytest.raises(StorageError) as caught:
        load_identities([path], None)
    assert caught.value.hint is not None
    assert "chmod 600" in caught.value.hint


def test_several_files_and_identities_are_read_in_order(tmp_path: Path) -> None:
    """As `-i` of age: several files, several identities in one, wrapped ones armored or not, comments between."""
    made = [generate_identity() for _ in range(4)]
    both = f"# two\n{made[0].reveal()}\n\n{made[1].reveal()}\r\n".encode()
    wrapped = seal(made[2].reveal().encode(), [PassphraseRecipient("two", work_factor=2)])
    armored = armor(seal(made[3].reveal().encode(), [PassphraseRecipient("three", work_factor=2)]))
    paths = [write(tmp_path / name, data) for name, data in (("1", both), ("2", wrapped), ("3", armored))]
    answers = iter(["two", "three"])
    loaded = load_identities(paths, lambda: next(answers))
    assert [i.recipient for i in loaded] == [i.recipient for i in made]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", RecipientError),
        (b"# only a comment\n", RecipientError),
        (b"\xff\xfe", RecipientError),
        (b"AGE-SECRET-KEY-PQ-1QQQQ\n", RecipientError),
        (b"age-encryption.org/v1\n", SealError),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", SealError),
    ],
)
def test_file_that_is_no_identity_is_named_without_its_content(
    tmp_path: Path, data: bytes, error: type[Exception]
) -> None:
    """A wrong file is an error with a name, and what is in it is not repeated."""
    path = write(tmp_path / "identity", data)
    with pytest.raises(error) as caught:
        load_identities([path], lambda: "x")
    assert "SECRET" not in str(caught.value)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """No file is a storage error, and has no protection to speak of."""
    with pytest.raises(StorageError):
        load_identities([tmp_path / "none"], None)
    assert identity_protection(tmp_path / "none") is None


# --- mounted by a platform -------------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An identity file as a platform would mount it; what is not so can be said."""

    def make(*, mode: int = 0o440, other: bool = True, readonly: bool = True) -> Path:
        path = tmp_path / f"secret-{mode:o}-{other}-{readonly}"
        create_identity(path, None)
        path.chmod(mode)
        stat, statvfs, own = os.fstat, os.fstatvfs, os.geteuid()

        def owned(descriptor: int) -> os.stat_result:
            fields = list(stat(descriptor))
            fields[4] = own + 1 if other else own
            return os.stat_result(fields)

        def flagged(descriptor: int) -> os.statvfs_result:
            fields = list(statvfs(descriptor))
            fields[8] = fields[8] | os.ST_RDONLY if readonly else fields[8] & ~os.ST_RDONLY
            return os.statvfs_result(fields)

        monkeypatch.setattr("qnb.store.files.os.fstat", owned)
        monkeypatch.setattr("qnb.store.files.os.fstatvfs", flagged)
        return path

    return make


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_mounted_identity_is_taken_as_it_is(mount: Callable[..., Path], mode: int) -> None:
    """Of another account, 0400 or 0440, on a read-only mount: that is how a hub hands a secret to one process."""
    path = mount(mode=mode)
    assert identity_protection(path) == "mounted"
    (identity,) = load_identities([path], None)
    assert load_recipient(path) == identity.recipient.text
    with pytest.raises(ConfigError) as caught:
        lock_identity(path, "p")
    assert caught.value.code == "identity-mounted"


@pytest.mark.parametrize(
    "case",
    [
        {"other": False},
        {"readonly": False},
        {"mode": 0o444},
        {"mode": 0o460},
        {"mode": 0o640},
        {"mode": 0o450},
    ],
)
def test_anything_but_a_mounted_secret_is_refused(mount: Callable[..., Path], case: dict[str, object]) -> None:
    """One's own file that the group reads, a mount that can be written, a mode that lets others in."""
    path = mount(**case)
    with pytest.raises(StorageError) as caught:
        load_identities([path], None)
    assert caught.value.code == "open-to-others"


# --- the public side, the work factor, locking -----------------------------------------------------------------------


def test_recipient_is_known_without_a_passphrase(tmp_path: Path) -> None:
    """It is kept beside the wrapped file, and says of which file it speaks: of another one it says nothing."""
    path = tmp_path / "identity"
    recipient = create_identity(path, "p", work_factor=2)
    assert load_recipient(path) is None
    save_recipient(path, recipient)
    assert load_recipient(path) == recipient
    path.unlink()
    create_identity(path, "p", work_factor=2)
    assert load_recipient(path) is None
    plain = tmp_path / "plain"
    assert load_recipient(plain) is None
    assert create_identity(plain, None) == load_recipient(plain)


@pytest.mark.parametrize(
    ("seconds", "factor"), [(10.0, 16), (0.3, 16), (0.125, 17), (0.04, 18), (0.02, 19), (1e-6, 20)]
)
def test_work_factor_is_what_costs_a_second_here(seconds: float, factor: int) -> None:
    """Measured at 2^14, within what is accepted on reading and what is worth its name."""
    ticks = iter([0.0, 9e9, 0.0, seconds, 0.0, 9e9])
    assert choose_work_factor(lambda: next(ticks)) == factor


def test_locked_identity_opens_with_the_passphrase_alone(tmp_path: Path) -> None:
    """The same identities, wrapped; nothing of them in clear is left; a second time there is nothing to do."""
    made = [generate_identity() for _ in range(2)]
    path = write(tmp_path / "identity", "".join(f"{one.reveal()}\n" for one in made).encode())
    with path.open("rb") as old:
        assert lock_identity(path, "open sesame", work_factor=2)
        assert set(old.read()) == {0}  # what was there before is overwritten
    assert identity_protection(path) == "passphrase"
    assert [one.recipient for one in load_identities([path], lambda: "open sesame")] == [one.recipient for one in made]
    assert load_recipient(path) == made[0].recipient.text
    assert b"SECRET" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    before = path.read_bytes()
    assert not lock_identity(path, "other", work_factor=2)
    assert path.read_bytes() == before


def test_backup_that_is_a_second_name_is_not_overwritten(tmp_path: Path) -> None:
    """Locking destroys what it replaces, not what somebody else keeps of it."""
    path = tmp_path / "identity"
    create_identity(path, None)
    os.link(path, tmp_path / "backup")
    before = path.read_bytes()
    lock_identity(path, "p", work_factor=2)
    assert (tmp_path / "backup").read_bytes() == before


# --- the keyring -----------------------------------------------------------------------------------------------------


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The names and secrets that a keyring holds."""
    held: dict[str, str] = {}
    monkeypatch.setattr(keys, "save_in_keyring", held.__setitem__)
    monkeypatch.setattr(keys, "load_from_keyring", held.__getitem__)
    monkeypatch.setattr(keys, "forget_in_keyring", held.__delitem__)
    return held


def test_identity_in_a_keyring_is_not_in_its_file(tmp_path: Path, keyring: dict[str, str]) -> None:
    """The file says where it is and which it is; the identity itself is in the keyring alone."""
    path = tmp_path / "identity"
    recipient = create_identity(path, None, keyring=True)
    assert b"SECRET" not in path.read_bytes()
    assert list(keyring) == [parse_recipient(recipient).fingerprint]
    assert (identity_protection(path), load_recipient(path)) == ("keyring", recipient)
    (identity,) = load_identities([path], None)
    assert identity.recipient.text == recipient


def test_lock_takes_an_identity_out_of_the_keyring(tmp_path: Path, keyring: dict[str, str]) -> None:
    """Under the passphrase the same identity, and the keyring has forgotten it."""
    path = tmp_path / "identity"
    recipient = create_identity(path, None, keyring=True)
    assert lock_identity(path, "open sesame", work_factor=2)
    assert keyring == {}
    (identity,) = load_identities([path], lambda: "open sesame")
    assert identity.recipient.text == recipient


def test_identity_that_cannot_be_written_is_not_left_in_the_keyring(tmp_path: Path, keyring: dict[str, str]) -> None:
    """A file stands there already, so nothing was made."""
    path = write(tmp_path / "identity", b"x")
    with pytest.raises(StorageError):
        create_identity(path, None, keyring=True)
    assert keyring == {}
    assert not public_file(path).exists()
