"""What a front end asks about the variables of a kernel that holds classified ones: completions, help, values.

Enters: requests that read live objects. Leaves: answers made of code (names that were written, members of modules and
of imported classes, keywords, paths) once anything in the kernel is classified; until then the kernel's own.
Never: a value, a key or a name that only data knows. What a completion offers is typed into the next cell's source and
saved in clear; what a variable explorer shows was opened by nobody and recorded nowhere.
Spec: Jupyter messaging protocol 5.4 (complete, inspect, user expressions, debug); Debug Adapter Protocol.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from IPython.utils.tokenutil import token_at_cursor

from qnb.core.directive import mentions_directive

_TYPES = "_jupyter_types_experimental"
_NAME = re.compile(r"[^\W\d]\w*")
_ATTRIBUTE = re.compile(r"(?P<base>[^\W\d]\w*(?:\.[^\W\d]\w*)*)?\.\w*$")
_CALL = re.compile(r"(?P<called>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*\([^()]*$")
_KEPT = frozenset({"keyword", "magic", "path"})
_SHOWN = "kept back: this kernel holds classified values"

# requests that tell nothing of values; the kernel's own answers stand
_CONTROL = frozenset(
    {
        "attach", "configurationDone", "continue", "debugInfo", "disconnect", "initialize", "modules", "next", "pause",
        "scopes", "setBreakpoints", "setExceptionBreakpoints", "stackTrace", "stepIn", "stepOut", "terminate",
        "threads",
    }
)  # fmt: skip
# events a debugger cannot do without, and what of them may be told: a `stopped` quotes the exception otherwise
_EVENTS: Mapping[str, tuple[str, ...]] = {
    "continued": ("threadId", "allThreadsContinued"),
    "exited": ("exitCode",),
    "initialized": (),
    "stopped": ("reason", "threadId", "allThreadsStopped", "preserveFocusHint"),
    "terminated": (),
    "thread": ("reason", "threadId"),
}


class Introspection:
    """Stands before a kernel's completer, inspector and debugger.

    Args:
        shell: the InteractiveShell.
        guarded: whether what an expression reads can be classified; an empty one asks about the kernel as a whole.
    """

    def __init__(self, shell: Any, guarded: Callable[[str], bool]) -> None:
        self._shell = shell
        self._kernel = shell.kernel
        self._guarded = guarded
        self._written: set[str] = set()
        for source in shell.history_manager.input_hist_raw:
            self.wrote(source)
        self._complete = self._kernel.do_complete
        self._inspect = self._kernel.do_inspect
        self._evaluate = shell.user_expressions
        self._debug = self._kernel.do_debug_request

    def install(self) -> None:
        """Take the place of the kernel's handlers."""
        self._kernel.do_complete = self.do_complete
        self._kernel.do_inspect = self.do_inspect
        self._kernel.do_debug_request = self.do_debug_request
        self._shell.user_expressions = self.user_expressions

    def wrote(self, source: str) -> None:
        """Take in the names that a cell's source spells: whoever can read the notebook knows them."""
        self._written.update(_NAME.findall(source))

    # --- completion --------------------------------------------------------------------------------------------------

    def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:
        """As IPythonKernel.do_complete, without what only data knows."""
        reply: dict[str, Any] = self._complete(code, cursor_pos)
        before = code[: len(code) if cursor_pos is None else cursor_pos]
        if not self._guarded(", ".join(dict.fromkeys(_NAME.findall(before.rpartition("\n")[2])))):
            return reply
        metadata = reply.get("metadata") or {}
        types = {entry.get("text"): entry.get("type") for entry in metadata.get(_TYPES) or ()}
        known = self._known(before)
        kept = [match for match in reply.get("matches") or () if known(match, types.get(match))]
        if _TYPES in metadata:
            # the signature of a function of the notebook quotes its defaults
            described = [{**entry, "signature": ""} for entry in metadata[_TYPES] if entry.get("text") in kept]
            metadata = {**metadata, _TYPES: described}
        return {**reply, "matches": kept, "metadata": metadata}

    def _known(self, before: str) -> Callable[[str, str | None], bool]:
        """What tells whether a match, with its type where the completer gives one, is known without any data."""
        attribute, call = _ATTRIBUTE.search(before), _CALL.search(before)
        members: set[str] | None = None
        if attribute is not None:
            members = self._members(attribute["base"])
        parameters = call is not None and _is_imported(self._find(call["called"]))

        def known(match: str, kind: str | None) -> bool:
            if kind == "dict key":
                return False  # also one that was written: which of them are in a table is data
            if kind in _KEPT or match.startswith("%"):
                return True
            name = match.rpartition(".")[2].rstrip("=(")
            if name in self._written:
                return True
            if kind == "param":
                return parameters
            if members is not None:
                return name in members
            return hasattr(builtins, name) or _is_imported(self._shell.user_ns.get(name))

        return known

    def _members(self, base: str | None) -> set[str]:
        """Attributes that an object has because of its class or module, not because of what it holds."""
        value = None if base is None else self._find(base)
        if value is None:
            return set()
        owner = value if isinstance(value, ModuleType | type) else type(value)
        return set(dir(owner)) if _is_imported(owner) else set()

    def _find(self, name: str) -> Any:
        try:
            return getattr(self._shell._ofind(name), "obj", None)  # noqa: SLF001 - as object_inspect_mime does
        except Exception:  # noqa: BLE001 - a property of the user's
            return None

    # --- help --------------------------------------------------------------------------------------------------------

    def do_inspect(self, code: str, cursor_pos: int, *args: Any, **kwargs: Any) -> Any:
        """As IPythonKernel.do_inspect, for code that was imported."""
        name = token_at_cursor(code, cursor_pos)
        if self._guarded(name) and not _is_helped(self._find(name)):
            return {"status": "ok", "data": {}, "metadata": {}, "found": False}
        return self._inspect(code, cursor_pos, *args, **kwargs)

    def user_expressions(self, expressions: Mapping[str, str]) -> dict[str, Any]:
        """As InteractiveShell.user_expressions; nobody looks at these before they run, as somebody does at a cell."""
        answers: dict[str, Any] = {}
        for name, expression in expressions.items():
            if self._guarded(str(expression)):
                answers[name] = {"status": "error", "ename": "SealedError", "evalue": _SHOWN, "traceback": []}
            else:
                answers |= self._evaluate({name: expression})
        return answers

    # --- the debugger ------------------------------------------------------------------------------------------------

    async def do_debug_request(self, msg: dict[str, Any]) -> Any:
        """As IPythonKernel.do_debug_request. Stepping goes on working; variables have names and types, no values."""
        command = msg.get("command")
        arguments = msg.get("arguments") or {}
        if command == "dumpCell" and mentions_directive(str(arguments.get("code", ""))):
            return _refused(msg, "a classified cell is not written into a file, so it cannot be stepped through")
        if not self._guarded("") or command in _CONTROL or command == "dumpCell":
            return await self._debug(msg)
        if command in ("inspectVariables", "variables"):
            reply = await self._debug(msg)
            return self._masked(reply) if command == "inspectVariables" or "body" in reply else reply
        if command == "richInspectVariables":
            return {**_reply(msg, success=True), "body": {"data": {"text/plain": _SHOWN}, "metadata": {}}}
        if command == "source" and str((arguments.get("source") or {}).get("path", "")) in _module_files():
            return await self._debug(msg)
        return _refused(msg, _SHOWN)

    def _masked(self, reply: dict[str, Any]) -> dict[str, Any]:
        listed = (reply.get("body") or {}).get("variables") or ()
        variables = [
            {"name": item["name"], "type": item.get("type", ""), "value": _SHOWN, "variablesReference": 0}
            for item in listed
            if item.get("name") in self._written
        ]
        return {**reply, "body": {"variables": variables}}


def scrub_event(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """A `debug_event` without what it quotes; None when nothing of it may be told."""
    allowed = _EVENTS.get(str(content.get("event")))
    if allowed is None:
        return None
    body = content.get("body") or {}
    shown = {key: body[key] for key in allowed if isinstance(body.get(key), bool | int) or key == "reason"}
    kept = {key: content[key] for key in ("seq", "type", "event") if key in content}
    return {**kept, "body": {key: value for key, value in shown.items() if value is not None}}


def _is_helped(value: Any) -> bool:
    """Whether help on an object speaks of imported code alone. A bound method is printed with what it is bound to."""
    bound = getattr(value, "__self__", None)
    if bound is not None and not isinstance(bound, ModuleType | type):
        return isinstance(value, type(len)) or _is_imported(getattr(value, "__func__", None))
    return _is_imported(value)


def _is_imported(value: Any) -> bool:
    """Whether an object is code that a module other than the notebook has under its name.

    A class that was made up at run time (a named tuple of a table's columns) claims a module, and is not in it.
    """
    if isinstance(value, ModuleType):
        return value.__name__ != "__main__" and sys.modules.get(value.__name__) is value
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return False
    name = getattr(value, "__module__", None)
    holder = value if inspect.isclass(value) else getattr(value, "__objclass__", getattr(value, "__self__", None))
    if name is None and holder is not None:  # a method of a built-in class
        name = "builtins" if isinstance(holder, ModuleType) else getattr(type(holder), "__module__", None)
    if name == "__main__" or not isinstance(name, str):
        return False
    module = sys.modules.get(name)
    spelled = str(getattr(value, "__qualname__", "")).partition(".")[0]
    return module is not None and spelled in vars(module)


def _module_files() -> set[str]:
    return {str(path) for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))}


def _reply(msg: Mapping[str, Any], *, success: bool) -> dict[str, Any]:
    return {"type": "response", "request_seq": msg.get("seq"), "success": success, "command": msg.get("command")}


def _refused(msg: Mapping[str, Any], why: str) -> dict[str, Any]:
    return {**_reply(msg, success=False), "message": why, "body": {}}
