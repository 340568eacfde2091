"""Whoever can write the files but holds no key: every tampering is found, and named for what it is.

A real home, a real policy, real seals. What only a witness or a pinned key can tell is said in the tests that need one.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import re
import shutil
import sqlite3
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qnb.cli.main import cli
from qnb.core.audit import audit_log
from qnb.core.checkpoint import (
    Checkpoint,
    generate_signer,
    parse_signer,
    parse_vkeys,
    sign_checkpoint,
    verify_checkpoint,
)
from qnb.core.digester import Digester
from qnb.core.merkle import Frontier, leaf_hash
from qnb.core.seal import parse_recipient, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.core.statement import source_digest
from qnb.core.verify import Report
from qnb.model import Action, Backend, Call, CircuitInfo, Outcome, Request
from qnb.store.authority import Authority
from qnb.store.config import init_home
from qnb.store.log import Log

PURPOSE = "binding energies"
SOURCE = "%%qsecure confidential\nbell()"
COUNTS = {"00": 507, "11": 493}


def counts_digest(zeros: int) -> bytes:
    """A stand-in for a result's encoding that the attacker knows as well as we do."""
    return hashlib.sha256(json.dumps({"00": zeros, "11": 1000 - zeros}).encode()).digest()


@dataclass
class Story:
    """A home with a log, and a notebook whose two cells were sealed under it."""

    home: Path
    notebook: dict[str, Any]
    saved: Path

    @property
    def database(self) -> Path:
        return self.home / "log.db"

    def edit(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """What a hand with SQLite does."""
        db = sqlite3.connect(self.database, isolation_level=None)
        for statement, values in statements:
            db.execute(statement, values)
        db.close()

    def body(self, index: int) -> bytes:
        with Log.open(self.database, readonly=True) as log:
            return log.entry(index)

    def audit(self) -> Report:
        vkeys = parse_vkeys((self.home / "log.vkey").read_text())
        with Log.open(self.database, readonly=True) as log:
            return audit_log(log.rows(), log.checkpoints(), log.evaluations, vkeys=vkeys)

    def verify(self, notebook: dict[str, Any] | None = None, *arguments: str) -> tuple[int, list[tuple[str, str]]]:
        """Exit code of `qnb verify NOTEBOOK` and (code, detail) of each step that did not hold."""
        self.saved.write_text(json.dumps(self.notebook if notebook is None else notebook))
        result = CliRunner().invoke(cli, ["verify", str(self.saved), "--json", *arguments])
        steps = [step for report in json.loads(result.output)["checked"] for step in report["steps"]]
        return result.exit_code, [(step["code"], step["detail"]) for step in steps if step["held"] is False]


def seal_cell(authority: Authority, cell: str, source: str, sequence: int) -> dict[str, Any]:
    """A cell: decided, executed three times under its grant, sealed, as the kernel does it."""
    label = authority.policy.scheme.parse("confidential")
    context = authority.context(
        label, session="session-1", notebook="nb-1", cell=cell, sequence=sequence, source=source_digest(source)
    )
    circuit = CircuitInfo(b"\x02" * 32, b"\x03" * 32, 2, 2, 4, {"h": 1, "cx": 1, "measure": 2})
    backend = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator", "0.18.2")
    call = Call("AerBackend.run", backend, (circuit,), shots=1000)
    request = Request(Action.EXECUTE, authority.principal, label, PURPOSE, backend, 1, 2, 1000)
    decision = authority.require(request, context, call)
    for first, count in ((0, 1), (1, 2)):
        batch = authority.batch(label, first)
        for _ in range(count):
            batch.add(call, Outcome("ok", counts_digest(COUNTS["00"]), 1000, 7, None, 0.001))
        authority.record_execution(context, decision, batch)
    header = OutputHeader(
        1, "session-1", sequence, "ok", source_digest(source).hex(), str(label), "nb-1", cell, PURPOSE
    )
    names = authority.policy.handling(label).recipients
    recipients = [parse_recipient(text) for text in authority.policy.recipients(names)]
    outputs = [{"output_type": "stream", "name": "stdout", "text": f"{COUNTS} in {cell}"}]
    ciphertext = seal(pack_output(header, outputs), recipients)
    receipt = authority.record_seal(
        context, hashlib.sha256(ciphertext).digest(), "ok", [recipient.fingerprint for recipient in recipients]
    )
    bundle = sealed_bundle(header, ciphertext, recipients, receipt)
    return {
        "cell_type": "code",
        "id": cell,
        "source": source,
        "metadata": {},
        "execution_count": sequence,
        "outputs": [{"output_type": "display_data", "metadata": {}, "data": {MIME: bundle}}],
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Made once; each attack works on a copy."""
    home = tmp_path_factory.mktemp("story") / "home"
    init_home(home)
    with Authority.open(home) as authority:
        cells = [seal_cell(authority, f"cell-{n}", f"{SOURCE}  # {n}", n) for n in (1, 2)]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"qnb": {"id": "nb-1"}}, "cells": cells}
    return Story(home, notebook, home.parent / "nb.ipynb")


@pytest.fixture
def story(original: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    home = tmp_path / "home"
    shutil.copytree(original.home, home)
    monkeypatch.setenv("QNB_HOME", str(home))
    return Story(home, copy.deepcopy(original.notebook), tmp_path / "nb.ipynb")


def faults(report: Report) -> list[tuple[str, int | None]]:
    """Code and entry of each step that did not hold."""
    return [(str(step.code), step.entry) for step in report.steps if step.held is False]


def bundle_of(notebook: dict[str, Any], cell: int) -> dict[str, Any]:
    bundle: dict[str, Any] = notebook["cells"][cell]["outputs"][0]["data"][MIME]
    return bundle


def rebuilt(bodies: list[bytes]) -> list[tuple[str, tuple[object, ...]]]:
    """Statements that write these entries with a flawless tree: all that can be done without the keys."""
    frontier = Frontier()
    rows = [(index, frontier.append(leaf_hash(body)), body) for index, body in enumerate(bodies)]
    insert = "INSERT INTO entries (idx, nodes, body) VALUES (?, ?, ?)"
    return [("DELETE FROM entries", ()), *((insert, row) for row in rows)]


# entries: 0 policy, 1 decision, 2 and 3 executions, 4 seal, 5 decision, 6 and 7 executions, 8 seal


def test_untouched_log_and_notebook_hold(story: Story) -> None:
    """Without this, finding everything else proves nothing."""
    report = story.audit()
    assert report.held
    assert report.authenticated
    assert {step.name for step in report.steps} >= {"entries", "tree", "checkpoints", "consistency", "evaluations"}
    assert story.verify() == (0, [])
    result = CliRunner().invoke(cli, ["verify"])
    assert (result.exit_code, "held" in result.output) == (0, True)


# --- the log --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"decision":"allow"', b'"decision":"deny" '),
        lambda body: body.replace(b'"shots":1000', b'"shots":9000'),
        lambda body: body.replace(b'{"_type"', b'{ "_type"'),
        lambda body: body.replace(b'"uid"', b'"u\\u0069d"'),
        lambda body: json.dumps(json.loads(body)).encode(),
    ],
)
def test_edited_entry_is_found_even_when_its_json_is_equal(story: Story, change) -> None:
    """The bytes count, not what they parse to."""
    body = story.body(1)
    assert change(body) != body
    story.edit(("UPDATE entries SET body = ? WHERE idx = 1", (change(body),)))
    assert ("entry-altered", 1) in faults(story.audit())


def test_entry_turned_into_text_is_not_an_edit(story: Story) -> None:
    """The same bytes under another SQLite type are the same entry."""
    story.edit(("UPDATE entries SET body = CAST(body AS TEXT) WHERE idx = 1", ()))
    assert story.audit().held


def test_entry_edited_with_its_hash_is_found_by_the_tree(story: Story) -> None:
    """Its parent hashes give it away, and the next signed head."""
    forged = story.body(2).replace(b'"shots":1000', b'"shots":9000')
    story.edit(("UPDATE entries SET body = ?, nodes = ? WHERE idx = 2", (forged, leaf_hash(forged))))
    found = faults(story.audit())
    assert ("tree", 3) in found
    assert ("rewritten", 0) in found


def test_entry_edited_with_the_whole_tree_is_found_by_the_signed_head(story: Story) -> None:
    """Named by the stretch that the first disagreeing checkpoint signed."""
    with Log.open(story.database, readonly=True) as log:
        bodies = list(log.entries())
    bodies[6] = bodies[6].replace(b'"shots":1000', b'"shots":9000')
    story.edit(*rebuilt(bodies))
    report = story.audit()
    assert faults(report) == [("rewritten", 5)]
    assert "entries 5 to 8: the log is not what checkpoint 9 signed" in [step.detail for step in report.steps]
    code, found = story.verify()
    assert code == 1
    assert "rewritten" in found[0][0] or "consistency-proof" in [name for name, _ in found]


@pytest.mark.parametrize(("first", "last", "said"), [(3, 3, "entry 3 is"), (2, 4, "entries 2 to 4 are")])
def test_deleted_entries_are_found_and_counted(story: Story, first: int, last: int, said: str) -> None:
    """In the middle of the log."""
    story.edit(("DELETE FROM entries WHERE idx BETWEEN ? AND ?", (first, last)))
    report = story.audit()
    assert ("entry-missing", first) in faults(report)
    assert f"{said} missing: deleted from the log" in [step.detail for step in report.steps]


def test_deleted_entry_with_the_rest_moved_up_is_found(story: Story) -> None:
    """No gap, a flawless tree: the heads sign more entries, and others."""
    with Log.open(story.database, readonly=True) as log:
        bodies = list(log.entries())
    story.edit(*rebuilt(bodies[:3] + bodies[4:]))
    codes = {code for code, _ in faults(story.audit())}
    assert {"rewritten", "truncated"} <= codes


def test_reordered_entries_are_named_as_such(story: Story) -> None:
    """Each says whose place it took."""
    one, two = story.body(2), story.body(6)
    update = "UPDATE entries SET body = ? WHERE idx = ?"
    story.edit((update, (two, 2)), (update, (one, 6)))
    report = story.audit()
    assert [fault for fault in faults(report) if fault[0] == "entry-moved"] == [("entry-moved", 2), ("entry-moved", 6)]
    assert "entry 2 holds the bytes of entry 6: the order was changed" in [step.detail for step in report.steps]


def test_duplicated_entry_is_found(story: Story) -> None:
    """Appended with a flawless tree: it repeats an entry, and an evaluation."""
    with Log.open(story.database, readonly=True) as log:
        bodies = list(log.entries())
    story.edit(*rebuilt([*bodies, bodies[2]]))
    assert {("entry-repeated", 9), ("evaluations-order", 9)} <= set(faults(story.audit()))


def test_forged_tail_is_not_taken_for_signed(story: Story) -> None:
    """An entry that nobody signed is said to be uncovered."""
    with Log.open(story.database) as log:
        log.append([story.body(0).replace(b'"internal"', b'"public"')])
    report = story.audit()
    assert [step.detail for step in report.steps if step.name == "tail" and step.held is None] == [
        "entry 9: no checkpoint covers them yet, so that an edit there cannot be told"
    ]


def test_truncated_log_is_found(story: Story) -> None:
    """The head that signed the tail still stands."""
    story.edit(("DELETE FROM entries WHERE idx >= 7", ()))
    report = story.audit()
    assert faults(report) == [("truncated", 7)]
    assert "entries 7 to 8 are missing at the end: checkpoint 9 signed more" in [step.detail for step in report.steps]


def test_log_rolled_back_with_its_heads_is_found_by_the_notebook(story: Story) -> None:
    """Alone it is flawless, which only somebody else's memory can tell: here the notebook's checkpoint."""
    story.edit(("DELETE FROM entries WHERE idx >= 5", ()), ("DELETE FROM checkpoints WHERE size > 5", ()))
    assert story.audit().held
    code, found = story.verify()
    assert code == 1
    assert {name for name, _ in found} == {"log-went-back"}


@pytest.mark.parametrize(("line", "name"), [(-2, "Ed25519"), (-1, "ML-DSA-44")])
def test_checkpoint_stripped_of_a_signature_is_found(story: Story, line: int, name: str) -> None:
    """In the log and in a notebook; neither algorithm alone will do."""
    with Log.open(story.database, readonly=True) as log:
        lines = str(log.checkpoint()).splitlines(keepends=True)
    del lines[line]
    story.edit(("UPDATE checkpoints SET note = ? WHERE size = 9", ("".join(lines),)))
    report = story.audit()
    assert ("missing-signature", None) in faults(report)
    assert any(name in step.detail for step in report.steps if step.code == "missing-signature")
    bundle_of(story.notebook, 1)["entry"]["checkpoint"] = "".join(lines)
    assert [found for found, _ in story.verify()[1]] == ["missing-signature"]


def test_signature_relabelled_as_the_other_algorithm_is_found(story: Story) -> None:
    """A downgrade: the classic signature twice, once under the id of the post-quantum key, or of its type."""
    with Log.open(story.database, readonly=True) as log:
        note = str(log.checkpoint())
    vkeys = parse_vkeys((story.home / "log.vkey").read_text())
    lines = note.splitlines(keepends=True)
    classic = base64.b64decode(lines[-2].rpartition(" ")[2])
    for forged in (vkeys.ids[6] + classic[4:], vkeys.ids[6] + bytes(8) + classic[4:], b"\x06" + classic):
        line = f"\u2014 {vkeys.origin} {base64.b64encode(forged).decode()}\n"
        story.edit(("UPDATE checkpoints SET note = ? WHERE size = 9", ("".join([*lines[:-1], line]),)))
        codes = {code for code, _ in faults(story.audit())}
        assert codes & {"wrong-signature", "missing-signature"}
        assert any("ML-DSA-44" in step.detail for step in story.audit().steps if step.held is False)


@pytest.mark.parametrize(
    ("index", "time", "code"),
    [(6, "2019-01-01T00:00:00.000Z", "clock-went-back"), (8, "2099-01-01T00:00:00.000Z", "clock-ahead")],
)
def test_entry_dated_by_a_clock_of_past_or_future_is_named(
    story: Story, monkeypatch: pytest.MonkeyPatch, index: int, time: str, code: str
) -> None:
    """Written with the log's own keys, so that all else holds: against its neighbours and the head over it."""
    signer = parse_signer((story.home / "log.key").read_text())
    with Log.open(story.database, readonly=True) as log:
        bodies, seconds = list(log.entries()), verify_checkpoint(str(log.checkpoint()), signer.vkeys).time
        lines = [log.evaluations(number) for number in range(log.size)]
    bodies[index] = re.sub(rb'"time":"[^"]*"', f'"time":"{time}"'.encode(), bodies[index])
    for path in story.home.glob("log.db*"):
        path.unlink()
    with Log.open(story.database, signer) as log:
        for body, kept in zip(bodies[:-1], lines, strict=False):
            log.append([body], evaluations=kept)
        assert seconds is not None
        log.append_checkpointed(bodies[-1], seconds)
    report = story.audit()
    assert report.held  # nobody can say which clock was wrong
    assert (code, index) in [(step.code, step.entry) for step in report.steps if step.held is None]
    said = json.loads(CliRunner().invoke(cli, ["verify", "--json"]).output)["checked"][0]["steps"]
    assert ("future" in [step["code"] for step in said]) == (code == "clock-ahead")


def test_log_rewritten_under_another_key_is_found_by_the_pinned_one(story: Story, tmp_path: Path) -> None:
    """Self-consistent to the last byte, and not the signer's."""
    origin = parse_signer((story.home / "log.key").read_text()).origin
    forger = generate_signer(origin)
    with Log.open(story.database, readonly=True) as log:
        bodies = [body.replace(b'"shots":1000', b'"shots":9000') for body in log.entries()]
    frontier = Frontier()
    for body in bodies:
        frontier.append(leaf_hash(body))
    note = sign_checkpoint(Checkpoint(origin, len(bodies), frontier.root()), forger, 1_700_000_000)
    insert = "INSERT INTO checkpoints (size, note) VALUES (?, ?)"
    story.edit(*rebuilt(bodies), ("DELETE FROM checkpoints", ()), (insert, (len(bodies), note)))
    pinned = tmp_path / "pinned.vkey"
    shutil.copy(story.home / "log.vkey", pinned)
    (story.home / "log.vkey").write_text(forger.vkeys.format())
    assert story.audit().held  # against the forger's own key
    result = CliRunner().invoke(cli, ["verify", "--key", str(pinned)])
    assert (result.exit_code, "signature of this log" in result.output) == (1, True)


def test_checkpoint_moved_to_another_size_is_found(story: Story) -> None:
    """The note says what it signed."""
    story.edit(("UPDATE checkpoints SET size = 6 WHERE size = 5", ()))
    assert ("moved", None) in faults(story.audit())


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("DELETE FROM evaluations WHERE idx = 3", "evaluations-missing"),
        ("UPDATE evaluations SET lines = zeroblob(9) WHERE idx = 3", "evaluations-damaged"),
        ("UPDATE evaluations SET lines = 'text' WHERE idx = 3", "evaluations-damaged"),
    ],
)
def test_missing_or_damaged_evaluations_are_found(story: Story, act: str, code: str) -> None:
    """The entry holds their root."""
    story.edit((act, ()))
    assert faults(story.audit()) == [(code, 3)]


@pytest.mark.parametrize(
    "change",
    [lambda lines: lines[::-1], lambda lines: lines[:1], lambda lines: [lines[0].replace(b"1000", b"9000"), lines[1]]],
)
def test_altered_or_reordered_evaluations_are_found(story: Story, change) -> None:
    """Each is a leaf under the root."""
    with Log.open(story.database, readonly=True) as log:
        lines = log.evaluations(3) or []
    packed = zlib.compress(b"\n".join(change(lines)))
    story.edit(("UPDATE evaluations SET lines = ? WHERE idx = 3", (packed,)))
    assert faults(story.audit()) == [("evaluations-altered", 3)]


def test_garbage_in_any_column_is_a_fault_and_no_crash(story: Story) -> None:
    """Whatever an editor leaves there."""
    for table, column in itertools.product(("entries",), ("nodes", "body")):
        for value in (b"", "text", b"\xff" * 31, "[" * 50_000, 7):
            story.edit((f"UPDATE {table} SET {column} = ? WHERE idx = 2", (value,)))
            assert not story.audit().held
    story.edit(("UPDATE checkpoints SET note = 'nonsense'", ()))
    assert ("checkpoint", None) in faults(story.audit())


# --- the notebook ----------------------------------------------------------------------------------------------------


def test_two_outputs_exchanged_are_found(story: Story) -> None:
    """Each belongs to the other cell."""
    one, two = story.notebook["cells"]
    one["outputs"], two["outputs"] = two["outputs"], one["outputs"]
    code, found = story.verify()
    assert code == 1
    assert [name for name, _ in found if name == "moved-cell"] == ["moved-cell"] * 2


def test_outputs_exchanged_with_their_ids_rewritten_are_found(story: Story) -> None:
    """The entry says which cell its output belongs to."""
    one, two = story.notebook["cells"]
    one["outputs"], two["outputs"] = two["outputs"], one["outputs"]
    bundle_of(story.notebook, 0)["cell"], bundle_of(story.notebook, 1)["cell"] = "cell-1", "cell-2"
    assert [name for name, _ in story.verify()[1]].count("other-binding") == 2


def test_output_of_another_notebook_is_found(story: Story) -> None:
    """By its id."""
    story.notebook["metadata"]["qnb"]["id"] = "nb-2"
    assert {name for name, _ in story.verify()[1]} == {"moved-notebook"}


def test_outputs_of_two_notebooks_exchanged_are_found(story: Story) -> None:
    """Also with the notebook's id in the clear fields rewritten: the entry says which it belongs to."""
    other = copy.deepcopy(story.notebook)
    other["metadata"]["qnb"]["id"] = "nb-2"
    assert {name for name, _ in story.verify(other)[1]} == {"moved-notebook"}
    for cell in range(2):
        bundle_of(other, cell)["notebook"] = "nb-2"
    assert {name for name, _ in story.verify(other)[1]} == {"other-binding"}


def test_ciphertext_replaced_under_the_same_receipt_is_found(story: Story) -> None:
    """Anybody can seal to public recipients; the entry names the ciphertext."""
    one, two = bundle_of(story.notebook, 0), bundle_of(story.notebook, 1)
    one["age"], one["digest"] = two["age"], two["digest"]
    assert [name for name, _ in story.verify()[1]] == ["other-output"]
    one["digest"] = "sha256:" + "00" * 32
    assert [name for name, _ in story.verify()[1]] == ["output-digest"]


@pytest.mark.parametrize("field", ["label", "session", "state", "sequence"])
def test_clear_field_that_was_changed_is_found(story: Story, field: str) -> None:
    """A relabelled output, for one."""
    bundle_of(story.notebook, 0)[field] = {"label": "public", "session": "s", "state": "failed", "sequence": 9}[field]
    found = story.verify()[1]
    assert [name for name, _ in found] == ["other-binding"]
    assert field in found[0][1]


def test_receipt_of_another_entry_is_found(story: Story) -> None:
    """Index, leaf or proof taken from elsewhere."""
    entry, other = bundle_of(story.notebook, 0)["entry"], bundle_of(story.notebook, 1)["entry"]
    for field in ("index", "leaf", "proof"):
        original, entry[field] = entry[field], other[field]
        names = {name for name, _ in story.verify()[1]}
        assert names & {"entry-altered", "inclusion-proof", "no-such-entry"}, field
        entry[field] = original


def test_output_without_its_entry_is_not_vouched_for(story: Story) -> None:
    """Stripped, or made to look as if the cell was still running."""
    bundle = bundle_of(story.notebook, 0)
    del bundle["entry"]
    assert [name for name, _ in story.verify()[1]] == ["no-entry"]
    bundle["state"] = "running"
    assert [name for name, _ in story.verify()[1]] == ["no-entry"]


def test_older_output_in_its_own_cell_is_superseded(story: Story) -> None:
    """Every binding holds; the log knows a later one."""
    with Authority.open(story.home) as authority:
        seal_cell(authority, "cell-1", f"{SOURCE}  # 1", 3)
    assert story.verify()[1] == [("superseded", "an older output of this cell: superseded by entry 12")]


def test_edited_source_is_found_with_the_key_and_said_to_be_unchecked_without(story: Story) -> None:
    """The entry's digest is keyed."""
    story.notebook["cells"][0]["source"] += "\nprint(1)"
    assert [name for name, _ in story.verify()[1]] == ["source-edited"]
    (story.home / "log.key").unlink()
    assert story.verify() == (0, [])
    result = CliRunner().invoke(cli, ["verify", str(story.saved)])
    assert "needs the log's key" in result.output


def test_colleague_without_the_log_verifies_with_the_pinned_key_alone(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be checked is said; without a key the signer is not authenticated; a wrong key does not hold."""
    vkey = tmp_path / "colleague.vkey"
    shutil.copy(story.home / "log.vkey", vkey)
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "elsewhere"))
    assert story.verify(None, "--key", str(vkey)) == (0, [])
    pinned = CliRunner().invoke(cli, ["verify", str(story.saved), "--key", str(vkey)])
    assert "is not at hand" in pinned.output
    unpinned = CliRunner().invoke(cli, ["verify", str(story.saved)])
    assert (unpinned.exit_code, "self-consistent, signer not authenticated" in unpinned.output) == (0, True)
    vkey.write_text(generate_signer("somebody/else").vkeys.format())
    assert story.verify(None, "--key", str(vkey))[0] == 1


def test_statement_carried_with_the_output_is_checked_without_the_log(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt's leaf is its hash; a ciphertext put under another's receipt is then found by anybody."""
    vkey = tmp_path / "colleague.vkey"
    shutil.copy(story.home / "log.vkey", vkey)
    for cell, index in ((0, 4), (1, 8)):
        bundle_of(story.notebook, cell)["entry"]["statement"] = story.body(index).decode()
    monkeypatch.setenv("QNB_HOME", str(tmp_path / "elsewhere"))
    assert story.verify(None, "--key", str(vkey)) == (0, [])
    one, two = bundle_of(story.notebook, 0), bundle_of(story.notebook, 1)
    one["age"], one["digest"] = two["age"], two["digest"]
    assert [name for name, _ in story.verify(None, "--key", str(vkey))[1]] == ["other-output"]
    one["entry"]["statement"] = two["entry"]["statement"]
    assert [name for name, _ in story.verify(None, "--key", str(vkey))[1]] == ["entry-altered"]


# --- guessing --------------------------------------------------------------------------------------------------------


def test_content_is_not_guessed_from_the_log_alone(story: Story) -> None:
    """The counts of a 1000-shot Bell, the source line and the purpose are guessed in no time from bare hashes.

    The attacker has every file but `log.key`, and the right guess among the candidates.
    """
    everything = b"".join(path.read_bytes() for path in story.home.iterdir() if path.name.startswith("log.db"))
    with Log.open(story.database, readonly=True) as log:
        for number in range(log.size):
            everything += log.entry(number) + b"".join(log.evaluations(number) or ())
    digests = set(re.findall(rb"[0-9a-f]{64}", everything))
    guesses = [counts_digest(zeros) for zeros in range(1001)]
    guesses += [source_digest(f"{SOURCE}  # 1"), hashlib.sha256(PURPOSE.encode()).digest(), b"\x02" * 32, b"\x03" * 32]
    contents = ("result", "source", "purpose", "circuit", "structure")
    for guess in guesses:
        assert guess.hex().encode() not in digests
        assert hashlib.sha256(guess).hexdigest().encode() not in digests
        for content in contents:
            public = Digester(hashlib.sha256(b"").digest()).digest_set(content, guess)  # type: ignore[arg-type]
            assert str(public["hmac-sha256"]).encode() not in digests
    assert PURPOSE.encode() not in everything
    assert base64.b64encode(PURPOSE.encode()) not in everything
    # the same search with the key finds them: it was looking in the right place
    keyed = Digester(parse_signer((story.home / "log.key").read_text()).digest_key)
    assert str(keyed.digest_set("result", counts_digest(COUNTS["00"]))["hmac-sha256"]).encode() in digests
    assert str(keyed.digest_set("source", source_digest(f"{SOURCE}  # 1"))["hmac-sha256"]).encode() in digests
