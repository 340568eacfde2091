"""The notices as a front end hears them: over the event bus of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import websocket

from qnb.server.notices import SCHEMA_ID
from qnb.store.config import init_home

CANARY = "canary-66b2f0"


def notebook() -> dict[str, Any]:
    output = {"output_type": "stream", "name": "stdout", "text": CANARY}
    cell = {
        "cell_type": "code",
        "id": "c1",
        "metadata": {},
        "execution_count": 1,
        "source": "%%qsecure\n",
        "outputs": [],
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**cell, "outputs": [output]}]}


def next_notice(bus: websocket.WebSocket) -> dict[str, Any]:
    """The next event of ours; those of the contents service pass."""
    while True:
        event = json.loads(bus.recv())
        if event["schema_id"] == SCHEMA_ID:
            return event


def test_front_end_hears_of_what_was_sealed_and_of_a_refusal_with_its_reason(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where no dialog shows it, as with jupyter-collaboration; and not a word of the content."""
    base = tmp_path_factory.mktemp("events")
    init_home(base / "home")
    server = start_server(base)
    client = server.browser()
    url = server.url.replace("http", "ws", 1) + "api/events/subscribe"
    with closing(websocket.create_connection(url, timeout=60, header=[f"Authorization: token {server.token}"])) as bus:
        assert client.save("a.ipynb", notebook()).status == 201
        sealed = next_notice(bus)
        assert (sealed["kind"], sealed["path"], sealed["cells"]) == ("sealed", "a.ipynb", ["c1"])
        policy = server.home / "policy" / "qnb.toml"
        policy.write_text("version = 99\n")
        assert client.save("b.ipynb", notebook()).status == 422
        refused = next_notice(bus)
        assert (refused["kind"], refused["path"]) == ("refused", "b.ipynb")
        assert "qnb.toml" in refused["message"]
    assert CANARY not in json.dumps([sealed, refused])
    assert server.leaks(CANARY) == []
