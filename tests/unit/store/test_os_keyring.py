"""Only the operating system's own keyrings are used, whatever is installed or configured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from qnb.errors import StorageError
from qnb.store.os_keyring import find_keyring, forget_in_keyring, has_keyring, load_from_keyring, save_in_keyring

backend = pytest.importorskip("keyring.backend")
SECRET = "canary-secret-5d1"


def a_backend(module: str, name: str, **methods: Any) -> Any:
    """An object whose class says that it is of `module`, and keeps what it is given."""
    held: dict[tuple[str, str], str] = {}
    body = {
        "__module__": module,
        "set_password": lambda _, service, user, secret: held.__setitem__((service, user), secret),
        "get_password": lambda _, service, user: held.get((service, user)),
        "delete_password": lambda _, service, user: held.pop((service, user)),
        "held": held,
    }
    return type(name, (), body | methods)()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What `keyring` finds on this machine."""
    return lambda *found: monkeypatch.setattr(backend, "get_all_keyring", lambda: list(found))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keyrings.alt.file", "PlaintextKeyring"),
        ("keyrings.alt.file", "EncryptedKeyring"),
        ("keyring.backends.null", "Keyring"),
        ("keyring.backends.fail", "Keyring"),
        ("keyring.backends.chainer", "ChainerBackend"),
        ("evil", "Keyring"),
    ],
)
def test_back_end_that_is_not_the_systems_is_never_used(installed: Callable[..., None], module: str, name: str) -> None:
    """A file in clear is no keyring, and what chains others could end in one."""
    installed(a_backend(module, name))
    assert not has_keyring()
    with pytest.raises(StorageError) as caught:
        save_in_keyring("x", SECRET)
    assert caught.value.code == "no-keyring"
    assert SECRET not in str(caught.value)


def test_configured_back_end_is_not_asked(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment cannot choose one."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    real = a_backend("keyring.backends.SecretService", "Keyring")
    installed(a_backend("keyrings.alt.file", "PlaintextKeyring"), real)
    assert find_keyring() is real


def test_secret_is_kept_given_and_forgotten(installed: Callable[..., None]) -> None:
    """Under the service `qnb` and the name given."""
    real = a_backend("keyring.backends.macOS", "Keyring")
    installed(real)
    save_in_keyring("0011", SECRET)
    assert real.held == {("qnb", "0011"): SECRET}
    assert load_from_keyring("0011") == SECRET
    forget_in_keyring("0011")
    with pytest.raises(StorageError):
        load_from_keyring("0011")


def test_keyring_that_keeps_nothing_is_noticed_at_once(installed: Callable[..., None]) -> None:
    """An identity that was not kept would be lost with everything sealed for it."""
    installed(a_backend("keyring.backends.macOS", "Keyring", set_password=lambda *_: None))
    with pytest.raises(StorageError, match="did not keep"):
        save_in_keyring("x", SECRET)


def test_error_of_a_back_end_is_told_without_its_text(installed: Callable[..., None]) -> None:
    """It could quote what it was given."""

    def fail(*args: object) -> None:
        raise RuntimeError(f"cannot keep {args}")

    installed(a_backend("keyring.backends.macOS", "Keyring", set_password=fail))
    with pytest.raises(StorageError) as caught:
        save_in_keyring("x", SECRET)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_machine_without_the_package_or_a_desktop_has_none(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No keyring is no error; back ends that fail while they are looked for are as good as none."""

    def fail() -> list[object]:
        raise RuntimeError("no bus")

    installed()
    assert find_keyring() is None
    monkeypatch.setattr(backend, "get_all_keyring", fail)
    assert find_keyring() is None
    monkeypatch.setitem(sys.modules, "keyring.backend", None)
    assert find_keyring() is None
