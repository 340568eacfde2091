"""A real kernel over the wire, and everything that it says.

The canary comes to the kernel in its environment, so that no spelling of it stands in a source.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

import qnb
from qnb.core.seal import generate_identity
from qnb.core.seal.output import MIME, open_output, parse_bundle

_PATIENCE = 60  # seconds; a message that does not come is a failure, not a reason to wait
CANARY = "canary-9f3e51"


def spellings(text: str) -> list[bytes]:
    """How a text may stand in a file or a message: raw, in base64 at each of the three alignments, in hex."""
    raw = text.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for offset in range(3):
        # what stands before and after it changes the first and the last group
        encoded = base64.b64encode(b"\0" * offset + raw)
        found.append(encoded[4 if offset else 0 : (offset + len(raw)) // 3 * 4])
    return found


def find_in_files(folder: Path, text: str = CANARY) -> list[str]:
    """The files below a folder that hold a text in any spelling."""
    wanted = spellings(text)
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(one in content for content in (path.read_bytes(),) for one in wanted)
    ]


@dataclass
class Reply:
    """What one request caused: its reply, and the iopub messages that carry it as parent."""

    content: dict[str, Any]
    iopub: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the cell ran to its end."""
        return self.content["status"] == "ok"

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The contents of the iopub messages of one type."""
        return [message["content"] for message in self.iopub if message["header"]["msg_type"] == kind]

    @property
    def shown(self) -> set[str]:
        """The kinds of messages besides the frame of every execution."""
        return {message["header"]["msg_type"] for message in self.iopub} - {"status", "execute_input"}

    @property
    def card(self) -> dict[str, Any]:
        """The sealed bundle shown last."""
        cards = [
            content for content in self.of("display_data") + self.of("update_display_data") if MIME in content["data"]
        ]
        assert cards, f"nothing sealed was shown: {self.shown}"
        return cards[-1]["data"][MIME]


class Wire:
    """One kernel with qnb loaded, and its client. `heard` is all that was ever received."""

    def __init__(self, home: Path, setup: str) -> None:
        self.home = home
        (home / "tmp").mkdir(exist_ok=True)
        self.heard: list[str] = []
        self.identity = generate_identity()
        environment = {
            **os.environ,
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "QNB_HOME": str(home / "qnb"),
            "QNB_TEST_RECIPIENT": str(self.identity.recipient),
            "QNB_TEST_CANARY": CANARY,
            "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(qnb.__file__).parents[1])]),
            "JPY_SESSION_NAME": "",
        }
        environment.pop("PYTEST_CURRENT_TEST", None)  # ipykernel would not capture descriptors
        self.manager = KernelManager(kernel_name="")
        self.manager._kernel_spec = _spec()
        self.log = (home / "server.log").open("w+b")
        self.manager.start_kernel(env=environment, stdout=self.log, stderr=self.log, cwd=str(home))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=_PATIENCE)
            self.must(setup)
            self.must("import os\nCANARY = os.environ['QNB_TEST_CANARY']")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.log.close()

    # --- talking -----------------------------------------------------------------------------------------------------

    def run(self, code: str, *, typed: str | None = None, **options: Any) -> Reply:
        """Execute a cell and wait for its reply and its idle; `typed` answers an input request."""
        # nobody waits behind a cell that fails here, and a kernel that aborts who does may take in the next one as well
        options = {"stop_on_error": False, **options}
        msg_id = self.client.execute(code, allow_stdin=typed is not None, **options)
        reply = Reply({})
        prompts: list[dict[str, Any]] = []
        idle = False
        deadline = time.monotonic() + _PATIENCE
        while not idle or not reply.content:
            assert time.monotonic() < deadline, f"no end of {code!r}"
            if typed is not None and self.client.stdin_channel.msg_ready():
                prompts.append(self._heard(self.client.get_stdin_msg(timeout=1))["content"])
                self.client.input(typed)
            message = self._next_iopub(0.05 if typed is not None or idle else 1.0)
            if message is not None and message["parent_header"].get("msg_id") == msg_id:
                reply.iopub.append(message)
                idle = message["content"].get("execution_state") == "idle"
            while self.client.shell_channel.msg_ready():
                answer = self._heard(self.client.get_shell_msg(timeout=1))
                if answer["parent_header"].get("msg_id") == msg_id:
                    reply.content = answer["content"]
        self.prompts = prompts
        return reply

    def must(self, code: str) -> Reply:
        """Execute a cell that has to succeed."""
        reply = self.run(code)
        assert reply.ok, json.dumps(reply.content, indent=1)
        return reply

    def ask(self, kind: str, **content: Any) -> dict[str, Any]:
        """Any other request of the shell channel; gives the content of its reply."""
        msg_id = getattr(self.client, kind)(**content)
        while True:
            answer = self._heard(self.client.get_shell_msg(timeout=_PATIENCE))
            if answer["parent_header"].get("msg_id") == msg_id:
                return answer["content"]

    def await_iopub(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next iopub message that is wanted, of whatever parent."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            message = self._next_iopub(1.0)
            if message is not None and wanted(message):
                return message
        raise AssertionError("the message that was waited for did not come")

    def await_sealed(self, text: str, *, running: bool = False) -> dict[str, Any]:
        """The next sealed display that holds `text` inside."""

        def holds(message: dict[str, Any]) -> bool:
            bundle = message["content"].get("data", {}).get(MIME)
            return bundle is not None and (bundle["state"] == "running") == running and text in self.opened(bundle)

        return self.await_iopub(holds)

    def _next_iopub(self, timeout: float) -> dict[str, Any] | None:
        try:
            return self._heard(self.client.get_iopub_msg(timeout=timeout))
        except queue.Empty:
            return None

    def _heard(self, message: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(json.dumps(message, default=str) + repr([bytes(b) for b in message.get("buffers", [])]))
        return message

    # --- looking -----------------------------------------------------------------------------------------------------

    def opened(self, bundle: dict[str, Any]) -> str:
        """The outputs inside a sealed bundle, as JSON."""
        return json.dumps(open_output(parse_bundle(bundle), [self.identity])[1])

    def leaks(self) -> list[str]:
        """Where the canary was found in clear so far."""
        wanted = [one.decode() for one in spellings(CANARY)]
        found = [message[:400] for message in self.heard if any(one in message for one in wanted)]
        return found + find_in_files(self.home)

    def history(self) -> str:
        """All of `history.sqlite`, once the kernel has written it."""
        self.must("get_ipython().history_manager.writeout_cache()")
        with sqlite3.connect(self.home / "ipython" / "profile_default" / "history.sqlite") as database:
            rows = database.execute("SELECT source, source_raw FROM history").fetchall()
            rows += database.execute("SELECT output FROM output_history").fetchall()
        database.close()
        return json.dumps(rows)


def _spec() -> Any:
    from jupyter_client.kernelspec import KernelSpec

    argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return KernelSpec(argv=argv, language="python", display_name="Python")


@pytest.fixture
def canary() -> str:
    """What must be found nowhere in clear. In the kernel it is the value of `CANARY`, spelled nowhere in a source."""
    return CANARY


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A kernel with qnb loaded, shared by a module."""
    wire = Wire(tmp_path_factory.mktemp("kernel"), "import standin\nstandin.load(get_ipython())")
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A kernel with a real session, policy and log, shared by a module."""
    wire = Wire(tmp_path_factory.mktemp("kernel"), "import standin\nstandin.load_real(get_ipython())")
    try:
        yield wire
    finally:
        wire.close()
