from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.core.entry import EntryView, parse_statement
from qnb.core.seal import PassphraseRecipient, armor, generate_identity, open_, parse_recipient, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.errors import (
    ConfigError,
    DeniedError,
    LabelError,
    NoIdentityMatchError,
    QnbError,
    SealError,
    StorageError,
    TamperedError,
)
from qnb.model import Receipt
from qnb.store.config import init_home, load_policy
from qnb.store.keys import load_identities
from qnb.store.log import Log

STRANGER = generate_identity(lambda n: b"s" * n)
CANARY = b"canary-7c1e"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An initialised home, and a working folder beside it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    init_home(tmp_path / "home")
    return tmp_path / "home"


def run(*args: str, ok: bool = True) -> Result:
    result = CliRunner().invoke(cli, args)
    if ok:
        assert result.exit_code == 0, result.output or result.exception
    return result


def names() -> list[str]:
    return sorted(path.name for path in Path.cwd().iterdir())


def entries(home: Path) -> list[EntryView]:
    with Log.open(home / "log.db", readonly=True) as log:
        return [parse_statement(data) for data in log.entries()]


def own_recipient(home: Path) -> Any:
    (text,) = load_policy(home).recipients(["owners"])
    return parse_recipient(text)


def sealed_notebook(home: Path, *labels: str) -> dict[str, Any]:
    recipient = own_recipient(home)
    cells = []
    for index, label in enumerate(labels):
        header = OutputHeader(1, "s", index, "ok", None, label, "nb", f"c{index}", None)
        outputs = [{"output_type": "stream", "name": "stdout", "text": CANARY.decode()}]
        receipt = Receipt("o", 0, bytes(32), (), "")
        data = {MIME: sealed_bundle(header, seal(pack_output(header, outputs), [recipient]), [recipient], receipt)}
        output = {"output_type": "display_data", "data": data, "metadata": {}}
        cells.append({"cell_type": "code", "id": f"c{index}", "metadata": {}, "source": "", "outputs": [output]})
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}


# --- files -----------------------------------------------------------------------------------------------------------


def test_file_sealed_and_unsealed_comes_back(home: Path) -> None:
    """The age file opens with the home's identity, both files are 0600, and the default names are as documented."""
    Path("data.csv").write_bytes(CANARY)
    result = json.loads(run("seal", "data.csv", "--label", "restricted//ip", "--json").output)
    sealed = Path("data.csv.age").read_bytes()
    assert CANARY not in sealed
    assert result["digest"] == "sha256:" + hashlib.sha256(sealed).hexdigest()
    assert result["recipients"] == [own_recipient(home).fingerprint]
    assert open_(sealed, load_identities([home / "identity"], None)) == CANARY
    Path("data.csv").unlink()
    run("unseal", "data.csv.age")
    assert Path("data.csv").read_bytes() == CANARY
    for name in ("data.csv", "data.csv.age"):
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


def test_sealing_and_opening_are_decided_and_recorded(home: Path) -> None:
    """Decision, seal, decision, unseal; both speak of the ciphertext, and the paths stand nowhere in clear."""
    Path("merger.csv").write_bytes(CANARY)
    run("seal", "merger.csv", "--label", "restricted")
    run("unseal", "merger.csv.age", "-o", "plans.csv")
    seen = [entry for entry in entries(home) if entry.kind in ("decision", "seal", "unseal")]
    assert [(e.kind, e.action) for e in seen] == [
        ("decision", "seal"), ("seal", None), ("decision", "unseal"), ("unseal", None),
    ]  # fmt: skip
    digest = hashlib.sha256(Path("merger.csv.age").read_bytes()).hexdigest()
    assert [seen[1].ciphertext, seen[3].ciphertext, seen[3].status] == [digest, digest, "ok"]
    log = b"".join(path.read_bytes() for path in home.glob("log.db*"))
    for secret in (b"merger", b"plans", CANARY):
        assert secret not in log


def test_output_that_exists_is_kept_unless_forced(home: Path) -> None:
    """No file is replaced by surprise, and nothing is decided or recorded for a refusal."""
    Path("a").write_bytes(b"new")
    Path("a.age").write_bytes(b"old")
    result = run("seal", "a", "--label", "internal", ok=False)
    assert isinstance(result.exception, StorageError)
    assert Path("a.age").read_bytes() == b"old"
    assert not (home / "log.db").exists() or all(entry.kind == "policy" for entry in entries(home))
    run("seal", "a", "--label", "internal", "--force")
    result = run("unseal", "a.age", ok=False)
    assert isinstance(result.exception, StorageError)
    Path("a").write_bytes(b"other")
    run("unseal", "a.age", "--force")
    assert Path("a").read_bytes() == b"new"


def test_standard_output_gets_the_content_only(home: Path) -> None:
    """`-o -` streams, and what we say about it goes to the standard error."""
    Path("a").write_bytes(CANARY)
    sealed = run("seal", "a", "--label", "internal", "-o", "-").stdout_bytes
    Path("a.age").write_bytes(sealed)
    result = run("unseal", "a.age", "-o", "-")
    assert result.stdout_bytes == CANARY
    assert "entry" in result.stderr
    assert isinstance(run("seal", "a", "--label", "internal", "-o", "-", "--json", ok=False).exception, ConfigError)


def test_share_with_a_stranger_is_denied_from_confidential_up(home: Path) -> None:
    """`--to` is decided as share: the policy names who may read classified work; below, anybody may."""
    Path("a").write_bytes(CANARY)
    to = STRANGER.recipient.text
    result = run("seal", "a", "--label", "confidential", "--to", to, ok=False)
    assert isinstance(result.exception, DeniedError)
    assert not Path("a.age").exists()
    denied = entries(home)[-1]
    assert (denied.kind, denied.action, denied.allow) == ("decision", "share", False)
    run("seal", "a", "--label", "internal", "--to", to)
    assert open_(Path("a.age").read_bytes(), [STRANGER]) == CANARY
    assert entries(home)[-1].kind == "share"


def test_armored_file_from_elsewhere_opens(home: Path) -> None:
    """What the age tool wrote opens, armored or not, whatever its name."""
    Path("letter.txt").write_bytes(armor(seal(CANARY, [own_recipient(home)])))
    run("unseal", "letter.txt")
    assert Path("letter.txt.unsealed").read_bytes() == CANARY


def test_wrong_identity_opens_nothing_and_is_recorded(home: Path) -> None:
    """The attempt stands in the log as failed, and no file is left."""
    Path("a.age").write_bytes(seal(CANARY, [STRANGER.recipient]))
    result = run("unseal", "a.age", ok=False)
    assert isinstance(result.exception, NoIdentityMatchError)
    assert names() == ["a.age"]
    assert (entries(home)[-1].kind, entries(home)[-1].status) == ("unseal", "failed")
    other = Path("other-identity")
    other.write_text(STRANGER.reveal() + "\n")
    other.chmod(0o600)
    run("unseal", "a.age", "-i", "other-identity")
    assert Path("a").read_bytes() == CANARY


@pytest.mark.parametrize("target", ["a", "-"])
def test_file_altered_at_its_end_leaves_nothing(home: Path, target: str) -> None:
    """Chunks that authenticated before the altered one reach neither a file nor the standard output."""
    Path("a.age").write_bytes(seal(CANARY * 40_000, [own_recipient(home)])[:-1])
    result = run("unseal", "a.age", "-o", target, ok=False)
    assert isinstance(result.exception, TamperedError)
    assert CANARY not in result.stdout_bytes
    assert names() == ["a.age"]


def test_passphrase_file_asks_where_somebody_can_be_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file under a passphrase needs no identity; without a terminal it is an error, not a hang."""
    Path("a.age").write_bytes(seal(CANARY, [PassphraseRecipient("open sesame", work_factor=4)]))
    result = run("unseal", "a.age", ok=False)
    assert isinstance(result.exception, ConfigError)
    assert result.exception.code == "passphrase-needed"
    monkeypatch.setattr("qnb.cli.seal.at_terminal", lambda: True)
    monkeypatch.setattr("qnb.cli.seal.ask_passphrase", lambda: "open sesame")
    run("unseal", "a.age")
    assert Path("a").read_bytes() == CANARY


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("seal", "a", "--label", "secret"), LabelError),
        (("seal", "a", "--label", "internal", "--to", "nobody"), QnbError),
        (("seal", "a", "--label", "internal", "-o", "missing/a.age"), StorageError),
        (("unseal", "a"), ConfigError),
        (("unseal", "folder.ipynb", "--cell", "c"), ConfigError),
        (("unseal", "not.age"), SealError),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(home: Path, args: tuple[str, ...], error: type[Exception]) -> None:
    """Each wrong argument has its error, and no file comes of it."""
    Path("a").write_bytes(b"plain")
    Path("folder.ipynb").write_bytes(b"[]")
    Path("not.age").write_bytes(b"age-encryption.org/v1\n-> x")
    before = names()
    result = run(*args, ok=False)
    assert isinstance(result.exception, error)
    assert names() == before


def test_home_without_keys_is_told_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `qnb init` nothing can be recorded, so nothing is sealed."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(b"plain")
    result = run("seal", "a", "--label", "internal", ok=False)
    assert isinstance(result.exception, ConfigError)
    assert "qnb init" in str(result.exception)
    assert not Path("a.age").exists()


# --- notebooks -------------------------------------------------------------------------------------------------------


def test_notebook_opens_beside_the_sealed_one(home: Path) -> None:
    """The sealed notebook stays as it is; each output has its entry; one decision for each label."""
    nb = sealed_notebook(home, "confidential", "restricted", "restricted")
    Path("a.sealed.ipynb").write_text(json.dumps(nb))
    before = Path("a.sealed.ipynb").read_bytes()
    result = json.loads(run("unseal", "a.sealed.ipynb", "--json").output)
    assert Path("a.sealed.ipynb").read_bytes() == before
    assert [row["opened"] for row in result["outputs"]] == [True] * 3
    opened = json.loads(Path("a.unsealed.ipynb").read_bytes())
    assert [cell["outputs"][0]["text"] for cell in opened["cells"]] == [CANARY.decode()] * 3
    assert stat.S_IMODE(Path("a.unsealed.ipynb").stat().st_mode) == 0o600
    kinds = [(e.kind, e.label, e.cell) for e in entries(home) if e.kind != "policy"]
    assert kinds == [
        ("decision", "confidential", None), ("decision", "restricted", None),
        ("unseal", "confidential", "c0"), ("unseal", "restricted", "c1"), ("unseal", "restricted", "c2"),
    ]  # fmt: skip


def test_one_cell_opens_alone(home: Path) -> None:
    """`--cell` opens and records that one only."""
    Path("a.ipynb").write_text(json.dumps(sealed_notebook(home, "confidential", "restricted")))
    run("unseal", "a.ipynb", "--cell", "c1")
    opened = json.loads(Path("a.unsealed.ipynb").read_bytes())
    assert MIME in opened["cells"][0]["outputs"][0]["data"]
    assert [e.cell for e in entries(home) if e.kind == "unseal"] == ["c1"]
    assert isinstance(run("unseal", "a.ipynb", "--cell", "zz", "--force", ok=False).exception, ConfigError)


def test_output_moved_is_told_and_the_rest_opens(home: Path) -> None:
    """Exit code 1, the moved output stays sealed and is named, its failed opening is recorded."""
    nb = sealed_notebook(home, "confidential", "confidential")
    nb["cells"][0]["id"] = "elsewhere"
    Path("a.ipynb").write_text(json.dumps(nb))
    result = run("unseal", "a.ipynb", ok=False)
    assert result.exit_code == 1
    assert "belongs to cell `c0`" in result.stderr
    assert "1 of 2" in result.output
    assert [e.status for e in entries(home) if e.kind == "unseal"] == ["failed", "ok"]


def test_output_with_unknown_label_stays_sealed(home: Path) -> None:
    """A label that the policy does not know cannot be decided, so it is not opened; the rest is."""
    Path("a.ipynb").write_text(json.dumps(sealed_notebook(home, "ultra", "restricted")))
    result = run("unseal", "a.ipynb", ok=False)
    assert result.exit_code == 1
    assert "unknown level `ultra`" in result.stderr
    assert [e.label for e in entries(home) if e.kind == "unseal"] == ["restricted"]


def test_denied_label_unlocks_no_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the policy says no, the identity is not even read."""
    rules = home / "policy" / "policy.cedar"
    forbid = (
        '@id("no-opening")\n@reason("nobody opens here")\nforbid (principal, action == Action::"unseal", resource);\n'
    )
    rules.write_text(rules.read_text() + forbid)
    Path("a.ipynb").write_text(json.dumps(sealed_notebook(home, "restricted")))

    def read(*_: object) -> None:
        raise AssertionError("an identity was read")

    monkeypatch.setattr("qnb.store.keychain.load_identities", read)
    result = run("unseal", "a.ipynb", ok=False)
    assert isinstance(result.exception, DeniedError)
    assert not Path("a.unsealed.ipynb").exists()
    assert not [e for e in entries(home) if e.kind == "unseal"]


def test_notebook_with_nothing_sealed_is_told(home: Path) -> None:
    """An ordinary notebook is no sealed one."""
    Path("a.ipynb").write_text(json.dumps(sealed_notebook(home)))
    result = run("unseal", "a.ipynb", ok=False)
    assert isinstance(result.exception, ConfigError)
    assert result.exception.code == "nothing-sealed"


def test_failure_to_record_withholds_the_plaintext(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be recorded is not shown: no file, no standard output."""

    def full(*_: object, **__: object) -> int:
        raise StorageError("log-full", "the log cannot be written")

    monkeypatch.setattr("qnb.store.authority.Authority.record_unseal", full)
    Path("a.age").write_bytes(seal(CANARY, [own_recipient(home)]))
    Path("a.ipynb").write_text(json.dumps(sealed_notebook(home, "restricted")))
    before = names()
    for args in (("a.age",), ("a.age", "-o", "-"), ("a.ipynb",), ("a.ipynb", "-o", "-")):
        result = run("unseal", *args, ok=False)
        assert isinstance(result.exception, StorageError)
        assert CANARY not in result.stdout_bytes
        assert names() == before


def test_large_file_streams_through_the_commands(home: Path) -> None:
    """Several megabytes, not a multiple of a chunk, come back the same."""
    content = io.BytesIO(os.urandom(1 << 20)).getvalue() * 5 + b"x"
    Path("big").write_bytes(content)
    run("seal", "big", "--label", "internal")
    run("unseal", "big.age", "-o", "again")
    assert Path("again").read_bytes() == content
