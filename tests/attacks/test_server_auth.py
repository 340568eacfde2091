"""The server's handlers against who should not get through, and against what should not stay behind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnb.core.seal.output import MIME
from qnb.server.handlers import HANDLERS, QnbHandler
from qnb.store.config import init_home

CANARY = "canary-e19a07"
PASSPHRASE = "correct horse canary-pass battery"
METHODS = ("get", "post", "put", "patch", "delete")
ROUTES = [(name, method) for name, handler in HANDLERS.items() for method in METHODS if method in vars(handler)]
DENY_ALL = """
from jupyter_server.auth.authorizer import Authorizer
class Nobody(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        print("asked", action, resource, flush=True)
        return resource != "qnb"
c.ServerApp.authorizer_class = Nobody
"""


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose identity is under a passphrase, and that forgets it only when told."""
    base = tmp_path_factory.mktemp("auth")
    init_home(base / "home", passphrase=PASSPHRASE)
    return start_server(base, "c.QnbServer.passphrase_burst = 3\nc.QnbServer.passphrases_per_minute = 0.01\n")


def item(client: Any, text: str = CANARY, cell: str = "c1") -> dict[str, Any]:
    """A sealed output as it stands in a notebook, ready to be opened."""
    request = {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": text}],
        "label": "restricted",
        "notebook": "n1",
        "cell": cell,
        "source": "print(1)",
    }
    reply = client.post("qnb/seal", request)
    assert reply.status == 200, reply.text
    return {"bundle": reply.json["data"][MIME], "notebook": "n1", "cell": cell, "source": "print(1)"}


def test_every_route_of_the_application_is_in_this_test(server: Any) -> None:
    """A handler that is added is tested as the others are, with each of its methods, and all share one base."""
    assert {name for name, _ in ROUTES} == set(HANDLERS)
    for handler in HANDLERS.values():
        assert issubclass(handler, QnbHandler)
        assert handler.auth_resource == "qnb"
        assert sum(method in vars(handler) for method in METHODS) == 1


@pytest.mark.parametrize(("name", "method"), ROUTES)
def test_request_without_login_is_not_let_in(server: Any, name: str, method: str) -> None:
    """With the right XSRF token, but neither cookie nor token of the server."""
    reply = server.stranger().request(method.upper(), f"qnb/{name}", {} if method == "post" else None)
    assert (reply.status, reply.kind) == (403, "forbidden")


@pytest.mark.parametrize(("name", "method"), ROUTES)
def test_wrong_token_is_not_let_in(server: Any, name: str, method: str) -> None:
    """A token that is not the server's is none."""
    headers = {"Authorization": "token 0000"}
    reply = server.stranger().request(method.upper(), f"qnb/{name}", {} if method == "post" else None, headers=headers)
    assert (reply.status, reply.kind) == (403, "forbidden")


@pytest.mark.parametrize("name", [name for name, method in ROUTES if method == "post"])
@pytest.mark.parametrize("xsrf", [None, "wrong"])
def test_post_from_another_site_is_not_let_in(server: Any, name: str, xsrf: str | None) -> None:
    """The cookie alone, which a browser sends along for any page, is not enough."""
    client = server.browser()
    reply = client.post(f"qnb/{name}", {}, xsrf=xsrf)
    assert (reply.status, reply.kind) == (403, "forbidden")


def test_get_from_another_site_is_not_let_in(server: Any) -> None:
    """Nor may another page read what a GET answers."""
    headers = {"Origin": "https://elsewhere.example", "Host": server.url.split("/")[2]}
    assert server.browser().get("qnb/status", headers=headers).status in (403, 404)


def test_every_route_asks_the_authorizer(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A user who is known, but whom the server's authorizer gives nothing on the resource `qnb`, gets nothing."""
    client = start_server(tmp_path_factory.mktemp("denied"), DENY_ALL).browser()
    for name, method in ROUTES:
        reply = client.request(method.upper(), f"qnb/{name}", {} if method == "post" else None)
        assert (reply.status, reply.kind) == (403, "forbidden"), name
    asked = [line.split()[1] for line in client.server.log.read_text().splitlines() if line.endswith(" qnb")]
    assert sorted(asked) == sorted(["read", "execute", "execute", "execute", "execute", "write", "read", "read"])


def test_what_one_user_unlocked_stays_locked_for_another(server: Any) -> None:
    """Until the other brings the passphrase, too; and locking is each one's own."""
    first, second = server.browser(), server.browser()
    sealed = item(first)
    assert first.post("qnb/unseal", sealed).kind == "locked"
    assert first.post("qnb/unlock", {"passphrase": PASSPHRASE}).json["state"] == "open"
    assert CANARY in first.post("qnb/unseal", sealed).text
    reply = second.post("qnb/unseal", sealed)
    assert (reply.status, reply.kind) == (423, "locked")
    assert second.get("qnb/status").json["identity"]["state"] == "locked"
    assert first.post("qnb/lock").json["state"] == "locked"
    assert first.post("qnb/unseal", sealed).kind == "locked"


def test_locked_identity_leaves_no_entry(server: Any) -> None:
    """Nothing was decided, so nothing is recorded: a card that asks again and again does not fill the log."""
    client = server.browser()
    sealed = item(client)
    before = client.get("qnb/status").json["log"]["size"]
    assert client.post("qnb/unseal", sealed).kind == "locked"
    assert client.get("qnb/status").json["log"]["size"] == before


def test_server_opens_for_its_owner_alone_on_a_hub(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """JupyterHub lets others in where a server is shared; the identity is the owner's."""
    base = tmp_path_factory.mktemp("hub")
    init_home(base / "home")
    client = start_server(base, JUPYTERHUB_USER="ada").browser()
    sealed = item(client)
    for name, body in (("unseal", sealed), ("unseal-all", {"items": [sealed]}), ("unlock", {"passphrase": "x"})):
        reply = client.post(f"qnb/{name}", body)
        assert (reply.status, reply.json["error"]["code"]) == (403, "not-an-opener")


def test_passphrases_cannot_be_tried_at_will(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Three wrong ones, by whomever, and the next has to wait: a new user for each try gains nothing."""
    base = tmp_path_factory.mktemp("passphrases")
    init_home(base / "home", passphrase=PASSPHRASE)
    config = "c.QnbServer.passphrase_burst = 3\nc.QnbServer.passphrases_per_minute = 0.01\n"
    server = start_server(base, config)
    for _ in range(3):
        reply = server.script().post("qnb/unlock", {"passphrase": "wrong"})
        assert (reply.status, reply.kind) == (403, "wrong-passphrase")
    reply = server.script().post("qnb/unlock", {"passphrase": PASSPHRASE})
    assert (reply.status, reply.kind) == (429, "rate-limited")
    assert int(reply.headers["Retry-After"]) > 60


def test_requests_are_bounded_for_each_user_and_for_all(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One user who asks too often is told to wait while another is served; nobody gets around it without a cookie."""
    config = "c.QnbServer.request_burst = 2\nc.QnbServer.requests_per_second = 0.01\n"
    server = start_server(tmp_path_factory.mktemp("limits"), config)
    one, other = server.browser(), server.browser()
    assert [one.get("qnb/status").status for _ in range(4)] == [200, 200, 429, 429]
    assert other.get("qnb/status").status == 200
    statuses = [server.script().get("qnb/status").status for _ in range(12)]
    assert statuses == sorted(statuses)
    assert statuses[-1] == 429


def test_request_that_is_too_large_or_malformed_is_not_quoted(server: Any) -> None:
    """Bounded, checked against the contract, and what was sent does not come back in the error or the log."""
    client = server.browser()
    bodies: list[Any] = [
        b"{" + CANARY.encode(),
        b"[" * 5000 + CANARY.encode(),
        {"passphrase": [CANARY]},
        {"passphrase": "x", CANARY: 1},
        {"passphrase": CANARY * 400},
        [CANARY],
    ]
    for body in bodies:
        reply = client.post("qnb/unlock", body)
        assert (reply.status, reply.kind) == (400, "invalid"), body
        assert CANARY not in reply.text


def test_answers_are_not_kept_by_the_browser(server: Any) -> None:
    """`no-store`, and no cookie or header says anything of the content."""
    client = server.browser()
    client.post("qnb/unlock", {"passphrase": PASSPHRASE})
    reply = client.post("qnb/unseal", item(client))
    assert reply.headers["Cache-Control"] == "no-store"
    assert CANARY not in json.dumps(reply.headers)


def test_nothing_of_content_or_passphrase_stays_behind(server: Any) -> None:
    """After opening, failing and sealing: no file that the server wrote holds them, its log has the ids alone."""
    client = server.browser()
    assert client.post("qnb/unlock", {"passphrase": PASSPHRASE}).status == 200
    sealed = item(client)
    assert CANARY in client.post("qnb/unseal", sealed).text
    assert CANARY in client.post("qnb/unseal-all", {"items": [sealed, {**sealed, "cell": "elsewhere"}]}).text
    assert client.post("qnb/unseal", {**sealed, "notebook": "elsewhere"}).kind == "moved"
    assert server.leaks(CANARY) == []
    assert server.leaks("canary-pass") == []


def test_failure_inside_is_answered_without_its_text(server: Any, tmp_path: Path) -> None:
    """Something in a request that nobody thought of ends in an error of ours, not in a traceback."""
    client = server.browser()
    surrogate = {"nbformat": 4, "cells": [{"id": {"a": CANARY}, "source": 7, "outputs": [{"data": {MIME: CANARY}}]}]}
    for number in itertools.chain(range(2)):
        reply = client.post("qnb/verify", {"notebook": {**surrogate, "metadata": number}})
        assert reply.status in (200, 400, 500)
        assert "Traceback" not in server.log.read_text()
    assert server.leaks(CANARY) == []
