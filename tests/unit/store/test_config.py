from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qnb.core.checkpoint import parse_signer, parse_vkeys
from qnb.errors import PolicyError, StorageError
from qnb.model import Assurance
from qnb.store import config
from qnb.store.keys import load_identities

PACKAGED = Path(config.__file__).parents[1] / "policies"


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file under a home."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_home_is_the_variable_or_the_platforms_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """QNB_HOME wins; an empty one does not count; a relative one is made absolute."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "q"))
    assert config.home() == tmp_path / "q"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QNB_HOME", "rel")
    assert config.home() == tmp_path / "rel"
    for clear in (lambda: monkeypatch.setenv("QNB_HOME", ""), lambda: monkeypatch.delenv("QNB_HOME")):
        clear()
        assert config.home().name == "qnb"
        assert config.home().is_absolute()


def test_principal_is_the_account_and_not_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """USER and LOGNAME say nothing; an account without a name is its number."""
    before = config.principal()
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, "mallory")
    assert config.principal() == before
    assert (before.uid, before.assurance) == (os.getuid(), Assurance.OS)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert config.principal().name == f"uid-{os.getuid()}"


def test_policy_of_a_new_account_is_the_packaged_one(tmp_path: Path) -> None:
    """Nothing needs to be there, and nothing is made."""
    policy = config.load_policy(tmp_path / "none")
    assert policy.digest == config.load_policy_folder(PACKAGED).digest
    assert not (tmp_path / "none").exists()


def test_init_makes_a_home_that_is_whole_and_private(tmp_path: Path) -> None:
    """Identity, policy that names it, log keys that belong together; modes as they must be."""
    home = tmp_path / "a" / "home"
    report = config.init_home(home)
    assert report.created == ("identity", "policy", "log.key", "log.vkey")
    assert (report.passphrase, report.listed) == (False, True)
    assert [mode(home), mode(home / "identity"), mode(home / "log.key"), mode(home / "policy")] == [
        0o700, 0o600, 0o600, 0o700,
    ]  # fmt: skip
    (identity,) = load_identities([home / "identity"], None)
    policy = config.load_policy(home)
    assert policy.recipients(("owners",)) == (identity.recipient.text,) == (report.recipient,)
    assert policy.handling(policy.scheme.cell).recipients[0] == "owners"
    assert (home / "policy" / "policy.cedar").read_bytes() == (PACKAGED / "policy.cedar").read_bytes()
    signer = parse_signer((home / "log.key").read_text())
    assert parse_vkeys((home / "log.vkey").read_text()) == signer.vkeys
    assert report.backup == f"cp -p {home}/identity /a/safe/place/"
    assert sorted(path.name for path in home.iterdir()) == [
        ".init.lock", "identity", "identity.pub", "log.key", "log.vkey", "policy",
    ]  # fmt: skip


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    """Idempotent, also after a policy was edited."""
    config.init_home(tmp_path / "home")
    with (tmp_path / "home" / "policy" / "qnb.toml").open("a") as file:
        file.write("# edited\n")
    before = snapshot(tmp_path / "home")
    for make in (config.init_home, config.ensure_home):
        report = make(tmp_path / "home")
        assert (report.created, report.recipient) == ((), None)
    assert snapshot(tmp_path / "home") == before


def test_init_with_a_passphrase_wraps_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity opens with it, and the policy names its recipient all the same."""
    make = config.create_identity
    monkeypatch.setattr(config, "create_identity", lambda *args, **more: make(*args, **more, work_factor=10))
    report = config.init_home(tmp_path / "home", passphrase="correct horse")
    assert report.passphrase
    (identity,) = load_identities([tmp_path / "home" / "identity"], lambda: "correct horse")
    assert config.load_policy(tmp_path / "home").recipients(("owners",)) == (identity.recipient.text,)


def test_first_use_makes_an_identity_when_nobody_is_named(tmp_path: Path) -> None:
    """Nothing to read first: the home is there afterwards."""
    assert config.ensure_home(tmp_path / "home").recipient is not None


def test_first_use_makes_no_identity_when_the_policy_names_recipients(tmp_path: Path) -> None:
    """A team that rolled out its policy needs no identity in every account; the log keys are made."""
    config.init_home(tmp_path / "owner")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (tmp_path / "owner" / "policy").rename(home / "policy")
    report = config.ensure_home(home)
    assert (report.created, report.recipient, report.listed) == (("log.key", "log.vkey"), None, True)
    assert not (home / "identity").exists()


def test_policy_of_the_team_that_names_nobody_stays_as_it_is(tmp_path: Path) -> None:
    """An identity is made, but who can read is not changed behind the team's back: the report says so."""
    home = tmp_path / "home"
    (home / "policy").mkdir(parents=True)
    for path in PACKAGED.iterdir():
        if path.is_file():
            (home / "policy" / path.name).write_bytes(path.read_bytes())
    before = snapshot(home / "policy")
    report = config.ensure_home(home)
    assert (report.listed, report.recipient is not None) == (False, True)
    assert snapshot(home / "policy") == before


@pytest.mark.parametrize("stop", ["create_identity", "_write_policy", "_sync"])
def test_init_that_was_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """Wherever it stops, the next run leaves an identity that the policy names."""
    real = getattr(config, stop)

    def die(*args: object, **more: object) -> None:
        real(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(config, stop, die)
        with pytest.raises(KeyboardInterrupt):
            config.init_home(tmp_path / "home")
    config.init_home(tmp_path / "home")
    (identity,) = load_identities([tmp_path / "home" / "identity"], None)
    assert config.load_policy(tmp_path / "home").recipients(("owners",)) == (identity.recipient.text,)
    assert not (tmp_path / "home" / ".identity.new").exists()


def test_log_key_that_is_gone_is_not_replaced(tmp_path: Path) -> None:
    """New keys would end the log; the public keys alone are made again from the private ones."""
    config.init_home(tmp_path)
    vkey = (tmp_path / "log.vkey").read_bytes()
    (tmp_path / "log.vkey").unlink()
    assert config.init_home(tmp_path).created == ("log.vkey",)
    assert (tmp_path / "log.vkey").read_bytes() == vkey
    (tmp_path / "log.key").unlink()
    with pytest.raises(StorageError, match=r"log\.vkey"):
        config.init_home(tmp_path)
    (tmp_path / "log.vkey").rename(tmp_path / "log.db")
    with pytest.raises(StorageError, match=r"log\.db"):
        config.init_home(tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("qnb.toml", lambda text: text.replace("version = 1", "version = one")),
        ("policy.cedar", lambda text: text.replace("principal", "principle")),
        ("policy.cedarschema", lambda text: text[:100]),
    ],
)
def test_broken_policy_is_an_error_with_its_path(tmp_path: Path, name: str, damage: object) -> None:
    """It never falls back to the default."""
    config.init_home(tmp_path)
    path = tmp_path / "policy" / name
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(PolicyError) as caught:
        config.load_policy(tmp_path)
    assert str(tmp_path / "policy") in caught.value.message


def test_policy_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A missing file, a dangling link, a file in its place: none of them is the default policy."""
    config.init_home(tmp_path)
    (tmp_path / "policy" / "policy.cedar").unlink()
    with pytest.raises(PolicyError, match="cannot be read"):
        config.load_policy(tmp_path)
    for name in ("link", "file"):
        other = tmp_path / name
        other.mkdir()
        if name == "link":
            (other / "policy").symlink_to(tmp_path / "nowhere")
        else:
            (other / "policy").write_text("x")
        with pytest.raises(PolicyError, match="cannot be read"):
            config.load_policy(other)


def test_home_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """The hint says where to put it."""
    with pytest.raises(StorageError) as caught:
        config.check_home(tmp_path / "home", f"srv:/x {tmp_path} nfs4 rw 0 0\n")
    assert caught.value.code == "network-filesystem"
    assert "QNB_HOME" in (caught.value.hint or "")


def test_home_that_is_a_file_or_unreachable_is_refused(tmp_path: Path) -> None:
    """An error with the way on, before anything is written."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError):
            config.init_home(path)


def test_home_of_another_account_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default policy trusts whoever the home belongs to."""
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(StorageError) as caught:
        config.init_home(tmp_path)
    assert caught.value.code == "home-of-another"


@pytest.mark.slow
def test_kernels_that_start_at_once_make_one_home(tmp_path: Path) -> None:
    """Four processes, one identity, one policy that names it."""
    code = (
        "import sys; from pathlib import Path; from qnb.store.config import ensure_home; ensure_home(Path(sys.argv[1]))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "home")], stderr=subprocess.PIPE) for _ in range(4)
    ]
    assert [process.communicate()[1] for process in running] == [b""] * 4
    (identity,) = load_identities([tmp_path / "home" / "identity"], None)
    assert config.load_policy(tmp_path / "home").recipients(("owners",)) == (identity.recipient.text,)
