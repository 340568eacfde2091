"""What the accumulator shows after the messages a kernel sends, and when the next version is due."""

from __future__ import annotations

from typing import Any

import pytest

from qnb.core.outputs import OutputAccumulator, Pace


def _display(text: str, display_id: str | None = None) -> dict[str, Any]:
    return {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id} if display_id else {}}


def _texts(accumulator: OutputAccumulator) -> list[str]:
    return [output.get("text") or output["data"]["text/plain"] for output in accumulator.outputs()]


def test_adjacent_stream_messages_become_one_output() -> None:
    """Both streams each run together until the other one speaks."""
    accumulator = OutputAccumulator()
    for name, text in (("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d"), ("stdout", "")):
        accumulator.apply("stream", {"name": name, "text": text})
    assert accumulator.outputs() == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        {"output_type": "stream", "name": "stdout", "text": "d"},
    ]


def test_snapshot_is_not_changed_by_later_messages() -> None:
    """What was handed to the sealer stays as it was."""
    accumulator = OutputAccumulator()
    accumulator.apply("stream", {"name": "stdout", "text": "a"})
    accumulator.apply("display_data", _display("x", "id"))
    before = accumulator.outputs()
    accumulator.apply("update_display_data", _display("y", "id"))
    accumulator.apply("stream", {"name": "stdout", "text": "b"})
    assert before[0]["text"] == "a"
    assert before[1]["data"] == {"text/plain": "x"}


def test_update_changes_every_display_of_its_id() -> None:
    """A display shown twice is updated twice, in place."""
    accumulator = OutputAccumulator()
    for text, display_id in (("x", "id"), ("between", None), ("x", "id")):
        accumulator.apply("display_data", _display(text, display_id))
    accumulator.apply("update_display_data", _display("y", "id"))
    assert _texts(accumulator) == ["y", "between", "y"]


def test_update_of_a_display_made_elsewhere_is_kept_here() -> None:
    """The display of a public cell is not updated in clear, and the content is not lost."""
    accumulator = OutputAccumulator()
    accumulator.apply("update_display_data", _display("y", "elsewhere"))
    accumulator.apply("update_display_data", _display("z", "elsewhere"))
    assert _texts(accumulator) == ["z"]


def test_clear_removes_at_once_and_with_wait_before_the_next_output() -> None:
    """`wait` avoids flicker: the old output stands until something replaces it."""
    accumulator = OutputAccumulator()
    accumulator.apply("stream", {"name": "stdout", "text": "a"})
    accumulator.apply("clear_output", {"wait": True})
    assert _texts(accumulator) == ["a"]
    accumulator.apply("stream", {"name": "stdout", "text": "b"})
    assert _texts(accumulator) == ["b"]
    accumulator.apply("clear_output", {"wait": False})
    assert accumulator.outputs() == []
    assert accumulator.size == 0


def test_update_of_a_cleared_display_is_dropped() -> None:
    """As front ends do."""
    accumulator = OutputAccumulator()
    accumulator.apply("display_data", _display("x", "id"))
    accumulator.apply("clear_output", {"wait": False})
    accumulator.apply("update_display_data", _display("y", "id"))
    assert accumulator.outputs() == []


def test_result_and_error_keep_their_fields() -> None:
    """Execution count and traceback survive."""
    accumulator = OutputAccumulator()
    accumulator.apply("execute_result", {**_display("1"), "execution_count": 7})
    accumulator.apply("error", {"ename": "E", "evalue": "v", "traceback": ["t"]})
    assert accumulator.outputs() == [
        {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 7},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
    ]


@pytest.mark.parametrize("kind", ["comm_open", "status", "debug_event", "anything"])
def test_other_messages_are_left_out(kind: str) -> None:
    """Only outputs are outputs."""
    accumulator = OutputAccumulator()
    assert not accumulator.apply(kind, {"data": {"state": "secret"}})
    assert accumulator.outputs() == []


def test_pace_of_a_small_output_keeps_moving() -> None:
    """A progress line of an hour is refreshed about every twenty seconds on average."""
    pace = Pace(0.0, delay=0.3, interval=0.1, share=0.05)
    now, versions = 0.0, 0
    while now < 3600:
        now = pace.due(100)
        pace.published(now, 100)
        versions += 1
    assert pace.due(100) > now
    assert versions > 160
