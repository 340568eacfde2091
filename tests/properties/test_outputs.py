"""The accumulator against a plain reading of the protocol, and the bytes that live versions take."""

from __future__ import annotations

import json
from typing import Any

import nbformat
from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.outputs import OutputAccumulator, Pace

_IDS = st.sampled_from(["a", "b", None])
_TEXT = st.text(max_size=8)


def _rich(kind: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    def content(text: str, display_id: str | None) -> tuple[str, dict[str, Any]]:
        value: dict[str, Any] = {"data": {"text/plain": text}, "metadata": {}}
        if kind == "execute_result":
            value["execution_count"] = 1
        if display_id is not None:
            value["transient"] = {"display_id": display_id}
        return kind, value

    return st.builds(content, _TEXT, _IDS)


_MESSAGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("stream"), st.fixed_dictionaries({"name": st.sampled_from(["stdout", "stderr"]), "text": _TEXT})
        ),
        _rich("display_data"),
        _rich("update_display_data"),
        _rich("execute_result"),
        st.tuples(
            st.just("error"), st.fixed_dictionaries({"ename": _TEXT, "evalue": _TEXT, "traceback": st.lists(_TEXT)})
        ),
        st.tuples(st.just("clear_output"), st.fixed_dictionaries({"wait": st.booleans()})),
    ),
    max_size=30,
)


def _expected(messages: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The protocol, read naively: a list of outputs with their ids, rebuilt at each message."""
    shown: list[tuple[dict[str, Any], str | None]] = []
    cleared: set[str | None] = set()
    pending = False
    for kind, content in messages:
        display_id = content.get("transient", {}).get("display_id")
        output: dict[str, Any] = {"output_type": kind, **{k: v for k, v in content.items() if k != "transient"}}
        if kind == "update_display_data":
            output["output_type"] = "display_data"
            if display_id is not None and any(identity == display_id for _, identity in shown):
                shown = [
                    ({**old, "data": content["data"]} if identity == display_id else old, identity)
                    for old, identity in shown
                ]
                continue
            if display_id in cleared:
                continue
        if kind == "clear_output" and content["wait"]:
            pending = True
            continue
        if kind == "stream" and not content["text"]:
            continue
        if kind == "clear_output" or pending:
            cleared |= {identity for _, identity in shown if identity is not None}
            shown, pending = [], False
        if kind == "clear_output":
            continue
        if kind == "stream" and shown and shown[-1][0].get("name") == content["name"]:
            shown[-1] = ({**shown[-1][0], "text": shown[-1][0]["text"] + content["text"]}, None)
        else:
            shown.append((output, display_id))
    return [output for output, _ in shown]


@given(_MESSAGES)
@settings(derandomize=True, deadline=None)
def test_any_messages_give_the_outputs_of_the_protocol(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Streams run together, updates land, clears clear, and the result is valid nbformat."""
    accumulator = OutputAccumulator()
    for kind, content in messages:
        assert accumulator.apply(kind, content)
        accumulator.outputs()  # looking must not change what comes out later
    outputs = accumulator.outputs()
    assert outputs == _expected(messages)
    assert json.loads(json.dumps(outputs)) == outputs
    assert accumulator.size >= sum(len(output.get("text", "")) for output in outputs)
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.from_dict(output) for output in outputs])  # type: ignore[no-untyped-call]
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))  # type: ignore[no-untyped-call]


@given(
    st.lists(
        st.tuples(st.floats(0.001, 1.0), st.integers(0, 200_000), st.booleans(), st.floats(0.0, 0.5)),
        min_size=1,
        max_size=400,
    )
)
@settings(derandomize=True, deadline=None)
def test_versions_of_any_output_stay_within_twice_its_largest_size(
    steps: list[tuple[float, int, bool, float]],
) -> None:
    """Whatever the rhythm, growing, replaced or cleared: beside the slack and the trickle, versions weigh at most twice
    what the output ever did; and making them takes a small share of the time.
    """
    pace = Pace(0.0, delay=0.3, interval=0.1, share=0.05)
    now, size, largest, last = 0.0, 0, 0, None
    makings: list[float] = []
    for wait, more, clear, took in steps:
        now, size = now + wait, more if clear else size + more
        largest = max(largest, size)
        if now >= pace.due(size):
            assert last is None or now - last >= 0.1 - 1e-9
            makings.append(took)
            now += took
            pace.published(now, size, took)
            last = now
    assert pace.spent <= 2 * largest + pace.slack + pace.trickle * now + pace.overhead
    # the last making has not been waited for yet
    assert sum(makings[:-1]) <= pace.load * now + 1e-6
