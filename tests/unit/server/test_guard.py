"""The guard around contents managers of other kinds, and around itself when it fails."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger
from jupyter_server.services.contents.checkpoints import Checkpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.services.contents.manager import ContentsManager
from tornado.web import HTTPError

from qnb.core.seal.output import MIME
from qnb.server.guard import SaveGuard
from qnb.server.notices import SCHEMA_ID, SCHEMA_PATH, Notices
from qnb.store.config import init_home
from qnb.store.guarding import NotebookGuard
from qnb.store.service import Service

CANARY = "canary-51ad3e"
SOURCE = "%%qsecure\nprint(1)"


def notebook(text: str = CANARY) -> dict[str, Any]:
    output = {"output_type": "stream", "name": "stdout", "text": text}
    cell = {
        "cell_type": "code",
        "id": "c1",
        "metadata": {},
        "execution_count": 1,
        "source": SOURCE,
        "outputs": [output],
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}


def model(content: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "notebook", "format": "json", "content": content or notebook()} | fields


class NoCheckpoints(Checkpoints):
    """A manager need not keep any."""


class MemoryManager(ContentsManager):
    """Keeps models in a dict, calls no hooks, renames and copies without `save`, and knows notebooks only as such."""

    checkpoints_class = NoCheckpoints

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.files: dict[str, dict[str, Any]] = {}
        self.clock = 0

    def get(self, path, content=True, **asked):
        if path not in self.files:
            raise HTTPError(404, "no such file")
        if asked.get("type") == "file" and self.files[path]["type"] == "notebook":
            raise HTTPError(400, "a notebook is no file")
        found = copy.deepcopy(self.files[path])
        return found if content else found | {"content": None, "format": None}

    def file_exists(self, path):
        return path in self.files

    def dir_exists(self, path):
        return path == ""

    def save(self, model, path=""):
        self.clock += 1
        when = datetime.fromtimestamp(self.clock, UTC)
        self.files[path] = copy.deepcopy(model) | {"path": path, "name": path, "last_modified": when}
        return self.get(path, content=False)

    def rename(self, old_path, new_path):
        self.files[new_path] = self.files.pop(old_path) | {"path": new_path}

    def copy(self, from_path, to_path=None):
        self.files[to_path] = self.files[from_path] | {"path": to_path}
        return self.get(to_path, content=False)

    def delete(self, path):
        del self.files[path]


class HybridManager(MemoryManager):
    """Plain functions that give awaitables back, as managers that hand on to others do."""

    def get(self, path, **options):
        async def later():
            return MemoryManager.get(self, path, **options)

        return later()

    def save(self, model, path=""):
        async def later():
            return MemoryManager.save(self, model, path)

        # `save` of the base asks `self.get`, which is not a coroutine here
        self.clock += 1
        when = datetime.fromtimestamp(self.clock, UTC)
        self.files[path] = copy.deepcopy(model) | {"path": path, "name": path, "last_modified": when}

        async def saved():
            return MemoryManager.get(self, path, content=False)

        return saved()


@pytest.fixture
def told() -> list[dict[str, Any]]:
    """The notices that were sent."""
    return []


@pytest.fixture
def guard(tmp_path: Path, told: list[dict[str, Any]]) -> Iterator[SaveGuard]:
    """A guard over an account with keys."""
    init_home(tmp_path / "home")
    service = Service(tmp_path / "home")
    with ThreadPoolExecutor(2) as pool:
        yield SaveGuard(NotebookGuard(service), Notices(told.append, logging.getLogger("test")), pool)
    service.close()


def finished(value: Any) -> Any:
    """The end of what may be a coroutine."""

    async def waiting():
        return await value

    return asyncio.run(waiting()) if inspect.isawaitable(value) else value


@pytest.mark.parametrize("kind", [MemoryManager, HybridManager])
def test_manager_of_any_kind_is_guarded_on_every_way(guard: SaveGuard, kind: type[MemoryManager]) -> None:
    """One that never calls a hook or its own `save`, and one that mixes plain functions with awaitables."""
    manager = kind()
    guard.install(manager)
    finished(manager.save(model(), "a.ipynb"))
    manager.files["b.txt"] = model(type="notebook") | {"last_modified": 0}
    finished(manager.rename("b.txt", "b.ipynb"))
    manager.files["c.ipynb"] = model() | {"last_modified": 0}
    finished(manager.copy("c.ipynb", "d.ipynb"))
    del manager.files["c.ipynb"]
    assert sorted(manager.files) == ["a.ipynb", "b.ipynb", "d.ipynb"]
    assert CANARY not in json.dumps(manager.files, default=str)
    assert all(MIME in file["content"]["cells"][0]["outputs"][0]["data"] for file in manager.files.values())


def test_copy_that_cannot_be_sealed_is_taken_away(guard: SaveGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original stays; what was made of it does not."""
    manager = MemoryManager()
    guard.install(manager)
    manager.files["c.ipynb"] = model() | {"last_modified": 0}
    monkeypatch.setattr(NotebookGuard, "guard", failing(RuntimeError(CANARY)))
    with pytest.raises(HTTPError):
        manager.copy("c.ipynb", "d.ipynb")
    assert sorted(manager.files) == ["c.ipynb"]


def test_copy_that_cannot_be_looked_at_is_taken_away(guard: SaveGuard) -> None:
    """Also when the manager's own reading fails, with whatever error."""
    manager = MemoryManager()
    guard.install(manager)
    manager.files["c.ipynb"] = model() | {"last_modified": 0}
    reading = manager.get

    def get(path: str, content: bool = True, **asked: Any) -> Any:
        if path == "d.ipynb" and asked == {} and reading(path, content=False):
            raise OSError("disk")
        return reading(path, content, **asked)

    manager.get = get
    manager._qnb_guarded._own["copy"] = lambda from_path, to_path: (
        manager.files.update({to_path: manager.files[from_path]}) or {"path": to_path}
    )
    with pytest.raises(OSError, match="disk"):
        manager.copy("c.ipynb", "d.ipynb")
    assert sorted(manager.files) == ["c.ipynb"]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("where", ["guard", "wants_id"])
@pytest.mark.parametrize("error", [RuntimeError(CANARY), KeyError(CANARY), RecursionError(CANARY), OSError(CANARY)])
def test_failure_of_the_guard_refuses_the_save_without_its_text(
    guard: SaveGuard,
    told: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: Exception,
) -> None:
    """Any exception that is not HTTPError would let the save go on: every one becomes that, and a notice."""
    manager = MemoryManager()
    guard.install(manager)
    monkeypatch.setattr(NotebookGuard, where, failing(error))
    with pytest.raises(HTTPError) as refused:
        manager.save(model(), "a.ipynb")
    assert refused.value.status_code == 500
    assert manager.files == {}
    assert [notice["kind"] for notice in told] == ["refused"]
    assert CANARY not in str(refused.value) + json.dumps(told) + caplog.text


def test_error_of_the_manager_itself_stays_what_it_is(guard: SaveGuard) -> None:
    """The guard hides nothing of what is not its own."""
    manager = MemoryManager()
    guard.install(manager)
    with pytest.raises(HTTPError) as missing:
        manager.create_checkpoint("nowhere.ipynb")
    assert missing.value.status_code == 404


def test_second_installation_does_nothing(guard: SaveGuard) -> None:
    """An extension that is loaded twice does not seal twice."""
    manager = MemoryManager()
    guard.install(manager)
    once = manager.save
    guard.install(manager)
    assert manager.save is once


def test_methods_stay_coroutine_functions_where_they_were(guard: SaveGuard, tmp_path: Path) -> None:
    """Callers look, and call a blocking one in another way."""
    manager = AsyncLargeFileManager(root_dir=str(tmp_path))
    guard.install(manager)
    assert inspect.iscoroutinefunction(manager.save)
    plain = MemoryManager()
    guard.install(plain)
    assert not inspect.iscoroutinefunction(plain.save)


def test_sealing_does_not_hold_up_the_event_loop(
    guard: SaveGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a save is sealed the loop serves others: what the guard waits for is given by a task of the same loop."""
    manager = AsyncLargeFileManager(root_dir=str(tmp_path))
    guard.install(manager)
    seal = NotebookGuard.guard

    async def both():
        loop, reached = asyncio.get_running_loop(), asyncio.Event()
        served = asyncio.run_coroutine_threadsafe

        def waiting(self, *arguments):
            served(asyncio.wait_for(reached.wait(), 30), loop).result(30)
            return seal(self, *arguments)

        monkeypatch.setattr(NotebookGuard, "guard", waiting)
        saving = asyncio.ensure_future(manager.save(model(), "a.ipynb"))
        await asyncio.sleep(0)
        reached.set()
        await saving

    asyncio.run(both())
    assert CANARY not in (tmp_path / "a.ipynb").read_text()


def test_notices_fit_the_event_schema(guard: SaveGuard, told: list[dict[str, Any]]) -> None:
    """What was sealed and what was refused: the bus takes both, with ids and without content."""
    manager = MemoryManager()
    guard.install(manager)
    manager.save(model(), "a.ipynb")
    broken = notebook()
    broken["cells"][0] |= {"cell_type": "markdown", "attachments": {"a": {"text/plain": CANARY}}}
    with pytest.raises(HTTPError):
        manager.save(model(broken), "a.ipynb")
    assert [(notice["kind"], notice["path"]) for notice in told] == [("sealed", "a.ipynb"), ("refused", "a.ipynb")]
    assert told[0]["cells"] == ["c1"]
    assert CANARY not in json.dumps(told)
    bus, heard = EventLogger(), []
    bus.register_event_schema(SCHEMA_PATH)

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    async def emit() -> None:
        bus.add_listener(schema_id=SCHEMA_ID, listener=listen)
        for notice in told:
            bus.emit(schema_id=SCHEMA_ID, data=notice)
        await bus.gather_listeners()

    asyncio.run(emit())
    assert [data["kind"] for data in heard] == ["sealed", "refused"]


def test_notice_that_cannot_be_sent_does_not_undo_the_save(tmp_path: Path) -> None:
    """It was sealed and is saved; that nobody hears of it is no reason to lose it."""
    init_home(tmp_path / "home")
    service = Service(tmp_path / "home")
    manager = MemoryManager()
    with ThreadPoolExecutor(1) as pool:
        notices = Notices(failing(RuntimeError("no bus")), logging.getLogger("test"))
        SaveGuard(NotebookGuard(service), notices, pool).install(manager)
        manager.save(model(), "a.ipynb")
    service.close()
    assert "a.ipynb" in manager.files
