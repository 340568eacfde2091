"""Attack: run a cell that was meant to be classified without its label.

Whatever stands between the front end and a `%%qsecure` line, either the line counts or nothing of the cell runs.
"""

from __future__ import annotations

import pytest

_BODY = "ran.append(1)\nprint(CANARY)"


@pytest.fixture
def untouched(wire, canary):
    """Nothing of the attacked body may run, and nothing of it be seen."""
    wire.must("ran = []")
    yield
    wire.must("assert not ran")
    assert not wire.leaks()


@pytest.mark.parametrize(
    "above",
    [
        "%%time",
        "%%capture",
        "%%capture kept",
        "%%timeit -n1 -r1",
        "%%prun",
        "%%time\n%%capture",
        "\n",
        "x = 1",
        "# a comment",
        "%%script python",
        "%%time\n\n",
    ],
)
def test_line_below_anything_runs_nothing(wire, untouched, above: str) -> None:
    """A magic, a statement, a comment or a blank line above it: an error before anything runs."""
    reply = wire.run(f"{above}\n%%qsecure restricted\n{_BODY}")
    assert reply.content["status"] == "error"
    assert reply.content["ename"] == "ConfigError"
    assert "first line" in reply.content["evalue"]
    assert reply.shown == {"error"}
    assert "ran.append(1)" not in wire.history()


def test_indented_line_runs_nothing(wire, untouched) -> None:
    """Blanks before the line are an error, of Python's if not of ours."""
    for body in (_BODY, "\n".join(f"    {line}" for line in _BODY.splitlines())):
        reply = wire.run(f"    %%qsecure restricted\n{body}")
        assert reply.content["ename"] in ("ConfigError", "IndentationError")


@pytest.mark.parametrize(
    "code",
    [
        f"get_ipython().run_cell('%%qsecure restricted\\n' + {_BODY!r}).raise_error()",
        f"get_ipython().run_cell_magic('qsecure', 'restricted', {_BODY!r})",
        f"name = 'qsec' + 'ure'\nget_ipython().run_cell_magic(name, 'restricted', {_BODY!r})",
        f"get_ipython().run_line_magic('%qsecure', 'restricted')\n{_BODY}",
        f"%qsecure restricted\n{_BODY}",
        f"x = 1\nif x:\n    %%qsecure restricted\n{_BODY}",
        f"%%time\nget_ipython().run_cell_magic('qsecure', '', {_BODY!r})",
        f"open('nested.ipy', 'w').write('%%qsecure restricted\\n' + {_BODY!r})\n%run nested.ipy",
        f"exec(get_ipython().transform_cell('%%qsecure restricted\\n' + {_BODY!r}))",
    ],
)
def test_nested_run_runs_nothing(wire, untouched, code: str) -> None:
    """A cell that runs another one cannot label it."""
    reply = wire.run(code)
    # `%run` of a notebook file shows the error of the nested cell and goes on
    assert reply.content["status"] == "error" or reply.of("error")
    said = reply.content.get("evalue") or reply.of("error")[0]["evalue"]
    assert "first line" in said or "not found" in said


def test_nested_run_inside_a_classified_cell_runs_nothing(wire, untouched) -> None:
    """Not even a higher label can be declared on the way."""
    reply = wire.run(f"%%qsecure\nget_ipython().run_cell('%%qsecure restricted\\n' + {_BODY!r}).raise_error()")
    assert reply.content["ename"] == "SealedError"
    assert "first line" in wire.opened(reply.card)


def test_silent_execute_runs_nothing(wire, untouched) -> None:
    """IPython opens no cell for a silent execution."""
    reply = wire.run(f"%%qsecure restricted\n{_BODY}", silent=True)
    assert reply.content["status"] == "error"


def test_line_that_does_not_parse_runs_nothing(wire, untouched) -> None:
    """Neither an option nor a label that is unknown leaves an unlabelled cell."""
    for line, ename in (("--recipient bob", "ConfigError"), ("a b", "LabelError"), ("nonsense", "LabelError")):
        reply = wire.run(f"%%qsecure {line}\n{_BODY}")
        assert reply.content["ename"] == ename
        assert reply.content["traceback"] == []
        assert [error["ename"] for error in reply.of("error")] == [ename]


def test_refused_cell_with_a_syntax_error_quotes_nothing(wire, untouched) -> None:
    """The parser's error would quote the source."""
    reply = wire.run("%%qsecure nonsense\n" + _BODY + "\nsecret = = 1")
    assert "secret" not in str(reply.content) + str(reply.iopub)
    assert reply.content["ename"] == "LabelError"


def test_help_on_the_magic_with_a_body_runs_nothing(wire, untouched) -> None:
    """`%%qsecure?` asks for help, whatever follows."""
    reply = wire.run(f"%%qsecure?\n{_BODY}")
    assert reply.content["status"] == "error"


def test_marker_written_by_hand_labels_nothing(wire, untouched) -> None:
    """The literal that takes the line's place opens no cell by itself."""
    reply = wire.run(f"'%%qsecure restricted'\n{_BODY}")
    assert reply.content["ename"] == "ConfigError"


def test_callback_of_a_comm_runs_nothing(wire, untouched) -> None:
    """A widget's callback is served outside any cell."""
    wire.must(
        "import comm\n"
        "def target(opened, message):\n"
        f"    get_ipython().run_cell('%%qsecure restricted\\n' + {_BODY!r})\n"
        "comm.get_comm_manager().register_target('attack', target)"
    )
    message = wire.client.session.msg("comm_open", {"comm_id": "c", "target_name": "attack", "data": {}})
    wire.client.shell_channel.send(message)
    wire.await_iopub(
        lambda heard: (
            heard["parent_header"].get("msg_id") == message["header"]["msg_id"]
            and heard["content"].get("execution_state") == "idle"
        )
    )


def test_magic_below_the_line_is_classified(wire, canary) -> None:
    """The other way round works: cell magics follow on the next line."""
    for below in ("%%time", "\n%%capture kept\n", "%%timeit -n1 -r1"):
        reply = wire.must(f"%%qsecure\n{below}\nprint(CANARY)")
        assert reply.shown == {"display_data"}
        assert reply.card["state"] == "ok"
    assert not wire.leaks()


def test_future_import_await_and_line_numbers_are_as_without(wire) -> None:
    """The marker changes neither what may stand first nor where an error is."""
    assert wire.must("%%qsecure\nfrom __future__ import annotations\nx: Missing = 1\nx").card["state"] == "ok"
    assert wire.must("%%qsecure\nimport asyncio\nawait asyncio.sleep(0)").card["state"] == "ok"
    assert wire.must("%%qsecure\n    indented = 1\n    indented").card["state"] == "ok"
    assert "line 4" in wire.opened(wire.run("%%qsecure\n\nx = 1\n1 / 0").card)
    assert "line 3" in wire.opened(wire.run("%%qsecure\nx = 1\ny = = 2").card)


def test_classified_cell_without_a_body_shows_an_empty_card(wire) -> None:
    """The marker is no result."""
    for code in ("%%qsecure", "%%qsecure\n", "%%qsecure internal\n\n# nothing"):
        assert wire.opened(wire.must(code).card) == "[]"


def test_completeness_is_asked_without_effect(wire) -> None:
    """Consoles ask whether a cell is complete; as for every cell magic it goes on to a blank line."""
    asked = {
        "%%qsecure\n": "incomplete",
        "%%qsecure\nx = 1\n": "incomplete",
        "%%qsecure\nx = 1\n\n": "complete",
        "%%time\n%%qsecure\nx": "incomplete",
    }
    for code, status in asked.items():
        assert wire.ask("is_complete", code=code)["status"] == status
