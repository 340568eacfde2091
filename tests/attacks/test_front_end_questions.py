"""Attack: have a front end's own questions (completion, help, expressions, the debugger) answered with values.

No cell runs for these, so no label is looked at; what a completion offers ends in the next cell's source.
"""

from __future__ import annotations

import json

import pytest

_SETUP = """%%qsecure
import collections, json, types
import numpy as np
import pandas as pd
name = CANARY.replace('-', '_')
table = {CANARY: 1, 'typed': {CANARY: {name: 2}}}
box = types.SimpleNamespace(**{name: 1, 'typed': 2})
frame = pd.DataFrame({CANARY: [1], name: [2]})
row = next(frame.itertuples())
Row = type(row)
globals()[name] = 1
def mine(argument=CANARY):
    return argument
mine.__doc__ = CANARY
bound = types.SimpleNamespace(x=CANARY).__init__
"""


@pytest.fixture(scope="module", autouse=True)
def classified(wire) -> None:
    """A kernel that holds classified values of every kind that is asked about."""
    wire.must(_SETUP)


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        ("table[", None),
        ("table['", None),
        ("table['typed'][", None),
        ("table['can", None),
        ("frame['", None),
        ("frame.loc[:, '", None),
        ("frame.can", None),
        ("frame.he", "head"),
        ("box.", None),
        ("row.", None),
        ("Row.", None),
        ("[box][0].", None),
        ("mine(", None),
        ("can", None),
        ("np.linsp", "linspace"),
        ("np.linspace(en", "endpoint="),
        ("json.du", "dumps"),
        ("import jso", "json"),
        ("pri", "print"),
        ("fra", "frame"),
        ("box.ty", "typed"),
        ("%hist", "%history"),
        ("for i in ra", "range"),
        ("open('/et", "/etc/"),
    ],
)
def test_completion_offers_code_and_no_data(wire, code: str, offered: str | None) -> None:
    """Neither keys, nor columns, nor names that only data knows; modules, classes and written names go on."""
    matches = wire.ask("complete", code=code, cursor_pos=len(code))["matches"]
    if offered is not None:
        assert any(match.endswith(offered) for match in matches), matches
    assert "canary" not in json.dumps(matches)
    assert not wire.leaks()


@pytest.mark.parametrize("jedi", [True, False])
def test_completion_holds_whichever_completer_runs(wire, jedi: bool) -> None:
    """IPython has two, and the kernel two ways to ask them."""
    wire.must(f"%config IPCompleter.use_jedi = {jedi}")
    for plain in ("True", "False"):
        wire.must(f"get_ipython().kernel.use_experimental_completions = {plain}")
        for code in ("table['", "frame.can", "box.can", "can", "mine(arg"):
            reply = wire.ask("complete", code=code, cursor_pos=len(code))
            assert reply["status"] == "ok"
            assert "canary" not in json.dumps(reply)
    wire.must("%config IPCompleter.use_jedi = True")


@pytest.mark.parametrize(
    "code",
    ["CANARY", "box", "box.typed", "mine", "row", "Row", "frame", "bound", "table", "frame.to_dict", "row.count"],
)
@pytest.mark.parametrize("detail", [0, 1])
def test_help_on_data_is_not_given(wire, code: str, detail: int) -> None:
    """Nor on a function or a class of the notebook, nor on a method with what it is bound to."""
    wire.ask("inspect", code=code, cursor_pos=len(code), detail_level=detail)
    assert not wire.leaks()


@pytest.mark.parametrize("code", ["json.dumps", "np.linspace", "pd.DataFrame", "len", "frame.head", "json"])
def test_help_on_code_goes_on(wire, code: str) -> None:
    """Tooltips of imported functions, classes and modules."""
    assert wire.ask("inspect", code=code, cursor_pos=len(code))["found"]


def test_expressions_beside_a_cell_say_nothing(wire) -> None:
    """Not beside a classified cell, a public one, an empty or a silent one: nobody looks at them before they run."""
    for options in ({"code": "%%qsecure\n1"}, {"code": "1"}, {"code": ""}, {"code": "x = 1", "silent": True}):
        reply = wire.run(user_expressions={"x": "CANARY"}, **options)
        assert reply.content["user_expressions"]["x"]["status"] == "error"
    assert not wire.leaks()


def test_history_requests_say_nothing(wire) -> None:
    """Neither source nor output of a classified cell, whichever way the history is asked."""
    wire.must("%%qsecure\nneedle_in_source = CANARY\nneedle_in_source")
    for asked in (
        {"hist_access_type": "range", "session": 0, "start": 0},
        {"hist_access_type": "tail", "n": 50},
        {"hist_access_type": "search", "pattern": "*", "n": 50},
    ):
        for raw in (True, False):
            reply = wire.ask("history", raw=raw, output=True, **asked)
            assert reply["history"]
            assert "needle_in_source" not in json.dumps(reply)
    assert not wire.leaks()


def test_widgets_of_classified_cells_are_not_listed(wire) -> None:
    """A front end that connects asks for all comms, and then for their state."""
    wire.must("%%qsecure\nimport ipywidgets as w\nheld = w.Text(value=CANARY)")
    assert wire.ask("comm_info", target_name="jupyter.widget")["comms"] == {}
    wire.must("import comm\nassert held.comm.comm_id in comm.get_comm_manager().comms")
    for content in (
        {"comm_id": "c1", "target_name": "jupyter.widget.control", "data": {}},
        {"comm_id": "c1", "data": {"method": "request_states"}},
    ):
        kind = "comm_open" if "target_name" in content else "comm_msg"
        message = wire.client.session.msg(kind, content, metadata={"version": "2.1.0"})
        wire.client.shell_channel.send(message)
    wire.must("1")
    assert not wire.leaks()


# --- the debugger ----------------------------------------------------------------------------------------------------


def _debug(wire, command: str, arguments: dict | None = None, seq: int = 1) -> dict:
    message = wire.client.session.msg(
        "debug_request", {"type": "request", "seq": seq, "command": command, "arguments": arguments or {}}
    )
    wire.client.control_channel.send(message)
    while True:
        answer = wire._heard(wire.client.get_control_msg(timeout=60))
        if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            return answer["content"]


def test_variable_explorer_shows_names_and_types(wire) -> None:
    """Lab's explorer asks after every cell; nobody decided or recorded that values may be seen."""
    reply = _debug(wire, "inspectVariables")
    shown = {item["name"]: item for item in reply["body"]["variables"]}
    assert shown["frame"]["type"] == "DataFrame"
    assert {item["variablesReference"] for item in shown.values()} == {0}
    assert "canary_9f3e51" not in shown
    rich = _debug(wire, "richInspectVariables", {"variableName": "CANARY"})
    assert list(rich["body"]["data"]) == ["text/plain"]
    assert not wire.leaks()


def test_debugger_steps_and_tells_no_value(wire) -> None:
    """Breakpoints, stack and stepping work; variables, expressions and exceptions are kept back."""
    assert _debug(wire, "initialize", {"clientID": "t", "adapterID": "", "pathFormat": "path"})["success"]
    _debug(wire, "attach", {"justMyCode": False, "subProcess": False})
    code = "def stop(x):\n    y = x\n    return y\nkept = stop(CANARY)"
    path = _debug(wire, "dumpCell", {"code": code})["body"]["sourcePath"]
    lines = _debug(wire, "setBreakpoints", {"source": {"path": path}, "breakpoints": [{"line": 3}]})
    assert lines["success"]
    _debug(wire, "configurationDone")
    request = wire.client.execute(code)
    stopped = wire.await_iopub(
        lambda heard: heard["header"]["msg_type"] == "debug_event" and heard["content"]["event"] == "stopped"
    )["content"]["body"]
    thread = stopped["threadId"]
    frames = _debug(wire, "stackTrace", {"threadId": thread})["body"]["stackFrames"]
    assert frames[0]["line"] == 3
    scopes = _debug(wire, "scopes", {"frameId": frames[0]["id"]})["body"]["scopes"]
    for scope in scopes:
        reply = _debug(wire, "variables", {"variablesReference": scope["variablesReference"]})
        assert "canary" not in json.dumps(reply)
    frame = frames[0]["id"]
    for command, arguments in (
        ("evaluate", {"expression": "x", "frameId": frame, "context": "repl"}),
        ("richInspectVariables", {"variableName": "x", "frameId": frame}),
        ("setExpression", {"expression": "x", "value": "CANARY", "frameId": frame}),
        ("exceptionInfo", {"threadId": thread}),
        ("copyToGlobals", {"srcVariableName": "x", "dstVariableName": "z", "srcFrameId": frame}),
        ("completions", {"text": "x.", "column": 3, "frameId": frame}),
    ):
        assert "canary" not in json.dumps(_debug(wire, command, arguments))
    _debug(wire, "setBreakpoints", {"source": {"path": path}, "breakpoints": []})
    _debug(wire, "continue", {"threadId": thread})
    wire.await_iopub(
        lambda heard: (
            heard["parent_header"].get("msg_id") == request and heard["content"].get("execution_state") == "idle"
        )
    )
    wire._heard(wire.client.get_shell_msg(timeout=60))
    _debug(wire, "disconnect", {"restart": False, "terminateDebuggee": False})
    assert not wire.leaks()


def test_source_of_a_classified_cell_is_not_dumped(wire) -> None:
    """The debugger writes what it steps through into a temporary folder."""
    reply = _debug(wire, "dumpCell", {"code": "%%qsecure\nneedle_dumped = 1"})
    assert not reply["success"]
    assert not [path for path in wire.home.rglob("*.py") if "needle_dumped" in path.read_text(errors="replace")]


def test_debug_events_quote_nothing(wire) -> None:
    """What the debugger prints and what stopped it are texts of the cell."""
    for event in (
        {"event": "output", "body": {"output": "CANARY"}},
        {"event": "stopped", "body": {"reason": "exception", "text": "CANARY", "description": "CANARY", "threadId": 1}},
        {"event": "made up", "body": {"x": "CANARY"}},
    ):
        made = json.dumps(event).replace('"CANARY"', "CANARY")
        wire.must(f"%%qsecure\nget_ipython().kernel._publish_debug_event({made})")
    assert not wire.leaks()
