"""The save guard: every way in which the server writes a notebook goes through `NotebookGuard` first.

Enters: a contents manager of any class. Leaves: the same object, whose writing methods look first.
Never: fails open. What goes wrong in here becomes an HTTPError, because of any other exception a pre-save hook's caller
says a word in its log and saves all the same. Never refuses what it can seal.
Spec: docs/adr/0018-save-guard.md; jupyter_server's ContentsManager.

The methods are replaced on the object, not in its class: what calls `self.save` from inside (new, copy) comes by too,
and `super().save` inside does not come by twice. Each is told once, as steps, and taken at the pace of the manager: in
the event loop with awaits and the work in a thread, or plainly.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Executor
from typing import Any

from tornado.web import HTTPError

from qnb.core.notebook import notebook_id
from qnb.errors import ConfigError, DeniedError, QnbError
from qnb.server.notices import Notices
from qnb.server.texts import decode_text, encode_text, parse_text
from qnb.server.uploads import Uploads
from qnb.store.guarding import Guarded, NotebookGuard

Model = dict[str, Any]
Steps = Generator[Callable[[], Any], Any, Any]
"""What a method does: each step is called, and its result, awaited if need be, is sent back in."""

_MARK = "_qnb_guarded"
_CLEAN = 4096  # paths whose file is known to be as this guard wrote it


class SaveGuard:
    """Guards contents managers.

    Args:
        guard: seals.
        notices: tells the front ends.
        pool: where the sealing runs beside an event loop.
    """

    def __init__(self, guard: NotebookGuard, notices: Notices, pool: Executor) -> None:
        self._guard = guard
        self._notices = notices
        self._pool = pool

    def install(self, manager: Any) -> None:
        """Guard a contents manager; a second time does nothing."""
        if getattr(manager, _MARK, None) is None:
            setattr(manager, _MARK, _Guarded(manager, self._guard, self._notices, self._pool))


class _Guarded:
    """One guarded manager: its own methods, and what is known of its files."""

    def __init__(self, manager: Any, guard: NotebookGuard, notices: Notices, pool: Executor) -> None:
        self._manager = manager
        self._guard = guard
        self._notices = notices
        self._pool = pool
        self._uploads = Uploads()
        self._clean: dict[str, Any] = {}
        self._own: dict[str, Callable[..., Any]] = {}
        told: dict[str, Callable[..., Steps]] = {
            "save": self._save,
            "new": self._new,
            "rename": self._rename,
            "update": self._update,
            "copy": self._copy,
            "create_checkpoint": self._create_checkpoint,
            "restore_checkpoint": self._restore_checkpoint,
        }
        self._own = {name: getattr(manager, name) for name in told}
        self._in_loop = any(inspect.iscoroutinefunction(method) for method in self._own.values())
        for name, steps in told.items():
            setattr(manager, name, _taken(self._own[name], steps))
        self._hooks = manager.run_pre_save_hooks
        manager.run_pre_save_hooks = self._run_pre_save_hooks

    # --- the methods, as steps ---------------------------------------------------------------------------------------

    def _save(self, model: Model, path: str = "", *args: Any, **kwargs: Any) -> Steps:
        if model.get("chunk") is not None:
            return (yield from self._save_chunk(model, path))
        model = yield from self._checked(model, path)
        saved = yield lambda: self._own["save"](model, path, *args, **kwargs)
        self._note(path, saved)
        return saved

    def _new(self, model: Model | None = None, path: str = "", *args: Any, **kwargs: Any) -> Steps:
        if model is not None and model.get("chunk") is None:  # a piece is looked at in `save`
            model = yield from self._checked(model, path)
        return (yield lambda: self._own["new"](model, path, *args, **kwargs))

    def _rename(self, old_path: str, new_path: str, *args: Any, **kwargs: Any) -> Steps:
        if new_path.endswith(".ipynb"):
            yield from self._check_stored(old_path)
        renamed = yield lambda: self._own["rename"](old_path, new_path, *args, **kwargs)
        self._clean.pop(_key(old_path), None)
        return renamed

    def _update(self, model: Model, path: str, *args: Any, **kwargs: Any) -> Steps:
        new_path = model.get("path", path)
        if isinstance(new_path, str) and _key(new_path) != _key(path) and new_path.endswith(".ipynb"):
            yield from self._check_stored(path)
        return (yield lambda: self._own["update"](model, path, *args, **kwargs))

    def _copy(self, from_path: str, to_path: str | None = None, *args: Any, **kwargs: Any) -> Steps:
        copied = yield lambda: self._own["copy"](from_path, to_path, *args, **kwargs)
        path = copied.get("path") if isinstance(copied, dict) else None
        if isinstance(path, str):
            try:
                yield from self._check_stored(path)
            except Exception:  # whatever a manager raises: what could not be looked at does not stay
                yield lambda: self._manager.delete(path)
                raise
        return copied

    def _create_checkpoint(self, path: str, *args: Any, **kwargs: Any) -> Steps:
        yield from self._check_stored(path)
        return (yield lambda: self._own["create_checkpoint"](path, *args, **kwargs))

    def _restore_checkpoint(self, checkpoint_id: str, path: str, *args: Any, **kwargs: Any) -> Steps:
        before = yield from self._stored(path)
        restored = yield lambda: self._own["restore_checkpoint"](checkpoint_id, path, *args, **kwargs)
        self._clean.pop(_key(path), None)
        try:
            sealed = yield from self._check_stored(path)
        except Exception:  # as above
            if before is None:
                yield lambda: self._manager.delete_file(path)
            else:
                yield lambda: self._own["save"](before, path)
            raise
        if sealed:  # else the checkpoint would keep what the file no longer does
            yield lambda: self._own["create_checkpoint"](path)
        return restored

    def _save_chunk(self, model: Model, path: str) -> Steps:
        """Notebooks that come in pieces are held back until they are whole: no piece is written unseen."""
        try:
            held = self._uploads.take(model, _key(path))
        except QnbError as error:
            raise self._refused(error, path, None) from None
        if held is None:
            return (yield lambda: self._own["save"](model, path))
        if held.whole is None:
            exists = yield lambda: self._manager.file_exists(path)
            if not exists:  # callers want a model back; this is the file that there is so far
                held.placed = True
                return (yield lambda: self._own["save"]({**model, "content": ""}, path))
            return (yield lambda: self._manager.get(path, content=False))
        try:
            whole = yield from self._checked(held.whole, path)
        except HTTPError:
            if held.placed:
                yield lambda: self._manager.delete_file(path)
            raise
        saved = yield lambda: self._own["save"](whole, path)
        self._note(path, saved)
        return saved

    def _run_pre_save_hooks(self, model: Model, path: str, **kwargs: Any) -> None:
        """The user's own hooks, and then the guard again: a hook may put back what was sealed."""
        self._hooks(model=model, path=path, **kwargs)
        if self._manager.pre_save_hook is None and not getattr(self._manager, "_pre_save_hooks", ()):
            return
        if model.get("chunk") is None:
            model.update(_go(self._checked(model, path, in_loop=False)))

    # --- looking -----------------------------------------------------------------------------------------------------

    def _checked(self, model: Model, path: str, *, in_loop: bool | None = None, lies_there: bool = False) -> Steps:
        """The model as it may be written.

        Args:
            model: with its content.
            path: of the file.
            in_loop: whether work goes to a thread; None for the manager's own way.
            lies_there: whether it is written already, so that an id that is missing is no reason to write it anew: a
                front end would take that for somebody else's change.

        Raises:
            HTTPError: it may not.
        """
        content = model.get("content")
        if isinstance(content, dict):
            guarded = yield from self._guarded(content, path, in_loop=in_loop)
            if guarded is None or guarded.notebook is content or (lies_there and not guarded.replaced):
                return model
            return {**model, "content": guarded.notebook}
        if not isinstance(content, str):
            return model
        text = decode_text(content, model.get("format"))
        if text is None:
            return model
        parsed = parse_text(text)
        if parsed is None:
            if path.endswith(".ipynb") and text.strip():
                yield from self._unreadable(text, path, in_loop=in_loop)
            return model
        nb, repeated = parsed
        guarded = yield from self._guarded(nb, path, in_loop=in_loop)
        kept = guarded is None or guarded.notebook is nb or (lies_there and not guarded.replaced)
        if guarded is None or (kept and not repeated):
            return model
        return {**model, "content": encode_text(guarded.notebook, model.get("format"))}

    def _check_stored(self, path: str) -> Steps:
        """Look at a file as it lies there, and seal it in its place; whether anything had to be sealed.

        Raises:
            HTTPError: it cannot be looked at, or not be sealed.
        """
        about = yield lambda: self._manager.get(path, content=False)
        if about.get("type") == "directory" or self._is_clean(path, about):
            return False
        model = yield from self._stored(path)
        if model is None:
            raise self._failed(path)
        checked = yield from self._checked(model, path, lies_there=True)
        if checked is not model:
            saved = yield lambda: self._own["save"](checked, path)
            self._note(path, saved)
            return True
        self._note(path, about)
        return False

    def _stored(self, path: str) -> Steps:
        """The file as it lies there: as text, without what the manager makes of a notebook, where it can; else None."""
        for how in ({"type": "file"}, {}):
            try:
                model = yield functools.partial(self._manager.get, path, content=True, **how)
            except Exception:  # noqa: BLE001, S112 - whatever a manager raises: it cannot be read so
                continue
            if isinstance(model.get("content"), str | dict):
                return {"type": model["type"], "format": model.get("format") or "text", "content": model["content"]}
        return None

    def _guarded(self, nb: Model, path: str, *, in_loop: bool | None) -> Steps:
        guarded: Guarded | None = None
        try:
            known = None
            if in_loop is not False and self._guard.wants_id(nb):
                known = yield from self._known_id(path)
            guarded = yield self._work(functools.partial(self._guard.guard, nb, known), in_loop=in_loop)
        except ConfigError as error:
            if error.code not in ("not-a-notebook", "notebook-version"):
                raise self._refused(error, path, nb) from None
        except QnbError as error:
            raise self._refused(error, path, nb) from None
        except Exception:  # noqa: BLE001 - anything else would let the save go on
            raise self._failed(path) from None
        if guarded is None:
            yield from self._unreadable(json.dumps(nb, default=repr), path, in_loop=in_loop)
        elif guarded.sealed or guarded.widgets:
            self._notices.sealed(_key(path), guarded)
        return guarded

    def _unreadable(self, text: str, path: str, *, in_loop: bool | None) -> Steps:
        try:
            yield self._work(functools.partial(self._guard.check_unreadable, text), in_loop=in_loop)
        except QnbError as error:
            raise self._refused(error, path, None) from None
        except Exception:  # noqa: BLE001 - as above
            raise self._failed(path) from None

    def _known_id(self, path: str) -> Steps:
        """The id of the notebook that is about to be replaced: a front end that has not seen it yet sends none."""
        model = yield from self._stored(path)
        nb: Any = None if model is None else model["content"]
        if isinstance(nb, str):
            text = decode_text(nb, model["format"])
            parsed = None if text is None else parse_text(text)
            nb = None if parsed is None else parsed[0]
        return None if nb is None else notebook_id(nb)

    def _work(self, act: Callable[[], Any], *, in_loop: bool | None) -> Callable[[], Any]:
        if self._in_loop if in_loop is None else in_loop:
            return lambda: asyncio.get_running_loop().run_in_executor(self._pool, act)
        return act

    # --- what is known, and what is said -----------------------------------------------------------------------------

    def _note(self, path: str, model: Any) -> None:
        when = model.get("last_modified") if isinstance(model, dict) else None
        self._clean.pop(_key(path), None)
        if when is not None:
            self._clean[_key(path)] = when
            if len(self._clean) > _CLEAN:
                del self._clean[next(iter(self._clean))]

    def _is_clean(self, path: str, about: Model) -> bool:
        when = self._clean.get(_key(path))
        return when is not None and when == about.get("last_modified")

    def _refused(self, error: QnbError, path: str, nb: Model | None) -> HTTPError:
        self._notices.refused(_key(path), nb, error)
        status = 403 if isinstance(error, DeniedError) else 422
        reason = " ".join(error.message.split())
        return HTTPError(status, f"qnb did not save: {reason}" + ("" if error.hint is None else f" ({error.hint})"))

    def _failed(self, path: str) -> HTTPError:
        error = ConfigError("guard-failed", "the save guard could not look at the notebook", "run `qnb doctor`")
        self._notices.refused(_key(path), None, error)
        return HTTPError(500, f"qnb did not save: {error.message} ({error.hint})")


def _key(path: str) -> str:
    return path.strip("/")


# --- taking steps ----------------------------------------------------------------------------------------------------


def _taken(method: Callable[..., Any], steps: Callable[..., Steps]) -> Callable[..., Any]:
    """A method that takes the steps, and is a coroutine function when `method` is one: callers look."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def taking(*args: Any, **kwargs: Any) -> Any:
            return await _go_on(steps(*args, **kwargs), None, None)

        return taking

    @functools.wraps(method)
    def taking_plainly(*args: Any, **kwargs: Any) -> Any:
        return _go(steps(*args, **kwargs))

    return taking_plainly


def _go(steps: Steps) -> Any:
    """Take steps until one of them has to be awaited; from there on it is a coroutine."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        value, error = None, None
        try:
            value = step()
        except Exception as raised:  # noqa: BLE001 - the steps' own to handle
            error = raised
            continue
        if inspect.isawaitable(value):
            return _go_on(steps, value, None)


async def _go_on(steps: Steps, waiting: Awaitable[Any] | None, error: BaseException | None) -> Any:
    value: Any = None
    while True:
        if waiting is not None:
            try:
                value = await waiting
            except Exception as raised:  # noqa: BLE001 - as above
                error = raised
            waiting = None
        try:
            step = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            return end.value
        value, error = None, None
        try:
            result = step()
        except Exception as raised:  # noqa: BLE001 - as above
            error = raised
            continue
        if inspect.isawaitable(result):
            waiting = result
        else:
            value = result
