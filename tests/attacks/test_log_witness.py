"""Whoever holds the log's key, or an older copy of everything: what only a second party can tell, and does."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.core.checkpoint import Checkpoint, parse_signer, sign_checkpoint
from qnb.core.merkle import Frontier, leaf_hash
from qnb.errors import ConsistencyError, QnbError
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log


class Parties:
    """A log's owner and a witness, each with a home, and the folder between them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.owner, self.witness, self.shared = folder / "owner", folder / "witness", folder / "shared"
        self._monkeypatch = monkeypatch
        init_home(self.owner)
        self.grow(3)

    def run(self, home: Path, *arguments: str) -> Result:
        self._monkeypatch.setenv("QNB_HOME", str(home))
        return CliRunner().invoke(cli, list(arguments))

    def grow(self, count: int) -> None:
        with Authority.open(self.owner) as authority:
            for number in range(count):
                label = authority.policy.scheme.session
                authority.record_seal(authority.context(label), bytes([number]) * 32, "ok", [])

    def publish(self) -> Result:
        return self.run(self.owner, "log", "witness", str(self.shared), "--json")

    def watch(self, *arguments: str) -> Result:
        return self.run(self.witness, "witness", str(self.shared), "--json", *arguments)

    def exchange(self) -> None:
        """Published, cosigned, taken in."""
        for result in (self.publish(), self.watch("--key", str(self.owner / "log.vkey")), self.publish()):
            assert result.exit_code == 0, result.output

    def verify(self, *arguments: str) -> list[dict[str, Any]]:
        """Steps of `qnb verify` that did not hold."""
        steps = json.loads(self.run(self.owner, "verify", "--json", *arguments).output)["checked"][0]["steps"]
        return [step for step in steps if step["held"] is False]

    def findings(self) -> dict[str, dict[str, Any]]:
        said = json.loads(self.run(self.owner, "doctor", "--json").output)
        return {finding["code"]: finding for finding in said["findings"]}

    def rewrite(self, keep: int) -> None:
        """What the holder of the key can do: another log, flawless, signed."""
        signer = parse_signer((self.owner / "log.key").read_text())
        with Log.open(self.owner / "log.db", readonly=True) as log:
            bodies = [body.replace(b'"state":"ok"', b'"state":null') for body in log.entries()][:keep]
        for path in self.owner.glob("log.db*"):
            path.unlink()
        with Log.open(self.owner / "log.db", signer) as log:
            log.append(bodies)
            log.head(1_700_000_000)


@pytest.fixture
def parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parties:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Parties(tmp_path, monkeypatch)


def test_witness_follows_an_honest_log_and_says_how_far_behind_it_is(parties: Parties) -> None:
    """Cosignatures count when the witness's key is pinned."""
    assert "no-witness" in parties.findings()
    assert json.loads(parties.publish().output) == {"size": 4, "published": True, "cosigned": {}, "unread": []}
    assert "witness-silent" in parties.findings()
    first = json.loads(parties.watch().output)
    assert (first["before"], first["size"], first["first"]) == (None, 4, True)
    assert list(json.loads(parties.publish().output)["cosigned"].values()) == [4]
    assert parties.findings()["witnessed"]["facts"]["behind"] == 0
    parties.grow(2)
    assert parties.findings()["witness-behind"]["facts"]["behind"] == 2
    key = str(parties.witness / "witness.vkey")
    assert parties.verify("--witness", key) == []
    parties.exchange()
    output = parties.run(parties.owner, "verify", "--witness", key).output
    assert "up to 6 entries, all of them" in output
    assert "no witness's key is pinned" in parties.run(parties.owner, "verify").output


def test_log_rolled_back_to_an_older_copy_is_found_by_the_witness(parties: Parties) -> None:
    """With all its checkpoints and keys it is flawless by itself; that the folder knows more is what tells."""
    old = parties.owner.with_name("old")
    shutil.copytree(parties.owner, old)
    parties.grow(2)
    parties.exchange()
    noted = (parties.owner / "witness.json").read_bytes()
    shutil.rmtree(parties.owner)
    shutil.copytree(old, parties.owner)
    assert parties.verify() == []  # needs the witness: the copy does not even remember that there is one
    assert [step["code"] for step in parties.verify("--published", str(parties.shared))] == ["log-went-back"]
    refused = parties.publish()
    assert isinstance(refused.exception, ConsistencyError)
    assert refused.exception.code == "log-went-back"
    (parties.owner / "witness.json").write_bytes(noted)
    assert parties.findings()["log-went-back"]["severity"] == "high"


def test_log_rewritten_by_the_holder_of_its_key_is_found_by_the_witness(parties: Parties) -> None:
    """Signed twice, self-consistent, longer than before: another past all the same."""
    parties.exchange()
    parties.grow(2)
    parties.rewrite(6)
    (parties.owner / "witness.json").unlink()
    assert parties.verify() == []  # needs the witness
    assert [step["code"] for step in parties.verify("--published", str(parties.shared))] == ["log-rewritten"]
    key = str(parties.witness / "witness.vkey")
    assert [step["code"] for step in parties.verify("--witness", key)] == ["not-cosigned"]
    with pytest.raises(ConsistencyError):
        raise parties.publish().exception or AssertionError


def forge_head(parties: Parties, size: int, root: bytes) -> str:
    signer = parse_signer((parties.owner / "log.key").read_text())
    return sign_checkpoint(Checkpoint(signer.origin, size, root), signer, 1_700_000_000)


@pytest.mark.parametrize(("size", "code"), [(4, "log-rewritten"), (9, "log-rewritten")])
def test_head_of_another_past_is_not_cosigned(parties: Parties, size: int, code: str) -> None:
    """The folder's owner of the day writes what he likes into it: the witness keeps its own head."""
    parties.exchange()
    frontier = Frontier()
    for number in range(size):
        frontier.append(leaf_hash(b"%d" % number))
    body = f"old {0 if size == 4 else 4}\n\n{forge_head(parties, size, frontier.root())}"
    (parties.shared / "heads" / f"{size:019}").write_text(body)
    before = {path: path.read_bytes() for path in (parties.shared / "cosigned").iterdir()}
    refused = parties.watch()
    assert isinstance(refused.exception, ConsistencyError)
    assert refused.exception.code == code
    assert {path: path.read_bytes() for path in (parties.shared / "cosigned").iterdir()} == before


def test_folder_that_went_back_is_found_by_the_witness(parties: Parties) -> None:
    """Its last heads were taken away."""
    parties.exchange()
    parties.grow(1)
    parties.exchange()
    max((parties.shared / "heads").iterdir()).unlink()
    refused = parties.watch()
    assert isinstance(refused.exception, ConsistencyError)
    assert refused.exception.code == "log-went-back"


def test_heads_that_are_missing_in_between_are_a_gap(parties: Parties) -> None:
    """The witness cannot follow, and says from where to where."""
    parties.exchange()
    for _ in range(2):
        parties.grow(1)
        parties.publish()
    sorted((parties.shared / "heads").iterdir())[1].unlink()
    refused = parties.watch()
    assert isinstance(refused.exception, ConsistencyError)
    assert refused.exception.code == "gap"


def test_witness_keeps_to_the_keys_that_it_knows_the_log_by(parties: Parties, tmp_path: Path) -> None:
    """Another log in the same folder under the same name is refused; after a rotation the log is still the same."""
    parties.exchange()
    assert parties.run(parties.owner, "log", "rotate-key").exit_code == 0
    parties.grow(1)
    parties.exchange()
    stranger = tmp_path / "stranger"
    init_home(stranger)
    Authority.open(stranger).close()
    shutil.rmtree(parties.shared)
    parties.run(stranger, "log", "witness", str(parties.shared))
    with pytest.raises(QnbError):
        raise parties.watch("--key", str(parties.owner / "log.vkey")).exception or AssertionError


@pytest.mark.parametrize("damage", ["", "nonsense", "\0", "A" * 2_000_000, "link", "pipe"])
def test_damaged_folder_is_refused_on_both_sides_and_nothing_hangs(
    parties: Parties, damage: str, tmp_path: Path
) -> None:
    """Whatever another account leaves there."""
    parties.exchange()
    last = max((parties.shared / "heads").iterdir())
    last.unlink()
    if damage == "link":
        last.symlink_to(tmp_path / "owner" / "log.key")
    elif damage == "pipe":
        import os

        os.mkfifo(last)
    else:
        last.write_text(damage)
    for result in (parties.publish(), parties.watch()):
        assert isinstance(result.exception, QnbError), result.output


def test_cosignature_that_does_not_hold_is_named(parties: Parties) -> None:
    """One of its two lines stripped or changed: by the owner when it is taken in, by the verifier afterwards."""
    parties.exchange()
    (cosigned,) = (parties.shared / "cosigned").glob("*.note")
    lines = cosigned.read_text().splitlines(keepends=True)
    cosigned.write_text("".join(lines[:-1]))
    said = json.loads(parties.publish().output)
    assert said["cosigned"] == {}
    assert "no ML-DSA-44 cosignature" in said["unread"][0]
    import sqlite3

    db = sqlite3.connect(parties.owner / "log.db", isolation_level=None)
    (note,) = db.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    stored = note.splitlines(keepends=True)
    raw = bytearray(base64.b64decode(stored[-1].rpartition(" ")[2]))
    raw[11] ^= 1  # the time that it says
    stored[-1] = stored[-1].rpartition(" ")[0] + " " + base64.b64encode(bytes(raw)).decode() + "\n"
    db.execute("UPDATE checkpoints SET note = ? WHERE note = ?", ("".join(stored), note))
    db.close()
    key = str(parties.witness / "witness.vkey")
    assert "wrong-cosignature" in [step["code"] for step in parties.verify("--witness", key)]
