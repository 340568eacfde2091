"""Keys: what an offboarded colleague, a forger, a restored backup and a careless error text must not get."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal import generate_identity, open_, parse_recipient, rewrap, seal
from qnb.core.seal.output import MIME, SealedOutput, pack_output
from qnb.store.keychain import Keychain
from qnb.store.keys import load_identities

NOTEBOOK, FILE = Path("n.ipynb"), Path("d.age")
CANARY = "canary-3f0a"


@pytest.fixture
def team(ada: Any, bob: Any) -> Any:
    """Ada and bob read everything; what was sealed then is in `kept`, as bob has it."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    Path("d").write_text(CANARY)
    ada.run("seal", "d", "--label", "restricted")
    ada.seal_cell(NOTEBOOK, CANARY, "restricted")
    Path("kept").mkdir()
    for path in (NOTEBOOK, FILE):
        shutil.copy(path, "kept")
    return ada


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the clear fields of a notebook's sealed output, as anybody who has the file can."""
    nb = json.loads(path.read_bytes())
    change(nb["cells"][0]["outputs"][0]["data"][MIME])
    path.write_text(json.dumps(nb))


# --- offboarding -----------------------------------------------------------------------------------------------------


def test_offboarded_member_opens_what_they_kept_and_nothing_after(team: Any, bob: Any) -> None:
    """Sealed or rewrapped after the removal: closed. Copies from before: open for ever, which the docs say."""
    assert bob.opens(NOTEBOOK)
    team.run("keys", "remove", "bob")
    team.run("seal", "d", "--label", "restricted", "-o", "later.age")
    team.seal_cell(Path("later.ipynb"), CANARY, "restricted", run=2, id="c1")
    team.run("keys", "rewrap", NOTEBOOK, FILE)
    for path in (NOTEBOOK, FILE, Path("later.age"), Path("later.ipynb")):
        assert not bob.opens(path), path
        assert team.opens(path), path
    for path in (NOTEBOOK, FILE):
        assert bob.opens("kept" / path), path


def test_old_header_does_not_fit_on_what_is_sealed_later(
    team: Any, bob: Any, payload: Callable[[bytes], bytes]
) -> None:
    """A rewrap keeps the file key, so an old header opens that one payload as it did; it opens no other."""
    team.run("keys", "remove", "bob")
    team.run("seal", "d", "--label", "restricted", "-o", "later.age")
    kept, later = Path("kept/d.age").read_bytes(), Path("later.age").read_bytes()
    head = kept[: len(kept) - len(payload(kept))]
    Path("mixed.age").write_bytes(head + payload(later))
    assert not bob.opens(Path("mixed.age"))


def test_offboarded_member_of_a_dataset_is_out_after_its_key_is_rotated(ada: Any, bob: Any) -> None:
    """They hold the key's file: removing alone does not close it, rotating does, for what follows."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    (bob.home / "keys").mkdir()
    shutil.copy(ada.home / "keys" / "trial.age", bob.home / "keys")
    Path("d").write_text(CANARY)
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    shutil.copy(FILE, "kept.age")
    ada.run("keys", "remove", "bob")
    assert "dataset-key-held" in ada.run("doctor", "--json", rc=1).stdout
    ada.run("keys", "rewrap", "trial")  # takes nothing from who has the file
    assert "dataset-key-held" in ada.run("doctor", "--json", rc=1).stdout
    ada.run("keys", "rotate", "trial")
    assert "dataset-key-held" not in ada.run("doctor", "--json", rc=1).stdout
    ada.run("keys", "rewrap", FILE)
    ada.run("seal", "d", "--label", "restricted", "--to", "trial", "-o", "later.age")
    shutil.copy(ada.home / "keys" / "trial.age", bob.home / "keys" / "trial-new.age")
    for path in (FILE, Path("later.age")):
        assert not bob.opens(path)
        assert ada.opens(path)
    assert bob.opens(Path("kept.age"))


# --- forgeries that a rewrap would launder ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("label", "internal"), ("label", "confidential"), ("cell", "c9"), ("notebook", "other"), ("sequence", 7)],
)
def test_output_whose_clear_fields_were_changed_is_not_rewrapped(team: Any, name: str, value: object) -> None:
    """A lower label would choose other readers; what the entry and the inside say is what counts."""
    edit(NOTEBOOK, lambda bundle: bundle.__setitem__(name, value))
    before = NOTEBOOK.read_bytes()
    assert team.json("keys", "rewrap", NOTEBOOK, rc=1)["rewrapped"][0]["error"]
    assert NOTEBOOK.read_bytes() == before


def test_claim_to_be_for_these_already_is_not_believed(team: Any, bob: Any) -> None:
    """Who was removed could write so into the notebook, to stay a reader."""
    team.run("keys", "remove", "bob")
    own = [team.identity.recipient.fingerprint]
    edit(NOTEBOOK, lambda bundle: bundle.__setitem__("recipients", own))
    team.run("keys", "rewrap", NOTEBOOK)
    assert not bob.opens(NOTEBOOK)


def test_output_that_no_entry_vouches_for_is_not_rewrapped(
    team: Any, bob: Any, sealed: Callable[[Path], SealedOutput]
) -> None:
    """Anybody can seal to a public recipient: a rewrap would give the forgery an entry."""
    team.run("keys", "remove", "bob")
    genuine = sealed(NOTEBOOK)
    header, _ = _open(genuine, team)
    forged = [{"output_type": "stream", "name": "stdout", "text": "forged"}]
    ciphertext = seal(pack_output(header, forged), [team.identity.recipient])

    def swap(bundle: dict[str, Any]) -> None:
        bundle["age"] = b64encode(ciphertext).decode()
        bundle["digest"] = "sha256:" + hashlib.sha256(ciphertext).hexdigest()

    edit(NOTEBOOK, swap)
    error = team.json("keys", "rewrap", NOTEBOOK, rc=1)["rewrapped"][0]["error"]
    assert error["code"] == "other-output"
    edit(NOTEBOOK, lambda bundle: bundle.pop("entry"))
    assert team.json("keys", "rewrap", NOTEBOOK, rc=1)["rewrapped"][0]["error"]["code"] == "no-entry"
    assert [e.kind for e in team.entries()[-1:]] != ["seal"]


def test_older_output_of_a_cell_does_not_become_the_last_one(team: Any) -> None:
    """A rewrap makes a new entry: given to an output that was superseded, it would turn back time."""
    shutil.copy(NOTEBOOK, "old.ipynb")
    team.seal_cell(NOTEBOOK, "second run", "restricted", run=2)
    error = team.json("keys", "rewrap", "old.ipynb", rc=1)["rewrapped"][0]["error"]
    assert error["code"] == "superseded"
    assert team.json("verify", NOTEBOOK)["held"]
    assert not team.json("verify", "old.ipynb", rc=1)["held"]


def test_output_of_a_rewrapped_past_is_superseded_all_the_same(team: Any, bob: Any) -> None:
    """Rewrapped first, run again later: the rewrapped one is the older output."""
    team.run("keys", "remove", "bob")
    team.run("keys", "rewrap", NOTEBOOK)
    shutil.copy(NOTEBOOK, "old.ipynb")
    team.seal_cell(NOTEBOOK, "second run", "restricted", run=2)
    for path in ("old.ipynb", "kept/n.ipynb"):
        steps = team.json("verify", path, rc=1)["checked"][0]["steps"]
        assert [step["code"] for step in steps if step["held"] is False] == ["superseded"]


def test_output_of_another_log_needs_that_logs_key(team: Any, bob: Any) -> None:
    """A colleague's notebook is taken when its signer is pinned, and then our log vouches for the new one."""
    bob.run("keys", "add", "ada", team.pub, "--group", "owners")
    bob.seal_cell(NOTEBOOK, CANARY, "restricted", id="c5")
    team.run("keys", "remove", "bob")
    error = team.json("keys", "rewrap", NOTEBOOK, rc=1)["rewrapped"][0]["error"]
    assert error["code"] == "signer-not-known"
    wrong = team.run("keys", "rewrap", NOTEBOOK, "--key", team.home / "log.vkey", rc=1)
    assert "rewrapped" not in wrong.stdout
    team.run("keys", "rewrap", NOTEBOOK, "--key", bob.home / "log.vkey")
    assert team.json("verify", NOTEBOOK)["held"]
    assert not bob.opens(NOTEBOOK)


def test_stranger_cannot_be_slipped_in_by_a_second_stanza(team: Any, bob: Any) -> None:
    """What is recorded is compared with what is there: one stanza more than recipients, and it is sealed anew."""
    team.run("keys", "remove", "bob")
    team.run("keys", "rewrap", FILE)
    both = rewrap(FILE.read_bytes(), [team.identity], [team.identity.recipient, bob.identity.recipient])
    FILE.write_bytes(both)
    team.run("keys", "rewrap", FILE)
    assert not bob.opens(FILE)


def test_private_letter_in_a_folder_gets_no_readers(team: Any) -> None:
    """An age file that the log does not know is left as it is, unless it is named itself."""
    Path("all").mkdir()
    letter = Path("all/letter.age")
    letter.write_bytes(seal(b"for ada alone", [team.identity.recipient]))
    shutil.copy(FILE, "all/d.age")
    team.run("keys", "remove", "bob")
    before = letter.read_bytes()
    said = team.json("keys", "rewrap", "all", rc=1)["rewrapped"]
    assert [(row["error"] or {}).get("code") for row in said] == [None, "not-recorded"]
    assert letter.read_bytes() == before
    team.run("keys", "rewrap", letter)


def test_denied_account_rewraps_nothing(team: Any) -> None:
    """Who may not share seals for nobody else, and the question is on the record."""
    toml = team.home / "policy" / "qnb.toml"
    toml.write_text(toml.read_text().replace('data-owner = ["@os-user"]', "data-owner = []").replace('"bob", ', "", 1))
    team.run("policy", "check")
    text = toml.read_text()
    toml.write_text(text.replace('owners = ["', f'owners = ["{generate_identity().recipient.text}", "', 1))
    before = (NOTEBOOK.read_bytes(), FILE.read_bytes())
    team.run("keys", "rewrap", NOTEBOOK, rc=1)
    team.run("keys", "rewrap", FILE, rc=1)
    assert (NOTEBOOK.read_bytes(), FILE.read_bytes()) == before
    assert [(e.action, e.allow) for e in team.entries("decision")[-2:]] == [("share", False)] * 2


# --- erasure ---------------------------------------------------------------------------------------------------------


def test_shredded_key_stays_shredded(ada: Any) -> None:
    """In a new process, with its file restored, under another name, and when the name is wanted again."""
    ada.run("keys", "add", "trial", "--dataset")
    key = ada.home / "keys" / "trial.age"
    backup = key.read_bytes()
    Path("d").write_text(CANARY)
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    ada.seal_cell(NOTEBOOK, CANARY, to=["trial"])
    assert ada.opens(FILE)
    ada.run("keys", "shred", "trial", "--yes")
    for name in (None, "trial", "trial-2"):
        if name is not None:
            (ada.home / "keys" / f"{name}.age").write_bytes(backup)
        for path in (FILE, NOTEBOOK):
            assert not ada.opens(path)
        code = "from qnb.cli.main import main; main()"
        words = [sys.executable, "-c", code, "unseal", str(FILE), "-o", "x"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1
        assert "which was shredded at" in done.stderr
        assert len(list(Keychain(ada.home, None)())) == 1
    for args in (("unseal", FILE, "-o", "x"), ("unseal", NOTEBOOK, "-o", "x")):
        said = str(ada.run(*args, rc=1).exception)
        assert "`trial`" in said
        assert "shredded at 20" in said
        errors = ada.json("keys", "rewrap", args[1], rc=1)["rewrapped"]
        assert [row["error"]["code"] for row in errors] == ["key-shredded"]
    assert "shredded-key-back" in ada.run("doctor", "--json", rc=1).stdout
    ada.run("keys", "add", "trial", "--dataset", rc=2)
    ada.run("keys", "shred", "trial", "--yes")
    assert not key.exists()


def test_key_that_was_removed_first_is_shredded_with_all_it_has_been(ada: Any) -> None:
    """Each identity that it ever had is known by the log, so what any of them opened is told to be erased."""
    first = ada.json("keys", "add", "trial", "--dataset")["fingerprint"]
    ada.seal_cell(NOTEBOOK, CANARY, to=["trial"])
    backup = (ada.home / "keys" / "trial.age").read_bytes()
    second = ada.json("keys", "rotate", "trial")["fingerprint"]
    ada.run("keys", "remove", "trial")
    assert ada.opens(NOTEBOOK)
    assert ada.json("keys", "shred", "trial", "--yes")["fingerprints"] == [first, second]
    (ada.home / "keys" / "other.age").write_bytes(backup)
    assert "shredded at 20" in str(ada.run("unseal", NOTEBOOK, "-o", "x", rc=1).exception)


def test_copy_in_another_account_is_shredded_as_well(ada: Any, bob: Any) -> None:
    """A member destroys their copy: from then on that account refuses it too, whatever it is called."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    Path("d").write_text(CANARY)
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    (bob.home / "keys").mkdir()
    shutil.copy(ada.home / "keys" / "trial.age", bob.home / "keys" / "trial.age")
    shutil.copy(ada.home / "keys" / "trial.age", "backup.age")
    ada.run("keys", "shred", "trial", "--yes")
    assert bob.opens(FILE)
    assert len(bob.json("keys", "shred", "trial", "--yes")["fingerprints"]) == 1
    shutil.copy("backup.age", bob.home / "keys" / "other.age")
    assert not bob.opens(FILE)


def test_nothing_sealed_under_a_dataset_key_is_sealed_to_anybody_else(ada: Any, bob: Any) -> None:
    """Else destroying it would erase nothing: no own recipient, no recovery, no `--to` beside it."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "recovery")
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    Path("d").write_text(CANARY)
    ada.run("seal", "d", "--label", "restricted", "--to", "trial", "--to", "bob", rc=2)
    assert not FILE.exists()
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    own = [ada.identity, bob.identity]
    with pytest.raises(Exception, match="none of the identities"):
        open_(FILE.read_bytes(), own)


def test_file_of_a_shredded_key_is_overwritten_before_it_is_removed(ada: Any) -> None:
    """A second name of the same file holds nothing any more."""
    ada.run("keys", "add", "trial", "--dataset")
    key = ada.home / "keys" / "trial.age"
    second = ada.home / "second"
    second.hardlink_to(key)
    size = len(key.read_bytes())
    ada.run("keys", "shred", "trial", "--yes")
    assert second.read_bytes() == bytes(size)


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_no_identity_shows_in_log_output_error_or_repr(ada: Any, bob: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """All that the commands print, record and write, but the identity files and the page that was asked for."""
    said = [
        ada.run("keys", "add", "bob", bob.pub, "--group", "owners", "--json"),
        ada.run("keys", "add", "trial", "--dataset"),
        ada.run("keys", "show", "--json"),
        ada.run("keys", "show"),
        ada.run("keys", "rotate"),
        ada.run("keys", "rotate", "trial", "--json"),
        ada.run("keys", "backup", "page.svg", "--json"),
        ada.run("keys", "add", "x", ada.home / "identity", rc=2),
        ada.run("keys", "lock", rc=2),
        ada.run("doctor", "--json", rc=1),
        ada.run("log", "list", "--json"),
    ]
    chain = Keychain(ada.home, None)
    identities = list(chain())
    ada.run("keys", "shred", "trial", "--yes")
    assert len(identities) == 4  # own, before, dataset and dataset before
    texts = [result.output + repr(result.exception) for result in said]
    texts += [repr(chain), repr(identities), repr(ada.entries()), *capfd.readouterr()]
    written = [path for path in ada.home.rglob("*") if path.is_file() and path.parent.name != "identities"]
    texts += [path.read_bytes().decode("latin-1") for path in written if path.name != "identity"]
    for identity in [*identities, *load_identities([ada.home / "identity"], None)]:
        secret = identity.reveal()
        for text in texts:
            assert secret[20:50] not in text
    assert all("AGE-SECRET-KEY-PQ-1" not in text for text in texts)


def test_names_of_colleagues_stand_in_the_policy_and_not_as_recipients_in_the_log(ada: Any, bob: Any) -> None:
    """The log names fingerprints: a recipient string of two thousand characters tells it nothing more."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    log = b"".join(path.read_bytes() for path in ada.home.glob("log.db*"))
    assert bob.identity.recipient.text.encode() not in log
    assert parse_recipient(bob.identity.recipient.text).fingerprint.encode() in log


def _open(sealed: SealedOutput, account: Any) -> tuple[Any, Any]:
    from qnb.core.seal.output import open_output

    return open_output(sealed, [account.identity])
