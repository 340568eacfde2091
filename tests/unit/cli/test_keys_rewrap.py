"""`qnb keys rewrap`: whom files are sealed for follows the policy; nothing else in them changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal import PassphraseRecipient, armor, dearmor, open_, seal
from qnb.core.seal.output import SealedOutput

NOTEBOOK, FILE = Path("n.ipynb"), Path("d.age")


@pytest.fixture
def team(ada: Any, bob: Any) -> Any:
    """Ada and bob, both named; a notebook and a file sealed for both; then bob is removed."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    ada.seal_cell(NOTEBOOK, "canary für Ä\u00e4 \u2028 x", "restricted")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "confidential")
    shutil.move("d.age", FILE)
    ada.run("keys", "remove", "bob")
    return ada


def test_rewrapped_notebook_verifies_and_closes_for_the_one_removed(
    team: Any, bob: Any, payload: Callable[[bytes], bytes], sealed: Callable[[Path], SealedOutput]
) -> None:
    """A decision about the ciphertext before, an entry for the one after, its receipt inside; the payload stays."""
    before = sealed(NOTEBOOK)
    said = team.json("keys", "rewrap", NOTEBOOK)["rewrapped"]
    after = sealed(NOTEBOOK)
    assert payload(after.ciphertext) == payload(before.ciphertext)
    decision, entry = team.entries()[-2:]
    assert (decision.action, decision.ciphertext) == ("share", before.digest.hex())
    assert (entry.kind, entry.ciphertext, entry.decision) == ("seal", after.digest.hex(), said[0]["decision"])
    assert after.recipients == (team.identity.recipient.fingerprint,) == tuple(said[0]["after"])
    assert set(said[0]["before"]) - set(said[0]["after"]) == {bob.identity.recipient.fingerprint}
    verified = team.json("verify", NOTEBOOK)
    assert verified["held"]
    assert verified["authenticated"]
    assert team.json("verify")["held"]
    assert team.opens(NOTEBOOK)
    assert not bob.opens(NOTEBOOK)
    data = json.loads(NOTEBOOK.read_bytes())["cells"][0]["outputs"][0]["data"]
    for card in ("text/html", "text/plain"):
        assert after.recipients[0] in data[card]
        assert bob.identity.recipient.fingerprint not in data[card]


def test_only_the_output_changes_in_the_file(team: Any) -> None:
    """Source, metadata, order, spacing and letters of the notebook are as they were."""
    before = NOTEBOOK.read_text("utf-8").splitlines()
    team.run("keys", "rewrap", NOTEBOOK)
    after = NOTEBOOK.read_text("utf-8").splitlines()
    assert len([line for line in after if line not in before]) < 60
    cells = [json.loads("\n".join(lines))["cells"][0] for lines in (before, after)]
    assert all(cell.pop("outputs") for cell in cells)
    assert cells[0] == cells[1]


def test_rewrapping_again_changes_nothing(team: Any) -> None:
    """What is sealed for those named already is left to the byte, and nothing is recorded."""
    team.run("keys", "rewrap", NOTEBOOK, FILE)
    before = (NOTEBOOK.read_bytes(), FILE.read_bytes(), len(team.entries()))
    said = team.json("keys", "rewrap", NOTEBOOK, FILE)["rewrapped"]
    assert [row["entry"] for row in said] == [None, None]
    assert (NOTEBOOK.read_bytes(), FILE.read_bytes(), len(team.entries())) == before


def test_rewrapped_file_keeps_label_of_record_mode_and_payload(
    team: Any, bob: Any, payload: Callable[[bytes], bytes]
) -> None:
    """An age file says no label: the log knows which one it was sealed at."""
    FILE.chmod(0o640)
    before = FILE.read_bytes()
    said = team.json("keys", "rewrap", FILE)["rewrapped"][0]
    assert said["label"] == "confidential"
    assert set(said["before"]) - set(said["after"]) == {bob.identity.recipient.fingerprint}
    assert payload(FILE.read_bytes()) == payload(before)
    assert FILE.stat().st_mode & 0o777 == 0o640
    decision, share = team.entries()[-2:]
    assert (decision.action, share.kind) == ("share", "share")
    assert team.opens(FILE)
    assert not bob.opens(FILE)
    assert team.json("verify")["held"]


def test_file_that_no_entry_knows_is_decided_at_the_highest_level(team: Any) -> None:
    """It may hold anything; armor stays armor."""
    FILE.write_bytes(armor(seal(b"letter", [team.identity.recipient])))
    said = team.json("keys", "rewrap", FILE)["rewrapped"][0]
    assert (said["label"], said["before"]) == ("restricted", None)
    assert open_(dearmor(FILE.read_bytes()), [team.identity]) == b"letter"


def test_to_adds_readers_whom_the_policy_names(team: Any, bob: Any) -> None:
    """And nobody else: a stranger's string is denied from `confidential` up."""
    team.run("keys", "rewrap", NOTEBOOK, "--to", bob.identity.recipient.text, rc=1)
    assert not (team.entries()[-1].allow)
    team.run("keys", "add", "bob", bob.pub)
    team.run("keys", "rewrap", NOTEBOOK, "--to", "bob")
    assert bob.opens(NOTEBOOK)


def test_folder_is_searched_checkpoints_too(team: Any) -> None:
    """What lies beside the notebook is as readable as it; other files are passed over."""
    Path("all/.ipynb_checkpoints").mkdir(parents=True)
    for place in (Path("all/n.ipynb"), Path("all/.ipynb_checkpoints/n-checkpoint.ipynb"), Path("all/d.age")):
        shutil.copy(NOTEBOOK if place.suffix == ".ipynb" else FILE, place)
    Path("all/plain.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}')
    Path("all/notes.ipynb").write_text("no notebook")
    said = team.json("keys", "rewrap", "all")["rewrapped"]
    assert all(row["error"] is None for row in said)
    assert {Path(row["file"]).name for row in said} == {"n.ipynb", "n-checkpoint.ipynb", "d.age"}
    for path in Path("all").rglob("n*.ipynb"):
        if path.name != "notes.ipynb":
            assert team.json("verify", path)["held"]


def test_copy_from_before_is_rewrapped_and_stays_current(team: Any) -> None:
    """An earlier wrapping of the same output is no older output: both verify, in either order."""
    shutil.copy(NOTEBOOK, "copy.ipynb")
    team.run("keys", "rewrap", NOTEBOOK)
    assert team.json("verify", "copy.ipynb")["held"]
    team.run("keys", "rewrap", "copy.ipynb")
    for path in (NOTEBOOK, "copy.ipynb"):
        assert team.json("verify", path)["held"]


def test_link_stays_a_link(team: Any) -> None:
    """The file behind it is rewrapped."""
    Path("link.ipynb").symlink_to(NOTEBOOK)
    team.run("keys", "rewrap", "link.ipynb")
    assert Path("link.ipynb").is_symlink()
    assert team.json("verify", NOTEBOOK)["held"]


def test_output_under_a_dataset_key_stays_under_it(ada: Any) -> None:
    """Rewrapping for the label's own recipients would take it out of the erasure."""
    ada.run("keys", "add", "trial", "--dataset")
    ada.seal_cell(NOTEBOOK, "x", to=["trial"])
    first = ada.json("keys", "show")["datasets"][0]["fingerprint"]
    assert ada.json("keys", "rewrap", NOTEBOOK)["rewrapped"][0]["entry"] is None
    second = ada.json("keys", "rotate", "trial")["fingerprint"]
    said = ada.json("keys", "rewrap", NOTEBOOK)["rewrapped"][0]
    assert (said["before"], said["after"]) == ([first], [second])
    own = next(name for name in ada.names() if name != "trial")
    ada.run("keys", "rewrap", NOTEBOOK, "--to", own, rc=1)
    ada.run("keys", "remove", "trial")
    assert "no longer names" in ada.json("keys", "rewrap", NOTEBOOK, rc=1)["rewrapped"][0]["error"]["message"]
    assert ada.opens(NOTEBOOK)


def test_one_that_cannot_be_rewrapped_does_not_keep_the_others(team: Any, bob: Any) -> None:
    """It is named, its file stays, exit code 1."""
    FILE.write_bytes(seal(b"not ours", [bob.identity.recipient]))
    before = FILE.read_bytes()
    said = team.json("keys", "rewrap", FILE, NOTEBOOK, rc=1)["rewrapped"]
    assert [row["error"] is None for row in said] == [False, True]
    assert FILE.read_bytes() == before


@pytest.mark.parametrize(
    ("make", "rc"),
    [
        (lambda: FILE.write_bytes(seal(b"x", [PassphraseRecipient("p", work_factor=2)])), 2),
        (lambda: FILE.write_bytes(b"plain"), 2),
        (lambda: FILE.write_bytes(b"age-encryption.org/v1\n-> x"), 1),
        (lambda: FILE.write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'), 2),
    ],
)
def test_file_with_nothing_to_rewrap_is_told(team: Any, make: Callable[[], object], rc: int) -> None:
    """Under a passphrase, in clear, malformed, empty."""
    make()
    before = FILE.read_bytes()
    team.run("keys", "rewrap", FILE, rc=rc)
    assert FILE.read_bytes() == before


def test_key_file_is_rewrapped_by_its_name_only(ada: Any) -> None:
    """As a file it would be sealed for the readers of a label instead of its members."""
    ada.run("keys", "add", "trial", "--dataset")
    path = ada.home / "keys" / "trial.age"
    before = path.read_bytes()
    assert "qnb keys rewrap trial" in str(ada.run("keys", "rewrap", path, rc=2).exception)
    assert path.read_bytes() == before


def test_disk_that_is_full_leaves_the_notebook_and_a_way_on(team: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries are there, the file is as it was; the next attempt goes through and all verifies."""
    import qnb.store.rewrap as module

    before = NOTEBOOK.read_bytes()

    def full(_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_encode", full)
        team.run("keys", "rewrap", NOTEBOOK, rc=2)
    assert NOTEBOOK.read_bytes() == before
    team.run("keys", "rewrap", NOTEBOOK)
    assert team.json("verify", NOTEBOOK)["held"]
    assert team.json("verify")["held"]
