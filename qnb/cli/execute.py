"""`qnb execute`: run a notebook guarded, cell by cell, outputs sealed.

Enters: a notebook file. Leaves: another notebook file whose classified outputs are ciphertext, written atomically, also
after a failure or Ctrl-C. Never: widget state (nbclient would save it in clear), a stale output of a cell that did not
run, the text of a classified cell's error, a source that was to be sealed and is not, an edit of the input file.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import click
import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from qnb.core.directive import directive_line, parse_directive
from qnb.core.notebook import notebook_id
from qnb.core.seal.output import MIME
from qnb.core.source import hidden_source_error, hide_source, is_hidden
from qnb.errors import ConfigError, ExecutionError, QnbError, StorageError
from qnb.store.config import ensure_home, home
from qnb.store.files import write_atomic

# not `%load_ext`: the notebook may have that line itself, and IPython would remark on the second
_LOAD = "__import__('qnb').load_ipython_extension(get_ipython())"


@click.command()
@click.argument("notebook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: NAME.sealed.ipynb.")
@click.option("--kernel", "kernel_name", default=None, help="Kernel to use. Default: the one the notebook names.")
@click.option("--timeout", type=click.IntRange(min=1), default=None, help="Seconds a cell may take. Default: no limit.")
@click.option("--allow-errors", is_flag=True, help="Go on after a cell that fails.")
@click.option("--seal-source", is_flag=True, help="Seal the source of classified cells with their outputs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of progress.")
def execute(
    *,
    notebook: Path,
    output: Path | None,
    kernel_name: str | None,
    timeout: int | None,
    allow_errors: bool,
    seal_source: bool,
    as_json: bool,
) -> None:
    """Run NOTEBOOK guarded: qnb is loaded first, classified outputs are sealed, nothing is written in clear.

    Exit code 0 when every cell ran, 1 when a cell failed, was denied or was interrupted. A denial that the notebook
    catches is no failure.

    With --seal-source, OUT keeps of a classified cell's source its `%%qsecure` line alone; `qnb unseal` restores it for
    those who may read the output. A cell asks for that itself with `%%qsecure … --seal-source`.

    Example: qnb execute analysis.ipynb -o analysis.sealed.ipynb
    """
    target = output if output is not None else notebook.with_suffix(".sealed.ipynb")
    if not target.parent.is_dir():
        raise ConfigError(
            "no-such-folder", f"the folder `{target.parent}` does not exist", "create it or name another output"
        )
    if target.exists() and target.samefile(notebook):
        raise ConfigError("same-file", f"`{target}` is the notebook to run", "name another output")
    nb = _load(notebook)
    first_use = ensure_home(home())
    if first_use.recipient is not None:
        # the kernel's own word on this would be lost with the output of the load
        click.echo(f"made an identity: {first_use.identity}; back it up: {first_use.backup}", err=True)
    run = _Run(nb, notebook.resolve().parent, kernel_name, timeout, allow_errors, seal_source=seal_source)
    reporter = _Silent() if as_json else _reporter(run.total)
    try:
        with reporter:
            asyncio.run(run.run(reporter))
    finally:
        if run.guarded:
            run.hide_sources()
            write_atomic(target, (nbformat.writes(nb) + "\n").encode(), mode=0o600)
    if as_json:
        click.echo(json.dumps({"notebook": nb.metadata["qnb"]["id"], "output": str(target), "cells": run.results}))
    else:
        sealed = sum(1 for result in run.results if result["sealed"])
        click.echo(f"{len(run.results)} of {run.total} cells ran, {sealed} sealed: {target}")
        if run.failure is not None:
            click.echo(run.failure, err=True)
    if run.failure is not None:
        raise SystemExit(1)


def _load(path: Path) -> Any:
    try:
        nb = nbformat.read(path, as_version=4)
        nbformat.validate(nb)
    except OSError:
        raise StorageError("unreadable", f"`{path}` cannot be read", "check its permissions") from None
    except Exception:  # noqa: BLE001 -- nbformat raises many kinds on a file that is no notebook, and quotes its content
        raise ConfigError(
            "not-a-notebook", f"`{path}` is not a notebook", "name a file in the nbformat 4 form"
        ) from None
    nb.nbformat_minor = max(nb.nbformat_minor, 5)
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "code" and is_hidden(cell.source):
            raise hidden_source_error(f"cell {number}")
        cell.setdefault("id", uuid.uuid4().hex[:8])
        if cell.cell_type == "code":
            # a cell that will not run must not keep what an earlier, perhaps unguarded, run left in it
            cell.outputs = []
            cell.execution_count = None
    if not isinstance(nb.metadata.get("qnb"), dict):  # somebody else's, under our key
        nb.metadata["qnb"] = nbformat.NotebookNode()
    if notebook_id(nb) is None:
        nb.metadata["qnb"]["id"] = str(uuid.uuid4())
    nb.metadata.pop("widgets", None)
    return nb


class _Client(AsyncKernelClient):
    """Tells the kernel which cell of which notebook a request is, as JupyterLab does; nbclient does not."""

    cell_id: str | None = None
    notebook_id: str | None = None
    seal_source: bool = False

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": user_expressions or {},
            "allow_stdin": False if allow_stdin is None else allow_stdin,
            "stop_on_error": stop_on_error,
        }
        own = {"notebook": self.notebook_id, "seal_source": self.seal_source}
        metadata = {"cellId": self.cell_id, "qnb": own}
        msg = self.session.msg("execute_request", content, metadata=metadata)
        self.shell_channel.send(msg)
        return str(msg["header"]["msg_id"])


class _Run:
    """One guarded run of a notebook: its state, and what became of each cell."""

    def __init__(
        self, nb: Any, folder: Path, kernel: str | None, timeout: int | None, allow_errors: bool, *, seal_source: bool
    ) -> None:
        self.nb = nb
        self._seal_source = seal_source
        self.results: list[dict[str, Any]] = []
        self.failure: str | None = None
        self.guarded = False  # before that nothing ran that would be worth a file
        self._interrupted = False
        self._folder = folder
        options: dict[str, Any] = {} if kernel is None else {"kernel_name": kernel}
        self._client = NotebookClient(
            nb, timeout=timeout, allow_errors=allow_errors, store_widget_state=False, record_timing=False, **options
        )

    @property
    def total(self) -> int:
        return sum(1 for cell in self.nb.cells if _runs(cell))

    async def run(self, reporter: _Reporter) -> None:
        client = self._client
        client.km = client.create_kernel_manager()
        client.km.client_factory = _Client
        client.km.transport_encryption = "auto"
        client.reset_execution_trackers()
        try:
            async with client.async_setup_kernel(cwd=str(self._folder)):
                loop = asyncio.get_running_loop()
                # nbclient's own handler kills the kernel, and with it the output that is being sealed
                loop.add_signal_handler(signal.SIGINT, self._interrupt)
                await self._guard()
                self.guarded = True
                for index, cell in enumerate(self.nb.cells):
                    if _runs(cell) and not await self._run_cell(cell, index, reporter):
                        break
        except NoSuchKernel:
            raise ConfigError(
                "no-such-kernel",
                f"there is no kernel `{client.kernel_name}` here",
                "list them with `jupyter kernelspec list` and name one with --kernel",
            ) from None

    @property
    def _kernel(self) -> _Client:
        kernel = self._client.kc
        assert isinstance(kernel, _Client)  # noqa: S101 -- made by the factory above, and kept while the kernel runs
        return kernel

    async def _guard(self) -> None:
        client, kernel = self._client, self._kernel
        kernel.notebook_id = self.nb.metadata["qnb"]["id"]
        kernel.seal_source = self._seal_source
        info = await client.async_wait_for_reply(kernel.kernel_info())
        self.nb.metadata["language_info"] = info["content"]["language_info"] if info else {}
        reply = await client.async_wait_for_reply(kernel.execute(_LOAD, store_history=False))
        if reply is None or reply["content"]["status"] != "ok":
            said = "" if reply is None else f": {reply['content'].get('evalue', '')}".splitlines()[0]
            raise ConfigError(
                "guard-not-loaded",
                f"qnb could not be loaded in the kernel `{client.kernel_name}`{said}",
                "install qnb in that kernel's environment or name another with --kernel; `qnb doctor` says more",
            )

    async def _run_cell(self, cell: Any, index: int, reporter: _Reporter) -> bool:
        self._kernel.cell_id = cell.id
        reporter.start(cell.id)
        started = time.monotonic()
        status = "ok"
        try:
            await self._client.async_execute_cell(cell, index, execution_count=self._client.code_cells_executed + 1)
        except CellExecutionError as error:
            # str(error) quotes the cell's source; the name and value of a classified cell's error are qnb's own words
            status, self.failure = "failed", f"cell {cell.id}: {error.ename}: {error.evalue}"
        except CellTimeoutError:
            status, self.failure = "failed", f"cell {cell.id}: took longer than --timeout"
        except DeadKernelError:
            self.results.append(_result(cell, "failed", time.monotonic() - started))
            reporter.end(self.results[-1])
            raise ExecutionError(
                "kernel-died",
                f"the kernel died in cell {cell.id}",
                "its decisions stay in the log as open: `qnb log list`",
            ) from None
        if status == "ok" and any(output.output_type == "error" for output in cell.outputs):
            status = "failed"
        if status == "ok" and (states := _states(cell)) and states[-1] != "ok":
            status = states[-1]
        if self._interrupted:
            status, self.failure = "interrupted", f"interrupted in cell {cell.id}; what ran before is in the output"
        self.results.append(_result(cell, status, time.monotonic() - started))
        reporter.end(self.results[-1])
        # nbclient raises for a failure that neither --allow-errors nor the cell's tag `raises-exception` expects
        return self.failure is None

    def hide_sources(self) -> None:
        """Put a placeholder for each source that is sealed with its output, or that was to be and is not."""
        sealing = False  # from the first classified cell on, one that did not run might have been one
        for cell in self.nb.cells:
            if not _runs(cell):
                continue
            bundles = [output.data[MIME] for output in cell.outputs if MIME in output.get("data", {})]
            sealed = any(bundle.get("source") == "sealed" for bundle in bundles)
            line = directive_line(cell.source)
            sealing = sealing or bool(bundles) or line is not None
            asked = self._seal_source and (bool(bundles) or line is not None or (sealing and cell.id not in self._ran))
            if sealed or asked or _asks_to_seal(line):
                cell.source = hide_source(cell.source, sealed=sealed)
                cell.metadata.setdefault("qnb", nbformat.NotebookNode())["source"] = "sealed" if sealed else "left out"

    @property
    def _ran(self) -> set[str]:
        return {str(result["cell"]) for result in self.results}

    def _interrupt(self) -> None:
        self._interrupted = True
        manager = self._client.km
        assert manager is not None  # noqa: S101 -- installed while a kernel runs
        self._interrupting = asyncio.ensure_future(ensure_async(manager.interrupt_kernel()))


def _runs(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _asks_to_seal(line: str | None) -> bool:
    try:
        return line is not None and parse_directive(line).seal_source
    except QnbError:  # it was refused, and may have meant it
        return line is not None and "--seal-source" in line


def _states(cell: Any) -> list[str]:
    return [output.data[MIME]["state"] for output in cell.outputs if MIME in output.get("data", {})]


def _result(cell: Any, status: str, seconds: float) -> dict[str, Any]:
    labels = [output.data[MIME]["label"] for output in cell.outputs if MIME in output.get("data", {})]
    return {
        "cell": cell.id,
        "status": status,
        "sealed": bool(labels),
        "label": labels[-1] if labels else None,
        "seconds": round(seconds, 3),
    }


class _Silent(nullcontext[None]):
    def start(self, cell_id: str) -> None:
        """Say nothing."""

    def end(self, result: dict[str, Any]) -> None:
        """Say nothing."""


class _Lines(nullcontext[None]):
    """Plain lines, for a log file or a pipe."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total, self._done = total, 0

    def start(self, cell_id: str) -> None:
        """A line a cell is enough: said at its end."""

    def end(self, result: dict[str, Any]) -> None:
        self._done += 1
        click.echo(f"[{self._done}/{self._total}] {_line(result)}", err=True)


class _Bar(AbstractContextManager["_Bar"]):
    """A bar over the cells, and a line for each that is done."""

    def __init__(self, total: int, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("loading qnb", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, cell_id: str) -> None:
        self._progress.update(self._task, description=f"cell {cell_id}")

    def end(self, result: dict[str, Any]) -> None:
        self._progress.console.print(_line(result), highlight=False, markup=False)
        self._progress.advance(self._task)


_Reporter = _Silent | _Lines | _Bar


def _reporter(total: int) -> _Reporter:
    return _Bar(total, Console(stderr=True)) if sys.stderr.isatty() else _Lines(total)


def _line(result: dict[str, Any]) -> str:
    sealed = f"sealed {result['label']}" if result["sealed"] else "in clear"
    return f"cell {result['cell']}: {result['status']}, {sealed}, {result['seconds']:.1f} s"
