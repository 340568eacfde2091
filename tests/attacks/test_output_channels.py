"""Attack: get what a classified cell computes out of the kernel in clear.

A canary is searched in everything that a client receives, on every channel, in `history.sqlite`, the server's log and
every file of the home; where it should be, inside the sealed output, it is found.
"""

from __future__ import annotations

import json

import pytest

from qnb.core.seal.output import MIME

_SEALED = {
    "print": "print(CANARY)",
    "stderr": "import sys; print(CANARY, file=sys.stderr)",
    "display": "display(CANARY)",
    "execute result": "CANARY",
    "rich display": "from IPython.display import HTML, JSON\ndisplay(HTML(CANARY), JSON({'x': CANARY}))",
    "update": "h = display('before', display_id=True)\nh.update(CANARY)",
    "clear and print": "from IPython.display import clear_output\nprint('x')\nclear_output(wait=True)\nprint(CANARY)",
    "warning": "import warnings\nwarnings.warn(CANARY, stacklevel=1)",
    "logging": "import logging\nlogging.getLogger('user').warning(CANARY)",
    "subprocess": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', f'print({CANARY!r})'], check=True)",
    "shell escape": "!echo {CANARY}",
    "shell capture": "x = !echo {CANARY}\nx",
    "script magic": "%system echo {CANARY}",
    "descriptor 1": "import os\n_ = os.write(1, CANARY.encode())",
    "descriptor 2": "import os\n_ = os.write(2, CANARY.encode())",
    "original stdout": "import sys\nprint(CANARY, file=sys.__stdout__, flush=True)",
    "thread": "import threading\nt = threading.Thread(target=lambda: print(CANARY))\nt.start(); t.join()",
    "thread display": "import threading\nt = threading.Thread(target=lambda: display(CANARY))\nt.start(); t.join()",
    "pool": "from concurrent.futures import ThreadPoolExecutor as P\nwith P() as p: list(p.map(print, [CANARY]))",
    "fork": (
        "import os\npid = os.fork()\nif not pid:\n    print(CANARY, flush=True)\n    os._exit(0)\n"
        "_ = os.waitpid(pid, 0)"
    ),
    "multiprocessing": (
        "import multiprocessing\nc = multiprocessing.get_context('fork')\np = c.Process(target=print, args=(CANARY,))\n"
        "p.start(); p.join()"
    ),
    "asyncio task": "import asyncio\nasync def say(): print(CANARY)\nawait asyncio.create_task(say())",
    "time": "%time print(CANARY)",
    "traceback shown": "try:\n    raise ValueError(CANARY)\nexcept ValueError:\n    get_ipython().showtraceback()",
    "displayhook": "import sys\nsys.displayhook(CANARY)",
    "publish": (
        "from IPython.display import publish_display_data as p\np({'text/plain': CANARY}, metadata={'x': CANARY})"
    ),
    "tqdm-like": "for i in range(3): print(f'\\r{CANARY} {i}', end='')",
    "output widget": "import ipywidgets as w\no = w.Output()\nwith o: print(CANARY)",
    "widget fallback": "import ipywidgets as w\nw.Text(value='x', description=CANARY)",
    "faulthandler-like": (
        "import traceback, sys\ntry:\n    1/0\nexcept Exception: print(CANARY, traceback.format_exc())"
    ),
    "faulthandler": "import faulthandler, sys\nprint(CANARY)\nfaulthandler.dump_traceback()",
    "excepthook of a thread": (
        "import threading\ndef fail(): raise ValueError(CANARY)\nt = threading.Thread(target=fail)\nt.start(); t.join()"
    ),
    "unraisable": "class X:\n    def __del__(self): raise ValueError(CANARY)\nx = X()\ndel x",
    "matplotlib": (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2], label=CANARY)\n"
        "ax.legend()\nplt.show()\nprint(CANARY)"
    ),
    "matplotlib as svg": (
        "import matplotlib\nfrom matplotlib_inline.backend_inline import set_matplotlib_formats\n%matplotlib inline\n"
        "import matplotlib.pyplot as plt\nset_matplotlib_formats('svg')\nmatplotlib.rcParams['svg.fonttype'] = 'none'\n"
        "plt.title(CANARY)\nplt.show()\nset_matplotlib_formats('png')"
    ),
    "pandas": "import pandas as pd\nframe = pd.DataFrame({CANARY: [1]})\ndisplay(frame)\nframe.style",
    "plotly": "import plotly.graph_objects as go\nf = go.Figure(go.Bar(x=[CANARY], y=[1]))\nf.show()\nf",
    "circuit": "from qiskit import QuantumCircuit\nc = QuantumCircuit(1, name=CANARY)\nprint(CANARY)\nc.draw()",
    "in hex and base64": (
        "import base64\nprint(CANARY, CANARY.encode().hex(), base64.b64encode(b'x' + CANARY.encode()))"
    ),
    "javascript": "from IPython.display import Javascript\nJavascript(f'console.log({CANARY!r})')",
    "magic javascript": "%%javascript\n// nothing\n",
    "magic html": "%%html\n<b>nothing</b>\n",
    "history magic": "print(CANARY)\n%history -o\n%history -g -l 3\n%recall 2\n%rerun 2\n%macro m 2",
    "long": "import time\nfor i in range(5):\n    print(CANARY, i, flush=True); time.sleep(0.15)",
}

# what must neither leak nor fail, and is not an output of the cell
_DROPPED = {
    "widget state": "import ipywidgets as w\ns = w.Text(value=CANARY)\ns.value = CANARY * 2\ns.close()",
    "comm": (
        "import comm\nc = comm.create_comm('t', data={'x': CANARY})\n"
        "c.send({'x': CANARY}, buffers=[CANARY.encode()])\nc.close()"
    ),
    "unknown message": (
        "k = get_ipython().kernel\nk.session.send(k.iopub_socket, 'my_type', {'x': CANARY}, parent=k.get_parent())"
    ),
    "unknown parent": (
        "k = get_ipython().kernel\nk.session.send(k.iopub_socket, 'stream', {'name': 'stdout', 'text': CANARY})"
    ),
    "data message": "k = get_ipython().kernel\nk.send_response(k.iopub_socket, 'data_message', {'x': CANARY})",
    "debug event": "get_ipython().kernel._publish_debug_event({'event': 'output', 'body': {'output': CANARY}})",
    "next input": "get_ipython().set_next_input(CANARY)",
    "pager": "from IPython.core import page\npage.page(CANARY)",
    "inspection in the pager": "%pinfo CANARY",
    "callback of a loop": (
        "import asyncio\ndef fail(): raise ValueError(CANARY)\nasyncio.get_running_loop().call_soon(fail)\n"
        "await asyncio.sleep(0.01)"
    ),
    "kernel log": "get_ipython().kernel.log.error(CANARY)",
    "history output": "CANARY;",
}


def _classified(wire, code: str):
    reply = wire.run(f"%%qsecure\n{code}")
    assert reply.ok, reply.content.get("evalue") or wire.opened(reply.card)
    assert reply.shown <= {"display_data", "update_display_data"}
    for content in reply.of("display_data") + reply.of("update_display_data"):
        assert set(content["data"]) == {MIME, "text/html", "text/plain"}
        assert content["metadata"] == {}
    return reply


@pytest.mark.parametrize("channel", _SEALED)
def test_output_is_sealed_and_nowhere_else(wire, canary: str, channel: str) -> None:
    """Every channel ends in the one sealed output of its cell."""
    reply = _classified(wire, _SEALED[channel])
    if channel.startswith("magic"):
        assert "nothing" in wire.opened(reply.card)
    elif canary not in wire.opened(reply.card):  # descriptors and children are not waited for by anybody
        wire.await_sealed(canary)
    assert not wire.leaks()


@pytest.mark.parametrize("channel", _DROPPED)
def test_what_is_no_output_is_dropped(wire, canary: str, channel: str) -> None:
    """Widgets, pages and messages of unknown type degrade: no error, no leak."""
    reply = _classified(wire, _DROPPED[channel])
    assert not wire.leaks()
    assert reply.content["payload"] == []


def test_uncaught_error_stays_an_error_and_says_nothing(wire, canary: str) -> None:
    """Run All stops; how the cell failed is inside."""
    for code in (
        "raise ValueError(CANARY)",
        "x = {CANARY: 1}\nx[CANARY * 2]",
        "exec(CANARY + ' =')",
        "import sys\nsys.exit(CANARY)",
    ):
        reply = wire.run(f"%%qsecure\n{code}")
        assert reply.content["status"] == "error"
        assert (reply.content["ename"], reply.content["traceback"]) == ("SealedError", [])
        assert reply.card["state"] == "failed"
        assert canary in wire.opened(reply.card)
    assert not wire.leaks()


def test_later_cells_wait_behind_a_failed_one(wire) -> None:
    """The reply's status is what front ends stop on."""
    failed, queued = wire.client.execute("%%qsecure\n1/0"), wire.client.execute("1")
    statuses = {}
    while len(statuses) < 2:
        answer = wire._heard(wire.client.get_shell_msg(timeout=30))
        statuses[answer["parent_header"]["msg_id"]] = answer["content"]["status"]
    assert statuses == {failed: "error", queued: "aborted"}


def test_denial_is_told_in_clear_beside_the_card(wire, canary: str) -> None:
    """Policy facts only, after the sealed output."""
    reply = wire.run("%%qsecure\nprint(CANARY)\nstandin.session.deny()")
    assert [message["header"]["msg_type"] for message in reply.iopub][-2:-1] == ["error"]
    assert reply.of("error")[0]["traceback"] == ["DeniedError: the policy says no", "hint: ask the data owner"]
    assert (reply.content["ename"], reply.content["traceback"]) == ("DeniedError", [])
    assert reply.card["state"] == "failed"
    assert canary in wire.opened(reply.card)
    assert not wire.leaks()


def test_denial_made_by_the_user_stays_sealed(wire, canary: str) -> None:
    """Its name is ours, its text is not."""
    reply = wire.run(
        "%%qsecure\nclass DeniedError(Exception): pass\n"
        "try:\n    standin.session.deny()\nexcept Exception: pass\nraise DeniedError(CANARY)"
    )
    assert not reply.of("error")
    assert reply.content["ename"] == "SealedError"
    assert canary in wire.opened(reply.card)
    assert not wire.leaks()


def test_prompt_and_answer_are_masked(wire, canary: str) -> None:
    """Front ends echo what is typed into the notebook, unless it is a password."""
    reply = wire.run("%%qsecure\nanswer = input(CANARY)\nprint(answer)", typed="typed text")
    assert reply.ok
    assert wire.prompts == [{"prompt": "input for a sealed cell: ", "password": True}]
    assert "typed text" in wire.opened(reply.card)
    assert not wire.leaks()


def test_silent_execution_says_nothing(wire) -> None:
    """Nobody opened a cell for it, so it may not speak."""
    for code in ("print(CANARY)", "raise ValueError(CANARY)", "from IPython.core import page\npage.page(CANARY)"):
        reply = wire.run(code, silent=True)
        assert reply.shown == set()
    assert not wire.leaks()


def test_history_keeps_neither_source_nor_output(wire) -> None:
    """Not in `history.sqlite`, not in `In`, not in history replies."""
    wire.must("get_ipython().history_manager.db_log_output = True")
    wire.must("%%qsecure\nneedle_in_source = CANARY\nneedle_in_source")
    wire.must("get_ipython().history_manager.db_log_output = False")
    history = wire.history()
    replies = [
        wire.ask("history", raw=raw, output=True, hist_access_type="range", session=0, start=0) for raw in (True, False)
    ]
    assert "needle_in_source" not in history + json.dumps(replies)
    wire.must("assert 'needle_in_' + 'source' not in str(In) + _i1 + _ii")
    wire.must("%notebook kept.ipynb")
    assert "needle_in_source" not in (wire.home / "kept.ipynb").read_text()
    assert not wire.leaks()


def test_semicolon_still_hides_the_result(wire, canary: str) -> None:
    """IPython looks for it in the history, where the source is not."""
    assert canary not in wire.opened(_classified(wire, "CANARY;").card)
    assert canary in wire.opened(_classified(wire, "CANARY  # not hidden;").card)


def test_display_of_a_public_cell_is_not_updated(wire, canary: str) -> None:
    """The update is an output of the classified cell; the public display stays as it was."""
    wire.must("handle = display('public', display_id='shared')")
    reply = _classified(wire, "handle.update(CANARY)\ndisplay(CANARY, display_id='shared', update=True)")
    assert canary in wire.opened(reply.card)
    assert wire.must("handle.update('public again')").of("update_display_data")
    assert not wire.leaks()


def test_execute_input_does_not_repeat_the_source(wire) -> None:
    """Every client of the kernel hears it."""
    reply = wire.must("%%qsecure confidential --purpose 'needle'\nneedle = 1")
    assert "needle" not in json.dumps(reply.of("execute_input"))
    assert reply.of("execute_input")[0]["execution_count"] > 0


def test_late_output_joins_the_sealed_output(wire, canary: str) -> None:
    """Threads, timers, tasks and processes that outlive their cell, while a public cell runs."""
    wire.must("import asyncio, threading, subprocess, sys\ngate = threading.Event()\npulse = asyncio.Event()")
    late = {
        "thread": "t = threading.Thread(target=lambda: (gate.wait(), print(CANARY + 'late thread')))\nt.start()",
        "display": "t = threading.Thread(target=lambda: (gate.wait(), display(CANARY + 'late display')))\nt.start()",
        "timer": "asyncio.get_running_loop().call_later(0.3, print, CANARY + 'late timer')\nawait asyncio.sleep(0)",
        "task": (
            "async def say():\n    await pulse.wait()\n    print(CANARY + 'late task')\n"
            "task = asyncio.create_task(say())\nawait asyncio.sleep(0)"
        ),
        "process": (
            "c"
            "h"
            "i"
            "l"
            "d = subprocess.Popen([sys.executable, '-c', 'import sys; print(sys.stdin.read())'], stdin=subprocess.PIPE)"
        ),
    }
    for what, code in late.items():
        first = _classified(wire, code)
        assert canary not in wire.opened(first.card)
        reply = wire.must(
            "gate.set(); pulse.set(); await asyncio.sleep(0)\nif 'child' in dir():\n"
            "    child.communicate((CANARY + 'late process').encode())\nprint('public')"
        )
        assert "".join(stream["text"] for stream in reply.of("stream")) == "public\n"
        held = [wire.opened(message["data"][MIME]) for message in reply.of("update_display_data")]
        if not any(f"late {what}" in text for text in held):
            bundle = wire.await_sealed(f"late {what}")["content"]["data"][MIME]
            assert bundle["entry"]["index"] > first.card["entry"]["index"]
        wire.must("gate.clear(); pulse.clear()")
    assert not wire.leaks()


def test_task_of_an_earlier_public_cell_is_heard_no_longer(wire, canary: str) -> None:
    """It can read what the sealed cell computes, under a parent that was public."""
    wire.must(
        "import asyncio\npulse = asyncio.Event()\nvalue = 'public'\n"
        "async def watch():\n    await pulse.wait()\n    print(value + ' seen')\n"
        "task = asyncio.create_task(watch())\nawait asyncio.sleep(0)"
    )
    reply = wire.must("%%qsecure\nvalue = CANARY\npulse.set()\nawait asyncio.sleep(0.01)")
    if f"{canary} seen" not in wire.opened(reply.card):
        wire.await_sealed(f"{canary} seen")
    assert not wire.leaks()


def test_output_in_a_subshell_is_sealed(wire, canary: str) -> None:
    """A second shell of the same kernel runs in a thread of its own."""
    created = wire.client.session.msg("create_subshell_request", {})
    wire.client.control_channel.send(created)
    subshell = wire._heard(wire.client.get_control_msg(timeout=30))["content"]["subshell_id"]
    message = wire.client.session.msg("execute_request", {"code": "%%qsecure\nprint(CANARY)\nCANARY"})
    message["header"]["subshell_id"] = subshell
    wire.client.shell_channel.send(message)
    wire.await_sealed(canary)
    answer = wire._heard(wire.client.get_shell_msg(timeout=30))
    assert answer["content"]["status"] == "ok"
    assert not wire.leaks()


def test_interrupted_cell_is_sealed_as_interrupted(wire, canary: str) -> None:
    """What it had printed is inside."""
    msg_id = wire.client.execute("%%qsecure\nimport time\nprint(CANARY, flush=True)\nwhile True: time.sleep(0.01)")
    wire.await_sealed(canary, running=True)
    wire.manager.interrupt_kernel()
    message = wire.await_iopub(
        lambda heard: heard["content"].get("data", {}).get(MIME, {}).get("state") == "interrupted"
    )
    assert "KeyboardInterrupt" in wire.opened(message["content"]["data"][MIME])
    answer = wire._heard(wire.client.get_shell_msg(timeout=30))
    assert answer["parent_header"]["msg_id"] == msg_id
    assert answer["content"]["ename"] == "SealedError"
    assert not wire.leaks()


def test_output_that_cannot_be_sealed_is_withheld(wire) -> None:
    """Nothing is shown instead, and the reply is an error; later output of the cell is withheld as well."""
    wire.must("from qnb.errors import StorageError")
    for broken, said in (
        ("StorageError('disk-full', 'the log is full')", "the log is full"),
        ("ValueError(CANARY)", "sealed"),
    ):
        wire.must(f"standin.session.broken = {broken}")
        reply = wire.run("%%qsecure\nprint(CANARY)\nCANARY")
        wire.must("standin.session.broken = None")
        assert reply.content["status"] == "error"
        assert said in reply.content["evalue"]
        assert reply.shown == {"display_data"}
        assert set(reply.of("display_data")[0]["data"]) == {"text/plain"}
        assert "withheld" in reply.of("display_data")[0]["data"]["text/plain"]
    assert not wire.leaks()


def test_live_versions_share_one_display(wire) -> None:
    """One card that changes, not a row of cards; the last one is final."""
    reply = _classified(wire, "import time\nfor i in range(8):\n    print(i, flush=True); time.sleep(0.1)")
    displays, updates = reply.of("display_data"), reply.of("update_display_data")
    assert len(displays) == 1
    assert updates
    assert {content["transient"]["display_id"] for content in displays + updates} == {
        displays[0]["transient"]["display_id"]
    }
    states = [content["data"][MIME]["state"] for content in displays + updates]
    assert states == ["running"] * (len(states) - 1) + ["ok"]
    assert "entry" not in displays[0]["data"][MIME] or displays[0]["data"][MIME]["entry"] is None


def test_public_cells_speak_in_clear(wire) -> None:
    """Between sealed ones, every channel of an unlabelled cell works as without qnb."""
    reply = wire.must(
        "import sys\nprint('out'); print('err', file=sys.stderr)\nh = display('d', display_id=True)\n"
        "h.update('u')\n'result'"
    )
    assert reply.shown == {"stream", "display_data", "update_display_data", "execute_result"}
    failed = wire.run("raise ValueError('plain')")
    assert failed.content["evalue"] == "plain"
    assert failed.of("error")[0]["traceback"]


def test_status_is_shown_in_clear_from_any_cell(wire) -> None:
    """`%qnb status` holds policy facts only."""
    for code in ("%qnb status", "%%qsecure\n%qnb status"):
        shown = [content["data"].get("text/plain", "") for content in wire.must(code).of("display_data")]
        assert any("guard missing" in text for text in shown)


def test_wrong_subcommand_is_told_in_clear(wire, canary: str) -> None:
    """What exists is said, what was typed is not repeated."""
    reply = wire.run("%%qsecure\n%qnb $CANARY")
    assert "%qnb status" in reply.of("error")[0]["evalue"]
    assert reply.content["ename"] == "ConfigError"
    assert not wire.leaks()


def test_loading_twice_changes_nothing(wire) -> None:
    """Neither a second transformer nor a second display."""
    wire.must("from qnb.kernel.magic import load\nassert load(get_ipython(), None) is load(get_ipython())")
    reply = _classified(wire, "print(1)")
    assert len(reply.of("display_data")) == 1
