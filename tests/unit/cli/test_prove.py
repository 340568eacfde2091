from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.core.checkpoint import generate_signer
from qnb.errors import ConfigError, StorageError
from qnb.model import Action, Backend, Call, CircuitInfo, Outcome, Request
from qnb.store import log_rotation
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log
from qnb.store.log_key import WAITING, begin, load_signer

BACKEND = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator", "0.18.2")
CALL = Call("AerBackend.run", BACKEND, (CircuitInfo(b"\x02" * 32, b"\x03" * 32, 2, 2, 4, {"h": 1}),), shots=100)
PURPOSE = "binding energies"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with: 0 policy, 1 decision, 2 its execution, 3 the seal of its cell."""
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "home"))
    init_home(tmp_path / "home")
    grow(tmp_path / "home")
    return tmp_path / "home"


def grow(home: Path) -> None:
    with Authority.open(home) as authority:
        label = authority.policy.scheme.parse("confidential")
        context = authority.context(label, session="s", cell="c", sequence=1, source=b"\x07" * 32)
        request = Request(Action.EXECUTE, authority.principal, label, PURPOSE, BACKEND, 1, 2, 100)
        decision = authority.require(request, context, CALL)
        batch = authority.batch(label, 0)
        batch.add(CALL, Outcome("ok", b"\x08" * 32, 100, 7))
        authority.record_execution(context, decision, batch)
        authority.record_seal(context, b"\x09" * 32, "ok", ["ab" * 8])


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def check(path: Path, *keys: Path) -> tuple[int, dict[str, Any], dict[str, bool | None]]:
    """Exit code of `qnb verify FILE`, all that it said, and the steps of the first thing that it checked."""
    result = run("verify", path, "--json", *(word for key in keys for word in ("--key", key)))
    said = json.loads(result.output)
    return result.exit_code, said, {step["name"]: step["held"] for step in said["checked"][0]["steps"]}


def leave(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """To a stranger's account; gives what the signer handed out."""
    vkey = home.parent / "handed-out.vkey"
    shutil.copy(home / "log.vkey", vkey)
    monkeypatch.setenv("QNB_HOME", str(home.parent / "elsewhere"))
    return vkey


# --- proofs ----------------------------------------------------------------------------------------------------------


def test_stranger_verifies_a_proof_offline_step_by_step(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pinned keys; what is classified is there as a keyed digest only."""
    proof = home.parent / "proof.json"
    assert run("log", "prove", "2", "-o", proof).exit_code == 0
    assert check(proof)[1]["authenticated"] is True
    vkey = leave(home, monkeypatch)
    code, said, steps = check(proof, vkey)
    assert (code, said["held"], said["authenticated"]) == (0, True, True)
    assert steps == {"statement": True, "inclusion": True, "checkpoint": True, "log": None}
    assert PURPOSE not in proof.read_text()
    code, said, steps = check(proof)
    assert (code, said["authenticated"], steps["checkpoint"]) == (0, False, None)
    other = home.parent / "other.vkey"
    other.write_text(generate_signer("somebody/else").vkeys.format())
    assert check(proof, other)[0] == 1


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda value: value | {"statement": value["statement"].replace('"shots":100', '"shots":900')}, "inclusion"),
        (lambda value: value | {"index": 1}, "inclusion"),
        (lambda value: value | {"proof": value["proof"][1:]}, "inclusion"),
        (lambda value: value | {"checkpoint": value["checkpoint"].replace("\n4\n", "\n5\n")}, "checkpoint"),
        (lambda value: value | {"checkpoint": value["checkpoint"].rpartition("\u2014")[0]}, "checkpoint"),
        (lambda value: value | {"statement": "nonsense"}, "statement"),
        (lambda value: value | {"rotations": 7}, "format"),
        (lambda value: value | {"proof": ["AAAA"]}, "format"),
        (lambda value: value | {"_type": "urn:qnb:proof:v9"}, "format"),
        (lambda value: value | {"keys": []}, "format"),
        (lambda value: value | {"index": True}, "format"),
    ],
)
def test_proof_that_was_altered_does_not_hold(home: Path, change: Any, step: str) -> None:
    """Each change is found at the step that it touches."""
    proof = home.parent / "proof.json"
    run("log", "prove", "2", "-o", proof)
    proof.write_text(json.dumps(change(json.loads(proof.read_text()))))
    code, _, steps = check(proof, home / "log.vkey")
    assert (code, steps[step]) == (1, False)


def test_proof_of_a_log_that_was_rolled_back_since_is_found(home: Path) -> None:
    """The proof knows a head that the log at hand does not reach."""
    proof, old = home.parent / "proof.json", home.parent / "old.db"
    shutil.copy(home / "log.db", old)
    grow(home)
    run("log", "prove", "5", "-o", proof)
    for path in home.glob("log.db*"):
        path.unlink()
    shutil.copy(old, home / "log.db")
    code, _, steps = check(proof)
    assert (code, steps["checkpoint"], steps["log"]) == (1, True, False)


def test_proof_of_what_is_not_there_signs_nothing(home: Path) -> None:
    """A clear error; the log has no head that it had not before."""
    with Log.open(home / "log.db", readonly=True) as log:
        before = list(log.checkpoints())
    assert isinstance(run("log", "prove", "99").exception, StorageError)
    with Log.open(home / "log.db", readonly=True) as log:
        assert list(log.checkpoints()) == before


# --- rotation --------------------------------------------------------------------------------------------------------


def test_rotated_log_verifies_from_the_old_keys_and_from_the_new(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old proofs still hold; later ones are followed from the old keys; and nobody needs the log for it."""
    old_vkey, early, late, handover = (home.parent / name for name in ("old.vkey", "early", "late", "handover"))
    shutil.copy(home / "log.vkey", old_vkey)
    run("log", "prove", "2", "-o", early)
    done = json.loads(run("log", "rotate-key", "--json").output)
    assert done["entry"] == 4
    assert old_vkey.read_text() != (home / "log.vkey").read_text()
    assert run("verify", "--key", old_vkey).exit_code == 0
    assert run("verify").exit_code == 0  # at once, from the new keys
    grow(home)
    run("log", "prove", "6", "-o", late)
    run("log", "prove", "4", "-o", handover)
    assert run("verify", "--key", old_vkey).exit_code == 0
    assert run("verify").exit_code == 0
    new_vkey = leave(home, monkeypatch)
    assert check(early, old_vkey)[0] == 0
    assert check(late, new_vkey)[0] == 0
    assert "1 rotation of the key followed" in run("verify", late, "--key", old_vkey).output
    assert check(early, new_vkey)[0] == 1  # who has only the new keys has to be told of the rotation
    assert check(early, new_vkey, handover)[0] == 0


def test_keys_that_were_replaced_cannot_go_on(home: Path) -> None:
    """Whoever kept the old ones and writes with them is found."""
    old = load_signer(home)
    run("log", "rotate-key")
    grow(home)
    with pytest.raises(ConfigError):
        Log.open(home / "log.db", old)
    with Log.open(home / "log.db") as log:
        log._signer = old
        log.append_checkpointed(log.entry(3), 1_700_000_000)
    result = json.loads(run("verify", "--json").output)
    codes = {step["code"] for step in result["checked"][0]["steps"] if step["held"] is False}
    assert "missing-signature" in codes


def test_rotation_waits_for_nobody(home: Path) -> None:
    """A kernel that signs with the keys would go on with the old ones."""
    with Authority.open(home):
        refused = run("log", "rotate-key")
        assert isinstance(refused.exception, StorageError)
    assert run("log", "rotate-key").exit_code == 0


def test_rotation_cut_short_is_finished_or_forgotten_by_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its entry: the old keys stay. Killed after it: the new ones take over."""
    old = load_signer(home)
    begin(home, old)
    assert load_signer(home).vkeys == old.vkeys
    assert not (home / WAITING).exists()

    def killed(home: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(log_rotation, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        log_rotation.rotate_key(home)
    assert (home / WAITING).exists()
    grow(home)
    assert load_signer(home).vkeys != old.vkeys
    assert not (home / WAITING).exists()
    assert load_signer(home).vkeys.format() == (home / "log.vkey").read_text()
    assert run("verify").exit_code == 0


# --- exports ---------------------------------------------------------------------------------------------------------


def test_attestations_verify_without_the_log_and_are_found_in_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, all entries or those asked for; each is two signatures over the entry's own bytes."""
    bundle, some = home.parent / "all.jsonl", home.parent / "some.jsonl"
    assert json.loads(run("log", "export", "--format", "intoto", "-o", bundle, "--json").output)["entries"] == 4
    run("log", "export", "1", "3", "--format", "intoto", "-o", some)
    assert (len(bundle.read_text().splitlines()), len(some.read_text().splitlines())) == (4, 2)
    assert check(bundle)[2] == {"signatures": True, "statement": True, "log": True}
    vkey = leave(home, monkeypatch)
    code, said, steps = check(some, vkey)
    assert (code, said["authenticated"]) == (0, True)
    assert steps == {"signatures": True, "statement": True, "log": None}
    assert check(some)[2]["signatures"] is None
    lines = [json.loads(line) for line in some.read_text().splitlines()]
    lines[0]["signatures"] = lines[1]["signatures"]
    some.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert check(some, vkey)[0] == 1


def test_attestation_that_is_no_entry_of_its_own_log_is_found(home: Path) -> None:
    """Signed with the log's key, and not in the log: who has both sees it."""
    from qnb.core.dsse import sign_envelope

    with Log.open(home / "log.db", readonly=True) as log:
        forged = log.entry(2).replace(b'"shots":100', b'"shots":900')
    path = home.parent / "forged.jsonl"
    path.write_text(json.dumps(sign_envelope(forged, load_signer(home))))
    assert check(path)[2] == {"signatures": True, "statement": True, "log": False}


def test_prov_says_who_did_what_from_what(home: Path) -> None:
    """Read back by the library; activities are entries, the sealed output is derived from the result."""
    prov = pytest.importorskip("prov.model")
    path = home.parent / "prov.json"
    assert run("log", "export", "--format", "prov", "-o", path).exit_code == 0
    document = prov.ProvDocument.deserialize(path)
    said = json.loads(path.read_text())
    assert set(said["activity"]) == {f"log:entry/{number}" for number in range(4)}
    assert said["activity"]["log:entry/1"]["qnb:decision"] == "allow"
    informed = {(edge["prov:informed"], edge["prov:informant"]) for edge in said["wasInformedBy"].values()}
    assert informed == {("log:entry/2", "log:entry/1"), ("log:entry/3", "log:entry/2")}
    (derived,) = said["wasDerivedFrom"].values()
    assert derived["prov:generatedEntity"].startswith("log:ciphertext/0909")
    assert derived["prov:usedEntity"].startswith("log:result/")
    assert len(said["agent"]) == 1
    assert len(list(document.get_records())) == sum(len(records) for kind, records in said.items() if kind != "prefix")
    assert PURPOSE not in path.read_text()
    assert "08" * 32 not in path.read_text()  # the bare digest of the result


def test_picture_is_svg_that_stands_alone(home: Path) -> None:
    """Well-formed, an arrow for each relation, nothing from outside; a hostile name is text."""
    with Log.open(home / "log.db") as log:
        log.append([log.entry(0).replace(b'"name":"', b'"name":"<script>&\\u001b[2J')])
    text = run("log", "export", "--format", "svg").output
    root = ET.fromstring(text)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "rect", "defs", "marker", "path", "g", "text"}
    assert "href" not in text
    assert "\x1b" not in text
    assert len([e for e in root.iter() if e.tag.endswith("rect")]) >= 10


def test_export_without_the_extra_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the picture needs nothing."""
    import sys

    monkeypatch.setitem(sys.modules, "qnb.core.prov", None)
    refused = run("log", "export", "--format", "prov")
    assert isinstance(refused.exception, ConfigError)
    assert "qnb[export]" in str(refused.exception)
    assert run("log", "export", "--format", "svg").exit_code == 0


def test_entry_that_is_no_statement_is_not_attested(home: Path) -> None:
    """Nor drawn."""
    with Log.open(home / "log.db") as log:
        log.append([b"nonsense"])
    assert isinstance(run("log", "export", "--format", "intoto").exception, ConfigError)
    assert run("log", "export", "--format", "svg").exit_code == 0
