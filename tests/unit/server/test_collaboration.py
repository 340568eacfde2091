"""With jupyter-collaboration: its own room and loader, saving through a guarded contents manager."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from qnb.core.seal.output import MIME
from qnb.server.guard import SaveGuard
from qnb.server.notices import Notices
from qnb.store.config import init_home
from qnb.store.guarding import NotebookGuard
from qnb.store.service import Service

rooms = pytest.importorskip("jupyter_server_ydoc.rooms")
loaders = pytest.importorskip("jupyter_server_ydoc.loaders")

CANARY = "canary-0c8d91"


class Files:
    """One file under one id."""

    def get_path(self, file_id: str) -> str:
        return "shared.ipynb"


async def save_in_a_room(manager: Any, outputs: list[dict[str, Any]]) -> None:
    """Open the notebook in a room, put outputs into the shared document, and save as a client's Ctrl-S does."""
    log = logging.getLogger("collaboration")
    loader = loaders.FileLoader("id", Files(), manager, log)
    bus = EventLogger()
    bus.register_event_schema(Path(rooms.__file__).parent / "events" / "session.yaml")
    room = rooms.DocumentRoom("json:notebook:id", "json", "notebook", loader, bus, None, log)
    await room.initialize()
    content = await room._document.aget()
    content["cells"][0]["outputs"] = outputs
    await room._document.aset(content)
    await room._save_to_disc()
    await room.stop()
    await loader.clean()


@pytest.mark.filterwarnings("ignore")  # of the collaboration packages, not of ours
def test_document_that_is_shared_is_sealed_when_its_room_saves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room saves what its clients see; the file gets ciphertext. A refusal is told over the event bus."""
    init_home(tmp_path / "home")
    service, told = Service(tmp_path / "home"), []
    (tmp_path / "root").mkdir()
    source = {"cell_type": "code", "id": "c1", "metadata": {}, "execution_count": None, "source": "%%qsecure\nprint(1)"}
    nb = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**source, "outputs": []}]}
    file = tmp_path / "root" / "shared.ipynb"
    file.write_text(json.dumps(nb))
    manager = AsyncLargeFileManager(root_dir=str(tmp_path / "root"))
    outputs = [{"output_type": "stream", "name": "stdout", "text": CANARY}]
    with ThreadPoolExecutor(1) as pool:
        SaveGuard(NotebookGuard(service), Notices(told.append, logging.getLogger("qnb")), pool).install(manager)
        asyncio.run(save_in_a_room(manager, outputs))
        saved = json.loads(file.read_text())
        assert MIME in saved["cells"][0]["outputs"][0]["data"]

        def fail(*_: Any) -> Any:
            raise RuntimeError(CANARY)

        monkeypatch.setattr(NotebookGuard, "guard", fail)
        asyncio.run(save_in_a_room(manager, outputs))
    service.close()
    assert json.loads(file.read_text()) == saved
    assert [notice["kind"] for notice in told] == ["sealed", "refused"]
    assert CANARY not in file.read_text() + json.dumps(told) + caplog.text
