"""One sealed output: running, final, late, withheld."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from qnb.errors import LabelError, QnbError, SealError, StorageError
from qnb.kernel.cell import Cell
from qnb.kernel.live import LiveOutput, Publisher
from qnb.model import Label


class _Session:
    """Seals by showing what it was given."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.ended = 0

    def end_executions(self, cell: Cell) -> None:
        self.ended += 1

    def seal_output(self, cell: Cell, outputs: list[dict[str, Any]], state: str) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return {"sealed": "".join(output["text"] for output in outputs), "state": state}


class _Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.session = _Session()
        self.cell = Cell(1, Label("confidential"), classified=True)
        self.shown: list[tuple[str, dict[str, Any]]] = []
        self.live = LiveOutput(
            self.cell,
            self.session,  # type: ignore[arg-type]
            lambda kind, content: self.shown.append((kind, content["data"])),
            lambda: self.now,
        )

    def say(self, text: str) -> bool:
        return self.live.gather("stream", {"name": "stdout", "text": text})


@pytest.fixture
def bench() -> _Bench:
    return _Bench()


def test_short_cell_is_shown_once(bench) -> None:
    """A display, no update."""
    bench.say("a")
    bench.live.advance()
    assert bench.live.close("ok") is None
    assert bench.shown == [("display_data", {"sealed": "a", "state": "ok"})]
    assert bench.session.ended == 1


def test_long_cell_is_shown_while_it_runs(bench) -> None:
    """First at 0.3 s, then as it grows, then final: updates of the one display."""
    bench.now = 0.31
    bench.live.advance()
    bench.live.advance()
    assert bench.say("a")
    assert not bench.say("b")  # already due
    bench.now = 0.35
    bench.live.advance()
    bench.now = 0.45
    bench.live.advance()
    bench.live.close("failed")
    assert bench.shown == [
        ("display_data", {"sealed": "", "state": "running"}),
        ("update_display_data", {"sealed": "ab", "state": "running"}),
        ("update_display_data", {"sealed": "ab", "state": "failed"}),
    ]


def test_late_output_makes_a_fresh_final_version(bench) -> None:
    """With all that came before it, and not at once."""
    bench.say("a")
    bench.live.close("ok")
    assert bench.live.due() is None
    bench.say("b")
    bench.live.advance()
    assert len(bench.shown) == 1
    bench.now = 0.3
    bench.live.advance()
    assert bench.shown[1] == ("update_display_data", {"sealed": "ab", "state": "ok"})


def test_live_version_that_cannot_be_sealed_is_skipped(bench) -> None:
    """The cell goes on; its end will tell."""
    bench.session.errors = [StorageError("x", "y")]
    bench.now = 0.31
    bench.live.advance()
    assert bench.shown == []
    assert bench.live.close("ok") is None


@pytest.mark.parametrize("error", [StorageError("full", "the log is full"), ValueError("plaintext")])
def test_final_version_that_cannot_be_sealed_is_withheld(bench, error: Exception) -> None:
    """Now and later, and nothing of a foreign error's text is shown."""
    bench.say("a")
    bench.session.errors = [error]
    failure = bench.live.close("ok")
    assert isinstance(failure, QnbError)
    assert not bench.say("later")
    assert bench.live.due() is None
    ((kind, data),) = bench.shown
    assert kind == "display_data"
    assert data["text/plain"].startswith("output withheld: ")
    assert "plaintext" not in data["text/plain"]


def test_interrupt_during_the_sealing_is_survived_once(bench) -> None:
    """An impatient second Ctrl-C costs no output; a third one withholds it."""
    bench.session.errors = [KeyboardInterrupt()]
    assert bench.live.close("interrupted") is None
    other = _Bench()
    other.session.errors = [KeyboardInterrupt(), KeyboardInterrupt()]
    assert isinstance(other.live.close("interrupted"), SealError)


def test_refused_cell_shows_nothing(bench) -> None:
    """Whatever other code says under its parent."""
    bench.cell.refused = LabelError("x", "y")
    bench.say("a")
    bench.now = 1.0
    bench.live.advance()
    assert bench.live.close("failed") is None
    assert bench.shown == []


def test_task_waits_for_a_quiet_moment_and_the_end_waits_for_no_task() -> None:
    """Not while outputs move; at the latest when the process ends."""
    publisher = Publisher(lambda: 100.0)
    done: list[str] = []
    publisher.later(lambda: done.append("one"))
    publisher.later(lambda: done.append("two"))
    assert done == []
    publisher.flush()
    assert done == ["one", "two"]
    publisher.flush()
    assert done == ["one", "two"]


def test_task_is_done_by_the_output_thread_once_it_is_quiet() -> None:
    """Without anybody waking it: the cell that left the task behind pays nothing for it."""
    publisher, done = Publisher(time.monotonic), threading.Event()

    class Silent:
        def due(self) -> None:
            return None

    publisher.watch(Silent())  # type: ignore[arg-type]
    publisher.later(done.set)
    assert done.wait(20)
