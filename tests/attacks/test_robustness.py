"""Attack: wear the guard out. Cells that die, flood, never end or run again and again.

Memory stays bounded, nothing that was shown in clear is left, and the last state is sealed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qnb.core.seal.output import MIME
from tests.attacks.conftest import Wire

_SETUP = "import standin\nstandin.load(get_ipython())"
_MB = 1 << 20


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Wire]:
    """A kernel that a test may wear out."""
    wire = Wire(tmp_path, _SETUP)
    try:
        yield wire
    finally:
        wire.close()


def _memory(wire: Wire, what: str = "VmRSS") -> int:
    """Bytes of the kernel's memory: now, or the most that it ever was (`VmHWM`)."""
    process = wire.manager.provisioner.process.pid
    line = next(
        line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(f"{what}:")
    )
    return int(line.split()[1]) * 1024


def _last_card(wire: Wire) -> dict:
    cards = [json.loads(heard.rpartition("}")[0] + "}") for heard in wire.heard if MIME in heard]
    return cards[-1]["content"]["data"][MIME]


def test_restart_in_mid_cell_leaves_the_last_version_sealed(own, canary: str) -> None:
    """What was shown is a running card; the new kernel knows nothing."""
    own.client.execute("%%qsecure\nimport time\nprint(CANARY, flush=True)\nwhile True: time.sleep(0.01)")
    own.await_sealed(canary, running=True)
    own.manager.restart_kernel(now=True)
    own.client.wait_for_ready(timeout=60)
    assert _last_card(own)["state"] == "running"
    assert "entry" not in _last_card(own)
    assert own.run("CANARY").content["ename"] == "NameError"
    assert not own.leaks()


@pytest.mark.parametrize(
    "death", ["os._exit(3)", "os.kill(os.getpid(), 9)", "import faulthandler; faulthandler._sigsegv()", "os.abort()"]
)
def test_kernel_that_dies_tells_nothing(own, canary: str, death: str) -> None:
    """Not to its clients, and not to the server's log, where what is left in buffers would end."""
    own.client.execute(
        "%%qsecure\nimport os, sys, time\nprint(CANARY, flush=True)\nprint(CANARY, file=sys.stderr)\n"
        f"os.write(2, CANARY.encode())\ntime.sleep(0.6)\nprint(CANARY)\n{death}"
    )
    own.await_sealed(canary, running=True)
    own.manager.provisioner.process.wait(30)
    while own._next_iopub(0.3) is not None:
        pass
    assert _last_card(own)["state"] == "running"
    assert not own.leaks()


def test_interrupt_that_meets_a_flood_seals_what_there_was(own, canary: str) -> None:
    """Ctrl-C in the middle of the printing: the state says so, and the kernel goes on."""
    own.client.execute("%%qsecure\nprint(CANARY)\nwhile True: print('x' * 200)")
    own.await_sealed(canary, running=True)
    own.manager.interrupt_kernel()
    message = own.await_iopub(
        lambda heard: heard["content"].get("data", {}).get(MIME, {}).get("state") == "interrupted"
    )
    assert canary in own.opened(message["content"]["data"][MIME])
    own._heard(own.client.get_shell_msg(timeout=30))
    assert own.must("1").shown == {"execute_result"}
    assert not own.leaks()


@pytest.mark.slow
def test_cell_that_prints_100_mb_is_sealed_in_bounded_memory(own, canary: str) -> None:
    """At most eight times what it printed, given back afterwards; live versions weigh at most twice as much."""
    own.must("%%qsecure\nprint('warm')")
    before = _memory(own)
    size = 100 * _MB
    reply = own.run(
        f"%%qsecure\nline = 'x' * 998 + '\\n'\nfor _ in range({size} // 999):\n    print(line, end='')\nprint(CANARY)"
    )
    assert reply.ok
    assert canary in own.opened(reply.card)
    assert _memory(own, "VmHWM") - before < 8 * size
    versions = [
        len(content["data"][MIME]["age"]) for content in reply.of("display_data") + reply.of("update_display_data")
    ]
    assert sum(versions[:-1]) <= 2 * versions[-1]
    own.must("%%qsecure\nprint('small')")
    assert _memory(own) - before < size
    own.heard.clear()
    assert not own.leaks()


def test_ten_thousand_display_updates_end_in_one(own, canary: str) -> None:
    """The last one is sealed, the others are gone, and few of them were published."""
    own.must("%%qsecure\nprint('warm')")
    before = _memory(own)
    reply = own.must(
        "%%qsecure\nh = display('first', display_id=True)\nfor i in range(10_000):\n    h.update(f'{CANARY} {i}')\n"
        "for i in range(10_000):\n    display(i, display_id=str(i))\n    display(-i, display_id=str(i), update=True)"
    )
    inside = json.loads(own.opened(reply.card))
    assert inside[0]["data"]["text/plain"] == f"'{canary} 9999'"
    assert len(inside) == 10_001
    assert inside[-1]["data"]["text/plain"] == "-9999"
    assert len(reply.of("update_display_data")) < 100
    assert _memory(own) - before < 64 * _MB
    assert not own.leaks()


def test_cell_that_is_run_again_and_again_takes_no_more_memory(own) -> None:
    """Sixty runs of 256 KB of output, with a widget and an error each: the guard keeps the last few alone."""
    code = (
        "%%qsecure\nimport ipywidgets as w\nprint('x' * 262_144)\nt = w.Text(value='y' * 1000)\nt.close()\n"
        "raise ValueError('z' * 1000)"
    )
    for _ in range(15):
        own.run(code)
    before = _memory(own)
    for _ in range(60):
        assert own.run(code).card["state"] == "failed"
    assert _memory(own) - before < 12 * _MB


def test_versions_of_a_cell_that_streams_stay_within_twice_its_size(own) -> None:
    """Counted on the wire, whatever the rhythm: bursts, a trickle, and a display that is replaced."""
    for code in (
        "import time\nfor _ in range(60):\n    print('x' * 40_000); time.sleep(0.05)",
        "import time\nfor i in range(12):\n    print('x' * 200_000 * (i % 3), flush=True); time.sleep(0.2)",
        "import time\nh = display('x', display_id=True)\nfor i in range(40): h.update('y' * 900_000), time.sleep(0.05)",
    ):
        reply = own.must(f"%%qsecure\n{code}")
        versions = [
            len(content["data"][MIME]["age"]) for content in reply.of("display_data") + reply.of("update_display_data")
        ]
        assert len(versions) > 1
        # beside what small outputs may take whatever their size, in base64: 256 KB and 4 KB a second
        assert sum(versions[:-1]) <= 2 * versions[-1] + (256 * 1024 + 4096 * 4) * 4 // 3
