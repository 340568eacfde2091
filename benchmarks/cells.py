"""A real kernel to time cells in: bare, or with qnb loaded.

Enters: source of cells. Leaves: wall time from the request to the kernel's idle, so that everything counts that the
guard does before, during and after a cell, the final display included.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jupyter_client.manager import KernelManager

BELL = """\
counts = simulator.run(bell, shots=100).result().get_counts()
print(counts)"""
SETUP = """\
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
simulator = AerSimulator(seed_simulator=11)
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()"""


class Kernel:
    """A kernel in its own process. Use it in a `with` statement.

    Args:
        folder: its QNB_HOME and IPython profile lie here.
        guarded: load qnb first.
        python: interpreter of another environment to run the kernel in; it needs ipykernel.
    """

    def __init__(self, folder: Path, *, guarded: bool, python: Path | None = None) -> None:
        self._folder, self._guarded, self._python = folder, guarded, python

    def __enter__(self) -> Self:
        self._manager = KernelManager(kernel_name="python3")
        spec = self._manager.kernel_spec
        if self._python is not None and spec is not None:
            spec.argv[0] = str(self._python)
        profile = self._folder / ("guarded" if self._guarded else "bare")
        environment = {"QNB_HOME": str(self._folder / "home"), "IPYTHONDIR": str(profile)}
        self._manager.start_kernel(env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        try:
            self._client.wait_for_ready(timeout=60)
            if self._guarded:
                self.run("%load_ext qnb")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def run(self, code: str) -> float:
        """Run one cell to the kernel's idle; seconds.

        Raises:
            RuntimeError: the cell failed. (A benchmark of failures would look fast.)
        """
        start = time.perf_counter()
        request = self._client.execute(code)
        while True:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=600)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        elapsed = time.perf_counter() - start
        while True:
            reply: dict[str, Any] = self._client.get_shell_msg(timeout=600)
            if reply["parent_header"].get("msg_id") == request:
                break
        if reply["content"]["status"] != "ok":
            message_ = f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}"
            raise RuntimeError(message_)
        return elapsed
