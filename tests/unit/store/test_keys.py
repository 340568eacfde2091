from __future__ import annotations

import re
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
from qnb.store.keys import create_identity, identity_protection, load_identities


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
