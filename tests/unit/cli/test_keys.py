"""`qnb keys`: who is named, dataset keys, and what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal import generate_identity
from qnb.store.config import load_policy


def test_show_names_the_own_recipient_and_who_can_open(ada: Any, bob: Any) -> None:
    """For people and for programs: recipient whole, groups, levels, protection."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "recovery")
    shown = ada.json("keys", "show")
    own = shown["own"]
    assert own["recipient"] == ada.identity.recipient.text == ada.run("keys", "show", "--recipient").stdout.strip()
    assert own["fingerprint"] == ada.identity.recipient.fingerprint
    assert (own["protection"], len(own["names"]), own["retired"]) == ("plain", 1, [])
    name = own["names"][0]
    assert shown["groups"] == {"owners": [name], "recovery": ["bob"]}
    assert {row["level"]: row["readers"] for row in shown["levels"] if row["sealed"]} == {
        "confidential": [name, "bob"], "restricted": [name, "bob"],
    }  # fmt: skip
    page = ada.run("keys", "show").stdout
    assert own["recipient"] in page
    assert "qnb keys lock" in page


def test_show_without_a_home_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ada: Any) -> None:
    """Looking changes nothing; an account without an identity is told how to make one."""
    ada.home = tmp_path / "none"
    assert ada.json("keys", "show")["own"]["recipient"] is None
    ada.run("keys", "show", "--recipient", rc=2)
    assert not ada.home.exists()


def test_recipient_added_reads_what_is_sealed_from_then_on(ada: Any, bob: Any) -> None:
    """In the policy, in the log as decision, policy and key; and sealed for."""
    Path("old").write_text("old")
    ada.run("seal", "old", "--label", "restricted")
    before = load_policy(ada.home).digest
    said = ada.json("keys", "add", "bob", bob.pub, "--group", "owners")
    assert said["fingerprint"] == bob.identity.recipient.fingerprint
    decision, policy, key = ada.entries()[-3:]
    assert (decision.action, decision.allow, decision.label) == ("share", True, "restricted")
    assert (policy.kind, policy.policy) == ("policy", load_policy(ada.home).digest)
    assert policy.policy != before
    assert (key.kind, key.predicate["event"], key.predicate["name"]) == ("key", "added", "bob")
    assert key.predicate["fingerprint"] == said["fingerprint"]
    assert ada.json("verify")["held"]
    Path("new").write_text("new")
    ada.run("seal", "new", "--label", "restricted")
    assert bob.opens(Path("new.age"))
    assert not bob.opens(Path("old.age"))


def test_recipient_is_taken_as_string_and_from_a_file(ada: Any, bob: Any) -> None:
    """Two thousand characters are no pleasure to paste; the file that `show --recipient` wrote will do."""
    ada.run("keys", "add", "one", bob.identity.recipient.text)
    ada.run("keys", "add", "two", bob.home / "identity.pub")
    assert ada.names()["one"] == ada.names()["two"] == bob.identity.recipient.text


@pytest.mark.parametrize(
    ("args", "rc"),
    [
        (("add", "bob"), 2),
        (("add", "bob", "age1pq1nonsense"), 2),
        (("add", "bob", "no-such-file"), 2),
        (("add", "bob", "{pub}", "--group", "ownres"), 2),
        (("add", "owners", "{pub}"), 2),
        (("add", "a b", "{pub}"), 2),
        (("add", "age1x", "{pub}"), 2),
        (("add", "bob", "{classic}"), 2),
        (("add", "bob", "{pub}", "--dataset"), 2),
        (("add", "bob", "{pub}", "--for", "owners"), 2),
        (("remove", "nobody"), 2),
        (("shred", "nobody", "--yes"), 2),
        (("shred", "../../work/elsewhere", "--yes"), 2),
        (("rotate", "nobody"), 2),
        (("rewrap", "no-such-file"), 2),
    ],
)
def test_wrong_word_changes_nothing(ada: Any, bob: Any, args: tuple[str, ...], rc: int) -> None:
    """A policy that would not hold as a whole never takes the place of one that does."""
    from qnb.core.seal.x25519 import X25519Identity

    classic = X25519Identity(b"c" * 32).recipient.text
    Path("elsewhere.age").write_text("not a key")
    before = {path: path.read_bytes() for path in (ada.home / "policy").iterdir()}
    ada.run("keys", *(arg.format(pub=bob.pub, classic=classic) for arg in args), rc=rc)
    assert {path: path.read_bytes() for path in (ada.home / "policy").iterdir()} == before
    assert Path("elsewhere.age").read_text() == "not a key"


def test_identity_given_for_a_recipient_is_not_repeated(ada: Any, bob: Any) -> None:
    """Whoever names the wrong file does not find the secret in the error, or in the policy."""
    secret = bob.identity.reveal()
    for given in (bob.home / "identity", secret):
        result = ada.run("keys", "add", "bob", given, rc=2)
        assert secret[:30] not in result.output + str(result.exception)


def test_account_that_may_not_share_changes_nobody(ada: Any, bob: Any) -> None:
    """Least privilege: a researcher names, removes and makes nothing; the denial is recorded."""
    toml = ada.home / "policy" / "qnb.toml"
    toml.write_text(toml.read_text().replace('data-owner = ["@os-user"]', "data-owner = []"))
    before = toml.read_bytes()
    own = next(iter(ada.names()))
    for args in (("add", "bob", bob.pub), ("add", "trial", "--dataset"), ("remove", own), ("rotate",)):
        if args[0] == "remove":  # somebody else has to be left, or that alone would refuse it
            spare = generate_identity().recipient.text
            toml.write_text(toml.read_text().replace("recovery = []", f'recovery = ["{spare}"]'))
            before = toml.read_bytes()
        ada.run("keys", *args, rc=1)
        assert (ada.entries()[-1].action, ada.entries()[-1].allow) == ("share", False)
    assert toml.read_bytes() == before
    assert not (ada.home / "keys").exists() or not list((ada.home / "keys").iterdir())
    assert not (ada.home / "identities").exists()


def test_last_reader_of_a_level_is_not_removed(ada: Any) -> None:
    """Nothing could be sealed any more, so it is refused."""
    ada.run("keys", "remove", next(iter(ada.names())), rc=2)
    assert ada.names()


def test_removing_says_what_stays_open(ada: Any, bob: Any) -> None:
    """And which dataset keys the one removed may hold."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "owners")
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    said = ada.run("keys", "remove", "bob").stdout
    assert "qnb keys rewrap" in said
    assert "qnb keys rotate trial" in said
    assert ada.entries("key")[-1].predicate["event"] == "removed"


def test_comments_and_modes_of_the_policy_survive(ada: Any, bob: Any) -> None:
    """It is a person's file."""
    toml = ada.home / "policy" / "qnb.toml"
    toml.write_text("# ours, since 2024\n" + toml.read_text())
    toml.chmod(0o640)
    ada.run("keys", "add", "bob", bob.pub)
    ada.run("keys", "remove", "bob")
    assert toml.read_text().startswith("# ours, since 2024\n")
    assert toml.stat().st_mode & 0o777 == 0o640


def test_policy_that_cannot_be_written_leaves_no_key_behind(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset's identity is there before the policy names it, and gone when it does not come to that."""
    from qnb.errors import StorageError

    def full(*_: object, **__: object) -> None:
        raise StorageError("not-written", "the disk is full")

    monkeypatch.setattr("qnb.store.recipients.write_atomic", full)
    ada.run("keys", "add", "trial", "--dataset", rc=2)
    assert list((ada.home / "keys").iterdir()) == []
    assert "trial" not in ada.names()


def test_dataset_key_seals_opens_and_is_found_by_itself(ada: Any, bob: Any) -> None:
    """Sealed to the key alone; a member opens it through the key, and whoever lacks the key's file does not."""
    ada.run("keys", "add", "bob", bob.pub, "--group", "recovery")
    made = ada.json("keys", "add", "trial", "--dataset", "--for", "owners")
    assert made["members"] == [ada.identity.recipient.fingerprint, bob.identity.recipient.fingerprint]
    key = Path(made["file"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"SECRET" not in key.read_bytes()
    Path("d").write_text("data")
    assert ada.json("seal", "d", "--label", "restricted", "--to", "trial")["recipients"] == [made["fingerprint"]]
    ada.seal_cell(Path("n.ipynb"), "data", to=["trial"])
    assert ada.opens(Path("d.age"))
    assert ada.opens(Path("n.ipynb"))
    assert not bob.opens(Path("d.age"))
    (bob.home / "keys").mkdir()
    (bob.home / "keys" / "trial.age").write_bytes(key.read_bytes())
    assert bob.opens(Path("d.age"))
    assert bob.opens(Path("n.ipynb"))
    event = ada.entries("key")[-1].predicate
    assert (event["event"], event["name"], event["members"]) == ("created", "trial", made["members"])
    row = ada.json("keys", "show")["datasets"][0]
    assert (row["name"], row["readers"], row["file"]) == (
        "trial",
        [*ada.json("keys", "show")["own"]["names"], "bob"],
        made["file"],
    )


def test_level_sealed_to_a_classification_key_opens_through_it(ada: Any) -> None:
    """A level whose recipients are one key: everything of that level can be erased at once."""
    ada.run("keys", "add", "restricted-2026", "--dataset")
    toml = ada.home / "policy" / "qnb.toml"
    head, _, tail = toml.read_text().partition("[levels.restricted]")
    toml.write_text(
        head
        + "[levels.restricted]"
        + tail.replace('recipients = ["owners", "recovery"]', 'recipients = ["restricted-2026"]', 1)
    )
    ada.run("policy", "check")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "restricted")
    assert ada.opens(Path("d.age"))
    ada.run("keys", "shred", "restricted-2026", "--yes", rc=2)  # the level would have nobody to seal to
    assert ada.opens(Path("d.age"))


def test_new_member_opens_once_the_key_is_sealed_for_it(ada: Any, bob: Any) -> None:
    """`add` says so, and `rewrap NAME` does it."""
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    said = ada.run("keys", "add", "bob", bob.pub, "--group", "owners").stdout
    assert "qnb keys rewrap trial" in said
    (bob.home / "keys").mkdir()
    copy = bob.home / "keys" / "trial.age"
    copy.write_bytes((ada.home / "keys" / "trial.age").read_bytes())
    assert not bob.opens(Path("d.age"))
    said = ada.json("keys", "rewrap", "trial")
    assert bob.identity.recipient.fingerprint in said["rewrapped"][0]["members"]
    decision, entry = ada.entries()[-2:]
    assert (decision.action, entry.predicate["event"], entry.decision) == (
        "share",
        "resealed",
        said["rewrapped"][0]["entry"] - 1,
    )
    copy.write_bytes((ada.home / "keys" / "trial.age").read_bytes())
    assert bob.opens(Path("d.age"))


def test_shredding_asks_and_does_nothing_without_an_answer(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal `--yes` is needed; at one, the name has to be typed."""
    ada.run("keys", "add", "trial", "--dataset")
    ada.run("keys", "shred", "trial", rc=2)
    monkeypatch.setattr("qnb.cli.keys.at_terminal", lambda: True)
    ada.run("keys", "shred", "trial", rc=1, input="no\n")
    assert (ada.home / "keys" / "trial.age").exists()
    ada.run("keys", "shred", "trial", input="trial\n")
    assert not (ada.home / "keys" / "trial.age").exists()


def test_shredding_is_recorded_with_scope_and_time(ada: Any) -> None:
    """Which identities, how many ciphertexts, when; and the policy seals to it no more."""
    made = ada.json("keys", "add", "trial", "--dataset")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    ada.seal_cell(Path("n.ipynb"), "data", to=["trial"])
    rotated = ada.json("keys", "rotate", "trial")
    said = ada.json("keys", "shred", "trial", "--yes")
    assert said["ciphertexts"] == 2
    assert said["fingerprints"] == [rotated["fingerprint"], made["fingerprint"]]
    event = ada.entries("key")[-1]
    assert event.predicate["event"] == "shredded"
    assert event.predicate["erasure"] == {"fingerprints": said["fingerprints"], "ciphertexts": 2}
    assert event.time[:19] >= said["time"][:19]
    assert "trial" not in ada.names()
    assert ada.json("verify")["held"]
    ada.run("seal", "d", "--label", "restricted", "--to", "trial", "-o", "e.age", rc=1)
    assert ada.json("keys", "show")["shredded"][0]["name"] == "trial"


@pytest.mark.parametrize("stop", ["destroy_file", "save_shredded", "change_policy"])
def test_shredding_that_was_stopped_is_finished_by_the_next(
    ada: Any, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """Wherever it stops, saying it again erases and records."""
    from qnb.store import datasets

    ada.run("keys", "add", "trial", "--dataset")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "restricted", "--to", "trial")
    real = getattr(datasets, stop)

    def die(*args: object, **more: object) -> None:
        real(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(datasets, stop, die)
        with pytest.raises(BaseException):  # noqa: B017, PT011
            ada.run("keys", "shred", "trial", "--yes")
    ada.run("keys", "shred", "trial", "--yes")
    assert not ada.opens(Path("d.age"))
    assert ada.entries("key")[-1].predicate["event"] == "shredded"
    assert ada.json("verify")["held"]


def test_damaged_key_file_is_named(ada: Any) -> None:
    """And one's own identity opens what it opens all the same."""
    ada.run("keys", "add", "trial", "--dataset")
    Path("d").write_text("data")
    ada.run("seal", "d", "--label", "restricted")
    ada.run("seal", "d", "--label", "restricted", "--to", "trial", "-o", "t.age")
    key = ada.home / "keys" / "trial.age"
    key.write_bytes(key.read_bytes()[:-1])
    assert ada.opens(Path("d.age"))
    result = ada.run("unseal", "t.age", "-o", "t", rc=2)
    assert "trial.age" in str(result.exception)


def test_whole_answer_of_show_is_json(ada: Any) -> None:
    """One object, a line."""
    assert len(ada.run("keys", "show", "--json").stdout.splitlines()) == 1
    assert json.loads(ada.run("keys", "show", "--json").stdout)["home"] == str(ada.home)
