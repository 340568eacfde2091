"""Every message that leaves the kernel, routed by the cell that caused it. The only file that touches kernel messages.

Enters: what ipykernel is about to send. Leaves: messages of public cells as they are; for a classified cell its one
sealed display, its own denials, and replies without content.
Never: lets a message pass because its type or its parent is unknown, once anything was sealed.
Spec: Jupyter messaging protocol 5.4; https://jupyter-client.readthedocs.io/en/stable/messaging.html.

`Session.send` is shadowed, not the display hooks: hooks are thread-local, and streams are flushed in another thread. In
a forked child the message goes on to the kernel through ipykernel's pipe, and is routed there.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ipykernel.jsonutil import encode_images, json_clean
from jupyter_client.session import extract_header

from qnb.core.directive import mentions_directive
from qnb.core.seal.output import MIME
from qnb.errors import QnbError, SealedError
from qnb.kernel.cell import Cell
from qnb.kernel.history import PLACEHOLDER
from qnb.kernel.introspect import Introspection, scrub_event
from qnb.kernel.kept import save_circuits
from qnb.kernel.live import LiveOutput, Publisher
from qnb.kernel.parents import Parents
from qnb.kernel.session import Session

_OUTPUTS = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"})
# Replies reach the requester alone. These hold no output; what reads live objects is guarded by `introspect`.
_REPLIES = frozenset(
    f"{name}_reply"
    for name in (
        "comm_info", "complete", "connect", "create_subshell", "debug", "delete_subshell", "history", "inspect",
        "interrupt", "is_complete", "kernel_info", "list_subshell", "shutdown", "usage",
    )
)  # fmt: skip
_LONG = 1 << 16  # characters of a ciphertext
_KEPT = 8  # closed cells whose outputs are kept, to be sealed again with what comes late
_KEPT_SIZE = 32 << 20  # bytes of them, the last cell's aside
_REMEMBERED = 4096  # parents; the oldest are unknown again
_SEALED = SealedError("sealed", "the cell failed; its error is sealed with its output")
_PROMPT = "input for a sealed cell: "


@dataclass(frozen=True, slots=True)
class Request:
    """What asked for the code that runs now. None where a front end does not say."""

    msg_id: str | None
    notebook_id: str | None
    seal_source: bool = False


@dataclass(eq=False, slots=True)
class _Route:
    """Where the output of one execute request goes.

    Attributes:
        header: of the request.
        cell: opened for it.
        live: the sealed output; None for a cell that speaks in clear.
        revoked: whether it may no longer speak in clear: what it left running can read what a sealed cell computes.
        settled: whether its end was seen.
    """

    header: dict[str, Any]
    cell: Cell
    live: LiveOutput | None = None
    revoked: bool = False
    settled: bool = False


class KernelOutputs:
    """Stands between one ipykernel kernel and its clients.

    Args:
        shell: its InteractiveShell.
        session: seals and settles.
        clock: monotonic seconds.
    """

    def __init__(self, shell: Any, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._shell = shell
        self._kernel = shell.kernel
        self._session = session
        self._clock = clock
        self._wire = self._kernel.session
        self._send = self._wire.send
        self._parents = Parents(self._kernel)
        self._publisher = Publisher(clock)
        self._lock = threading.RLock()
        self._routes: dict[str, _Route] = {}
        self._speaking: deque[_Route] = deque(maxlen=_REMEMBERED)  # in clear, until a sealed cell revokes them
        self._closed: deque[_Route] = deque()
        self._last: LiveOutput | None = None  # of the last sealed cell; set once anything was sealed
        self._comms: set[str] = set()  # opened by classified cells, unknown to the front end
        self._introspection = Introspection(shell, lambda _expression: self._last is not None)
        self._pid = os.getpid()

    def install(self) -> None:
        """Take the place of `send`, and of what would go around it."""
        self._wire.send = self.send
        atexit.register(self._publisher.flush)
        self._introspection.install()
        if self._kernel.log.level < logging.INFO:  # below it, ipykernel logs the source of every cell
            self._kernel.log.setLevel(logging.INFO)
        thread = self._kernel.iopub_thread
        if getattr(thread, "_pipe_flag", False):
            thread.schedule(lambda: thread._pipe_in.on_recv(self._receive_from_child))  # noqa: SLF001

    # --- cells -------------------------------------------------------------------------------------------------------

    def request(self) -> Request | None:
        """The execute request that this context serves; None in callbacks, which open no cell."""
        parent = self._kernel.get_parent("shell")
        header = parent.get("header") or {}
        if header.get("msg_type") != "execute_request":
            return None
        asked = (parent.get("metadata") or {}).get("qnb") or {}
        notebook = asked.get("notebook")
        return Request(
            header["msg_id"], notebook if isinstance(notebook, str) else None, asked.get("seal_source") is True
        )

    def open(self, cell: Cell) -> None:
        """Route what the cell's request causes, from here on."""
        parent = self._kernel.get_parent("shell")
        header = extract_header(parent)
        self._parents.flush()
        with self._lock:
            earlier = self._routes.pop(header["msg_id"], None)
            if earlier is not None and earlier.live is not None and not earlier.settled:
                earlier.live.close("ok")
            route = self._routes[header["msg_id"]] = _Route(header, cell)
            while len(self._routes) > _REMEMBERED:
                del self._routes[next(iter(self._routes))]
            if not cell.classified and cell.refused is None:
                self._speaking.append(route)
                return
            live = self._seal(route)
            if cell.refused is not None:
                return
            self._parents.pin(parent)
        self._publisher.watch(live)

    def _seal(self, route: _Route) -> LiveOutput:
        """Gather what the route's cell shows, from here on; nobody else but later cells may speak in clear."""
        header = route.header
        live = route.live = LiveOutput(
            route.cell, self._session, lambda kind, content: self._publish(kind, content, header), self._clock
        )
        if route.cell.refused is None:
            for other in self._speaking:
                other.revoked = True
            self._speaking.clear()
            if self._last is None:
                self._parents.silence_log()
            self._last = live
        return live

    def rise(self, cell: Cell) -> None:
        """Seal what a cell shows from here on, and clear what it has shown: it became a classified one while it ran."""
        with self._lock:
            route = next((route for route in self._routes.values() if route.cell is cell), None)
            if route is None or route.live is not None:
                return
            if route.settled:
                route.revoked = True  # what still comes of it joins the last sealed cell
                return
            live = self._seal(route)
            self._parents.pin({"header": route.header, "metadata": {}})
        self._parents.flush()  # what was buffered so far is sealed as well
        self._publish("clear_output", {"wait": False}, route.header)
        self._publisher.watch(live)

    def ended(self, cell: Cell, result: Any) -> None:  # noqa: ARG002 - a terminal asks how it ended
        """Called when the cell's code has ended, before its reply is made."""
        if cell.classified or cell.refused is not None:
            self._shell._last_traceback = []  # noqa: SLF001 - ipykernel would log it and put it into the reply

    def allow(self, error: QnbError) -> None:
        """Let an error of our own magics, about to be raised, be shown in clear by a classified cell."""
        header = self._kernel.get_parent("shell").get("header") or {}
        route = self._routes.get(header.get("msg_id", ""))
        if route is not None and route.live is not None:
            route.live.allowed.append(error)

    def release(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Show a MIME bundle in clear below the current cell, whatever its label."""
        self._parents.flush()
        parent = extract_header(self._kernel.get_parent("shell"))
        content = {"data": encode_images(dict(bundle)), "metadata": dict(metadata or {}), "transient": {}}
        self._publish("display_data", json_clean(content), parent)

    # --- messages ----------------------------------------------------------------------------------------------------

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,  # noqa: FBT001, FBT002
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Any:
        """As jupyter_client's Session.send; what may not pass is gathered, replaced or dropped."""
        to_itself = stream is not None and stream is self._kernel.debug_shell_socket  # to start the debugger
        if to_itself or (not self._routes and msg_or_type != "execute_input"):
            return self._send(stream, msg_or_type, content, parent, ident, buffers, track, header, metadata)
        if not isinstance(msg_or_type, dict):
            msg_or_type = self._wire.msg(msg_or_type, content, parent, header, metadata)
            msg_or_type["buffers"] = buffers or []
        message: dict[str, Any] = msg_or_type
        if os.getpid() != self._pid:
            return self._send_from_child(stream, message, ident)
        passed = self._route(message)
        return None if passed is None else self._send(stream, passed, ident=ident, track=track)

    def _route(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The message that may pass in its place; None when none may."""
        kind = message["header"]["msg_type"]
        content = message["content"]
        route = self._routes.get(message["parent_header"].get("msg_id"))
        if kind == "comm_info_reply":
            comms = {key: value for key, value in (content.get("comms") or {}).items() if key not in self._comms}
            return self._with(message, {**content, "comms": comms})
        if kind == "status" or kind in _REPLIES:
            return message
        if kind == "execute_input":  # sent before the cell is opened
            source = content.get("code", "")
            self._introspection.wrote(source)
            return self._with(message, {**content, "code": PLACEHOLDER if mentions_directive(source) else source})
        if kind == "execute_reply":
            return self._with(message, self._reply(route, content))
        if self._is_clear(route) and content.get("comm_id") not in self._comms:
            return message
        self._keep(route, kind, content)
        told = _told(kind, content)
        return None if told is None else self._with(message, told)

    def _keep(self, route: _Route | None, kind: str, content: dict[str, Any]) -> None:
        """Take in what a message of a classified cell says; late or unknown, what comes belongs to the last one."""
        if kind == "comm_open":
            self._comms.add(str(content.get("comm_id")))
        elif kind == "comm_close":
            self._comms.discard(str(content.get("comm_id")))
        live = None if route is None else route.live or self._last
        if live is None:
            return
        if kind in _OUTPUTS:
            self._gather(live, kind, content)
        elif kind in ("comm_open", "comm_msg"):
            live.widgets.heard(content)
            if live.refresh():
                self._publisher.watch(live)

    def _is_clear(self, route: _Route | None) -> bool:
        if route is None:
            return self._last is None
        return route.live is None and not route.revoked

    def _gather(self, live: LiveOutput, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "error":
            said = _said_by_us(live, content.get("ename"), content.get("evalue"))
            if said is not None:
                if said not in live.spoken:
                    live.spoken.append(said)
                return
        if live.gather(kind, content):
            self._publisher.watch(live)

    def _publish(self, kind: str, content: dict[str, Any], parent: dict[str, Any]) -> None:
        message = self._wire.msg(kind, content, parent)
        message["content"] = self._packed(content)
        self._send(self._kernel.iopub_socket, message, ident=self._kernel._topic(kind))  # noqa: SLF001

    def _packed(self, content: dict[str, Any]) -> dict[str, Any] | bytes:
        """Content as the wire packs it, but for the ciphertext: base64 needs no escapes, and may be long."""
        data = content.get("data")
        bundle = data.get(MIME) if isinstance(data, dict) else None
        if not isinstance(bundle, dict) or len(bundle["age"]) < _LONG:
            return content
        mark = uuid.uuid4().hex
        whole: bytes = self._wire.pack({**content, "data": {**data, MIME: {**bundle, "age": mark}}})  # type: ignore[dict-item]
        before, found, after = whole.partition(f'"{mark}"'.encode())
        return b"".join((before, b'"', bundle["age"].encode("ascii"), b'"', after)) if found else content

    @staticmethod
    def _with(message: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
        return {**message, "content": content, "buffers": []}

    # --- replies -----------------------------------------------------------------------------------------------------

    def _reply(self, route: _Route | None, content: dict[str, Any]) -> dict[str, Any]:
        """The content of an `execute_reply`, which is also the end of its cell."""
        error: QnbError | None = None
        if route is not None and not route.settled:
            route.settled = True
            error = self._settle(route) if route.live is None else self._close(route, route.live, content)
        if error is not None:
            return _scrubbed({**content, "status": "error"}, error)
        return content if self._is_clear(route) else _scrubbed(content, _SEALED)

    def _settle(self, route: _Route) -> QnbError | None:
        """End a cell in clear; its output was shown, so a failure to record it can only be told."""
        try:
            self._session.end_executions(route.cell)
        except QnbError as error:
            self._publish("error", _plain(error), route.header)
            return error
        return None

    def _close(self, route: _Route, live: LiveOutput, content: dict[str, Any]) -> QnbError | None:
        """End a classified cell: its final version, then what is told in clear. Returns what the reply may say."""
        self._parents.flush()
        ename, evalue = content.get("ename"), content.get("evalue")
        live.refresh(now=True)
        state = "ok"
        if content.get("status") != "ok":
            state = "interrupted" if ename in ("KeyboardInterrupt", "CancelledError") else "failed"
        failure = live.close(state)
        self._retire(route)
        if route.cell.ran:
            self._publisher.later(functools.partial(save_circuits, self._session.authority, route.cell))
        refused = route.cell.refused
        for error in live.spoken if refused is None else [refused]:
            self._publish("error", _plain(error), route.header)
        return refused or failure or _said_by_us(live, ename, evalue)

    def _retire(self, route: _Route) -> None:
        """Keep the outputs of the last few cells only; what still comes of older ones joins the last sealed cell."""
        with self._lock:
            self._closed.append(route)
            sizes = [0 if each.live is None else each.live.size for each in self._closed]
            while len(sizes) > _KEPT or sum(sizes[:-1]) > _KEPT_SIZE:
                old = self._closed.popleft()
                old.live, old.revoked = None, True
                del sizes[0]

    # --- around send -------------------------------------------------------------------------------------------------

    def _send_from_child(self, stream: Any, message: dict[str, Any], ident: Any) -> Any:
        """In a forked child: only outputs go on, through the pipe; the kernel they reach routes them."""
        if message["header"]["msg_type"] not in _OUTPUTS or not self._kernel.iopub_thread._pipe_flag:  # noqa: SLF001
            return None
        self._wire.pid = os.getpid()  # else Session refuses to send from a fork, and logs the message
        return self._send(stream, message, ident=ident)

    def _receive_from_child(self, frames: list[bytes]) -> None:
        """In the IOPub thread: one message from ipykernel's pipe."""
        thread = self._kernel.iopub_thread
        if not thread._pipe_flag or not thread._is_master_process() or frames[0] != thread._pipe_uuid:  # noqa: SLF001
            return
        if not self._routes:
            thread.send_multipart(frames[1:])
            return
        ident, rest = self._wire.feed_identities(frames[1:])
        message = self._wire.deserialize(rest)
        passed = self._route(message)
        if passed is not None:
            self._send(thread, passed, ident=ident)


def _told(kind: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a client is told in the place of a message that may not pass; None for nothing."""
    if kind == "input_request":
        return {"prompt": _PROMPT, "password": True}
    if kind == "debug_event":
        return scrub_event(content)
    return {"status": "error", **_plain(_SEALED, traceback=False)} if kind.endswith("_reply") else None


def _said_by_us(live: LiveOutput, ename: Any, evalue: Any) -> QnbError | None:
    """The error of ours that a message tells word for word: one raised by the session or by our magics in this cell."""
    ours: list[QnbError] = [*live.cell.denials, *live.allowed]
    return next((error for error in ours if type(error).__name__ == ename and str(error) == evalue), None)


def _plain(error: QnbError, *, traceback: bool = True) -> dict[str, Any]:
    lines = error._render_traceback_() if traceback else []
    return {"ename": type(error).__name__, "evalue": str(error), "traceback": lines}


def _scrubbed(content: dict[str, Any], error: QnbError) -> dict[str, Any]:
    """An `execute_reply` without what the cell computed: values, pages, text for the next cell, traceback."""
    if content.get("status") == "aborted":
        return {"status": "aborted"}
    clean: dict[str, Any] = {
        key: content[key] for key in ("status", "execution_count", "engine_info") if key in content
    }
    asked = content.get("user_expressions") or {}
    clean["user_expressions"] = {name: {"status": "error", **_plain(_SEALED, traceback=False)} for name in asked}
    clean["payload"] = [
        {"source": "ask_exit", "keepkernel": bool(payload.get("keepkernel"))}
        for payload in content.get("payload") or ()
        if payload.get("source") == "ask_exit"
    ]
    if content.get("status") != "ok":
        clean |= _plain(error, traceback=False)
    return clean
