"""Each handler on a real server, its answers held against the contract."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qnb.core.seal import generate_identity, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.server.contract import schema
from qnb.store.config import init_home

TEXT = "energy -1.137"


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose account has a plain identity, shared by the module."""
    base = tmp_path_factory.mktemp("handlers")
    init_home(base / "home")
    return start_server(base, "c.QnbServer.request_burst = 1000\n")


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    """A browser that is logged in."""
    return server.browser()


def agreed(reply: Any, name: str) -> Any:
    """The answer, once it is known to be what the contract says."""
    Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema()["$defs"]}).validate(reply.json)
    return reply.json


def sealed(client: Any, cell: str = "c1", text: str = TEXT, label: str = "confidential") -> dict[str, Any]:
    request = {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": text}],
        "label": label,
        "notebook": "n1",
        "cell": cell,
        "source": "%%qsecure\nprint(1)\n",
    }
    reply = client.post("qnb/seal", request)
    return {
        "bundle": agreed(reply, "Sealed")["data"][MIME],
        "notebook": "n1",
        "cell": cell,
        "source": "%%qsecure\nprint(1)",
    }


def problem(reply: Any, status: int, kind: str) -> dict[str, Any]:
    found = agreed(reply, "ErrorReply")["error"]
    assert (reply.status, found["kind"]) == (status, kind), reply.text
    return found


def test_status_says_what_the_front_end_needs(client: Any, server: Any) -> None:
    """Identity, principal, policy and log; a plain identity is open and never forgotten."""
    sealed(client)
    status = agreed(client.get("qnb/status"), "Status")
    assert status["identity"]["state"] == "open"
    assert (status["identity"]["protection"], status["identity"]["idle"]) == ("plain", None)
    assert status["identity"]["fingerprints"] == sealed(client)["bundle"]["recipients"]
    assert status["principal"]["assurance"] == "os"
    levels = {level["name"]: level["seals"] for level in status["policy"]["levels"]}
    assert levels == {"public": False, "internal": False, "confidential": True, "restricted": True}
    assert (status["policy"]["session"], status["policy"]["cell"]) == ("internal", "confidential")
    assert status["log"]["origin"] in (server.home / "log.vkey").read_text()
    assert status["problem"] is None


def test_sealed_output_is_opened_verified_and_recorded(client: Any) -> None:
    """The answer holds the outputs, what they are bound to, every step of the check and the entry of the opening."""
    item = sealed(client, label="restricted//ip")
    answer = agreed(client.post("qnb/unseal", item), "Unsealed")
    assert answer["outputs"] == [{"output_type": "stream", "name": "stdout", "text": TEXT}]
    assert (answer["label"], answer["state"], answer["findings"]) == ("restricted//ip", "ok", [])
    assert answer["verification"]["vouched"]
    assert {step["name"]: step["held"] for step in answer["verification"]["steps"]} == dict.fromkeys(
        ("ciphertext", "place", "entry", "inclusion", "checkpoint", "log", "current", "source"), True
    )
    (entry,) = client.get(f"qnb/entries?notebook=n1&after={answer['entry'] - 1}").json["entries"]
    assert (entry["index"], entry["kind"], entry["status"], entry["cell"]) == (answer["entry"], "unseal", "ok", "c1")


def test_edited_source_and_older_output_are_found_and_still_vouched_for(client: Any) -> None:
    """Whose source was edited is what it was; the reader is told."""
    item = sealed(client, "c-edited")
    sealed(client, "c-edited")
    answer = agreed(client.post("qnb/unseal", {**item, "source": "print(2)"}), "Unsealed")
    assert answer["findings"] == ["source-edited"]
    assert (answer["verification"]["held"], answer["verification"]["vouched"]) == (False, True)
    failed = {step["code"] for step in answer["verification"]["steps"] if step["held"] is False}
    assert failed == {"source-edited", "superseded"}


def test_output_without_an_entry_opens_and_is_not_vouched_for(client: Any, server: Any) -> None:
    """A live update, or one whose entry was taken away: the front end shows less of it."""
    item = sealed(client)
    del item["bundle"]["entry"]
    answer = agreed(client.post("qnb/unseal", item), "Unsealed")
    assert answer["findings"] == ["unrecorded"]
    assert not answer["verification"]["vouched"]


def test_output_of_another_cell_or_notebook_is_moved(client: Any) -> None:
    """The place is compared with what was sealed."""
    item = sealed(client)
    problem(client.post("qnb/unseal", {**item, "cell": "c2"}), 422, "moved")
    problem(client.post("qnb/unseal", {**item, "notebook": "n2"}), 422, "moved")


@pytest.mark.parametrize("change", ["label", "age", "digest"])
def test_output_that_was_altered_is_tampered(client: Any, change: str) -> None:
    """A clear field, the ciphertext, or its digest."""
    item = sealed(client)
    other = sealed(client, text="other")["bundle"]
    item["bundle"][change] = "restricted" if change == "label" else other[change]
    problem(client.post("qnb/unseal", item), 422, "tampered")


def test_output_of_others_says_that_it_is_not_for_this_identity(client: Any) -> None:
    """A colleague's output is no error of the file."""
    header = OutputHeader(1, "s", 1, "ok", None, "confidential", "n1", "c1", None)
    stranger = generate_identity().recipient
    bundle = sealed_bundle(header, seal(pack_output(header, []), [stranger]), [stranger])
    problem(client.post("qnb/unseal", {**sealed(client), "bundle": bundle}), 403, "not-recipient")


def test_value_that_is_no_bundle_is_invalid(client: Any) -> None:
    """Whatever a notebook holds under the MIME type."""
    problem(client.post("qnb/unseal", {**sealed(client), "bundle": {"version": 1}}), 400, "invalid")


def test_denial_is_answered_with_the_decision_and_a_changed_policy_counts_at_once(client: Any, server: Any) -> None:
    """The policy is read anew when it changed on disk; a denial opens nothing."""
    item = sealed(client)
    policy = server.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text(good.replace('["@os-user"]', "[]"))
    try:
        assert "recorded as entry" in problem(client.post("qnb/unseal", item), 403, "denied")["message"]
        problem(
            client.post("qnb/seal", {**item, "outputs": [{"output_type": "stream"}], "label": "restricted"} | {}),
            400,
            "invalid",
        )
    finally:
        policy.write_text(good)
    assert client.post("qnb/unseal", item).status == 200


def test_all_are_opened_at_once_each_with_its_own_answer(client: Any) -> None:
    """In order, of several notebooks and labels, whatever becomes of the others."""
    good, restricted = sealed(client, "c1"), sealed(client, "c2", label="restricted")
    moved = {**sealed(client, "c3"), "notebook": "n2"}
    broken = {**good, "bundle": {"version": 1}}
    answers = agreed(client.post("qnb/unseal-all", {"items": [good, moved, broken, restricted]}), "UnsealAllReply")
    kinds = [answer.get("error", {}).get("kind", answer.get("label")) for answer in answers["results"]]
    assert kinds == ["confidential", "moved", "invalid", "restricted"]


def test_outputs_sealed_for_a_label_are_what_the_kernel_would_have_made(client: Any) -> None:
    """A bundle with its receipt, and the two cards; whatever was in it comes out again."""
    outputs = [
        {"output_type": "display_data", "data": {"image/png": base64.b64encode(b"x").decode()}, "metadata": {}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
        {"output_type": "display_data"},
    ]
    request = {"outputs": outputs, "label": "restricted // phi, ip", "notebook": "n1", "cell": "c9", "source": None}
    answer = agreed(client.post("qnb/seal", request), "Sealed")
    assert answer["label"] == "restricted//ip,phi"
    bundle = answer["data"][MIME]
    assert (bundle["state"], bundle["entry"]["index"]) == ("failed", answer["entry"])
    back = client.post("qnb/unseal", {"bundle": bundle, "notebook": "n1", "cell": "c9", "source": None}).json["outputs"]
    assert back[:3] == outputs[:3]
    assert json.loads(back[3]["text"]) == outputs[3]


@pytest.mark.parametrize("label", ["internal", "nonsense", "restricted//nonsense"])
def test_label_that_nothing_is_sealed_at_is_invalid(client: Any, label: str) -> None:
    """Nor is one that the policy does not know."""
    output = {"output_type": "stream", "name": "stdout", "text": "x"}
    request = {"outputs": [output], "label": label, "notebook": None, "cell": None, "source": None}
    problem(client.post("qnb/seal", request), 400, "invalid")


def test_notebook_is_verified_output_by_output(client: Any) -> None:
    """One report for each, with where it stands; one that was moved fails the whole."""
    outputs = [
        {"output_type": "display_data", "data": {MIME: sealed(client, cell)["bundle"]}, "metadata": {}}
        for cell in ("c1", "c2")
    ]
    cells = [{"cell_type": "code", "id": f"c{n}", "source": "", "outputs": [o]} for n, o in enumerate(outputs, 1)]
    nb = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"qnb": {"id": "n1"}}, "cells": cells}
    good = agreed(client.post("qnb/verify", {"notebook": nb}), "VerifyReply")
    assert [(r["cell"], r["cell_index"], r["output_index"]) for r in good["checked"]] == [("c1", 0, 0), ("c2", 1, 0)]
    assert good["authenticated"]
    cells[0]["id"] = "elsewhere"
    assert not agreed(client.post("qnb/verify", {"notebook": nb}), "VerifyReply")["held"]
    problem(client.post("qnb/verify", {"notebook": {"cells": []}}), 400, "invalid")


def test_entries_come_page_by_page(client: Any) -> None:
    """Oldest first, those of one notebook alone; the last page says where to go on later."""
    for cell in ("a", "b", "c"):
        item = sealed(client, cell)
        client.post("qnb/unseal", item)
    whole = agreed(client.get("qnb/entries?notebook=n1&limit=500"), "EntriesReply")
    assert not whole["more"]
    pages, after = [], -1
    while True:
        page = agreed(client.get(f"qnb/entries?notebook=n1&limit=2&after={after}"), "EntriesReply")
        pages += page["entries"]
        after = page["next"]
        if not page["more"]:
            break
    assert [entry["index"] for entry in pages] == [entry["index"] for entry in whole["entries"]]
    assert agreed(client.get(f"qnb/entries?notebook=n1&after={after}"), "EntriesReply")["entries"] == []
    sealed(client, "d")
    (new,) = client.get(f"qnb/entries?notebook=n1&after={after}").json["entries"]
    assert (new["kind"], new["cell"]) == ("seal", "d")
    assert client.get("qnb/entries?notebook=unknown").json["entries"] == []


@pytest.mark.parametrize("query", ["", "notebook=", "notebook=n&after=x", "notebook=n&limit=0", "notebook=n&limit=501"])
def test_query_that_does_not_fit_is_invalid(client: Any, query: str) -> None:
    """Each parameter is bounded."""
    problem(client.get(f"qnb/entries?{query}"), 400, "invalid")


@pytest.mark.parametrize("name", ["unseal", "unseal-all", "seal", "verify"])
def test_body_that_does_not_fit_is_invalid(client: Any, name: str) -> None:
    """Every body is held against the contract before anything is done."""
    problem(client.post(f"qnb/{name}", {}), 400, "invalid")


def test_output_of_a_colleagues_log_is_vouched_for_by_pinned_keys(
    client: Any, server: Any, start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The log is not at hand there; with its public keys in the settings the entry is believed, without them not."""
    item = sealed(client)
    for keys, vouched in (([str(server.home / "log.vkey")], True), ([], False)):
        base = tmp_path_factory.mktemp("colleague")
        init_home(base / "home", identity=False)
        (base / "home" / "identity").write_bytes((server.home / "identity").read_bytes())
        (base / "home" / "identity").chmod(0o600)
        colleague = start_server(base, f"c.QnbServer.signers = {keys!r}\n").browser()
        answer = agreed(colleague.post("qnb/unseal", item), "Unsealed")
        assert answer["verification"]["vouched"] is vouched
        steps = {step["name"]: step["held"] for step in answer["verification"]["steps"]}
        assert (steps["checkpoint"], steps["log"]) == (True if vouched else None, None)


def test_body_beyond_the_bound_is_refused(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The bound is a setting."""
    client = start_server(tmp_path_factory.mktemp("bound"), "c.QnbServer.max_body_bytes = 2048\n").browser()
    problem(client.post("qnb/verify", {"notebook": {"text": "x" * 2048}}), 413, "invalid")


def test_account_without_anything_has_a_status_and_gets_nothing_made(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Looking makes no keys; opening says what is missing; sealing makes them, as a kernel does on first use."""
    client = start_server(tmp_path_factory.mktemp("empty")).browser()
    status = agreed(client.get("qnb/status"), "Status")
    assert (status["identity"]["state"], status["log"], status["problem"]) == ("missing", None, None)
    assert status["policy"] is not None
    item = {"bundle": {}, "notebook": None, "cell": None, "source": None}
    problem(client.post("qnb/unseal", item), 409, "no-identity")
    problem(client.post("qnb/unlock", {"passphrase": "x"}), 409, "no-identity")
    assert not client.server.home.exists()
    assert client.post("qnb/unseal", sealed(client)).status == 200


def test_policy_that_cannot_be_read_is_said_in_the_status(client: Any, server: Any) -> None:
    """The front end can say why nothing works."""
    policy = server.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text("version = 99\n")
    try:
        status = agreed(client.get("qnb/status"), "Status")
        assert status["policy"] is None
        assert status["problem"]["kind"] == "unavailable"
        problem(
            client.post(
                "qnb/seal",
                {
                    "outputs": [{"output_type": "stream"}],
                    "label": "restricted",
                    "notebook": None,
                    "cell": None,
                    "source": None,
                },
            ),
            503,
            "unavailable",
        )
    finally:
        policy.write_text(good)


def test_extension_is_on_without_being_asked_for(server: Any) -> None:
    """The file that the wheel puts beside Jupyter's own is what turned it on here."""
    log = server.log.read_text()
    assert "qnb.server | extension was successfully loaded" in log
    assert Path(server.base / "config" / "jupyter_server_config.d" / "qnb.json").exists()
