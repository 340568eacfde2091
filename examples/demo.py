"""`make demo`: example 03 guarded, and then each promise checked on the files that it left.

Enters: examples/03_drug_discovery.ipynb and the `qnb` of this environment, run as a user would run it. Leaves: a fresh
folder `.demo` with a home of its own, the sealed notebook, the opened one, and an account on the terminal. Never:
touches the caller's own QNB_HOME or IPython profile. Exit code 1 if a promise does not hold.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "03_drug_discovery.ipynb"
DEMO = ROOT / ".demo"
HOME, SEALED, OPENED = DEMO / "home", DEMO / "03_drug_discovery.sealed.ipynb", DEMO / "03_drug_discovery.opened.ipynb"
MIME = "application/vnd.qnb.sealed+json"
GUARDED_ONLY = "guarded-only"  # tag of cells that make no sense without qnb: denials, declassification
_GUARD_LINES = ("%load_ext qnb", "%%qsecure")
_SHORTEST = 6  # characters; shorter strings occur by chance in ciphertext


def environment(home: Path) -> dict[str, str]:
    """The caller's environment with a QNB_HOME and an IPython profile below `home`'s folder, and this `qnb` on PATH."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        **os.environ,
        "QNB_HOME": str(home),
        "IPYTHONDIR": str(home.parent / "ipython"),
        "PATH": os.pathsep.join(folders),
    }


def qnb(*arguments: str | Path, home: Path, capture: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the `qnb` that is installed beside this interpreter; with `capture=False` it has the terminal."""
    program = shutil.which("qnb", path=str(Path(sys.executable).parent))
    if program is None:
        message = f"there is no qnb beside {sys.executable}: run `make demo`, which installs it"
        raise SystemExit(message)
    return subprocess.run(
        [program, *map(str, arguments)], env=environment(home), capture_output=capture, text=True, check=False
    )


def log_entries(home: Path) -> list[dict[str, Any]]:
    """The entries of the log, as `qnb log list --json` gives them."""
    return [json.loads(line) for line in qnb("log", "list", "--json", home=home).stdout.splitlines() if line.strip()]


# --- notebooks --------------------------------------------------------------------------------------------------------


def read(path: Path) -> Any:
    """The notebook at `path`, in the nbformat 4 form."""
    return nbformat.read(path, as_version=4)


def without_guard(nb: Any) -> Any:
    """A copy with qnb's lines gone and the cells that need it empty: what the researcher would have run before."""
    bare = copy.deepcopy(nb)
    for cell in bare.cells:
        if cell.cell_type == "code":
            lines = [] if GUARDED_ONLY in cell.metadata.get("tags", []) else cell.source.splitlines()
            cell.source = "\n".join(line for line in lines if not line.startswith(_GUARD_LINES))
            cell.outputs, cell.execution_count = [], None
    return bare


def run_bare(nb: Any, folder: Path) -> Any:
    """Run a notebook without qnb in `folder`; returns it with outputs, nothing is written to a file of ours."""
    bare = without_guard(nb)
    client = NotebookClient(bare, resources={"metadata": {"path": str(folder)}}, store_widget_state=False)
    client.km = client.create_kernel_manager()
    client.km.transport_encryption = "auto"  # as `qnb execute` has it; ipykernel warns about anything else
    with tempfile.TemporaryDirectory() as profile:
        client.execute(env={**os.environ, "IPYTHONDIR": profile})
    return bare


def texts(nb: Any) -> dict[str, str]:
    """Cell id -> what the cell printed to stdout and the text form of what it displayed, in order.

    Cells that do nothing without qnb are left out.
    """
    shown: dict[str, str] = {}
    for cell, bare in zip(nb.cells, without_guard(nb).cells, strict=True):
        if cell.cell_type != "code" or not bare.source.strip():
            continue
        parts = [
            output.text if output.output_type == "stream" else output.data.get("text/plain", "")
            for output in cell.outputs
            if output.get("name", "stdout") == "stdout" and output.output_type != "error"
        ]
        shown[cell.id] = "".join(parts)
    return shown


def sealed_bundles(nb: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(cell id, sealed output) for every sealed output of a notebook."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                yield cell.id, output.data[MIME]


# --- canaries ---------------------------------------------------------------------------------------------------------


def canaries(sealed: Any, opened: Any) -> set[bytes]:
    """What only the sealed cells know: their lines, longer words, and pieces of their pictures.

    Left out: what stands in the notebook's own source, what a cell shows in clear beside its sealed output (that is a
    declassification), and denials, which hold policy facts only.
    """
    classified = {cell for cell, _ in sealed_bundles(sealed)}
    in_clear = "\n".join([*(cell.source for cell in sealed.cells), *_clear(sealed)])
    found: set[bytes] = set()
    for cell in opened.cells:
        if cell.id not in classified or GUARDED_ONLY in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            text = output.get("text", "") + data.get("text/plain", "")
            for piece in [*text.splitlines(), *text.split()]:
                if len(piece.strip()) >= _SHORTEST and piece.strip() not in in_clear:
                    found.add(piece.strip().encode())
            if "image/png" in data:
                picture = base64.b64decode(data["image/png"])
                found.update(picture[at : at + 48] for at in range(len(picture) // 4, len(picture) - 48, 4096))
    return found


def _clear(nb: Any) -> Iterator[str]:
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if MIME not in output.get("data", {}):
                yield output.get("text", "") + output.get("data", {}).get("text/plain", "")


def _clear_beside(nb: Any, cell_id: str) -> str:
    one = copy.copy(nb)
    one.cells = [cell for cell in nb.cells if cell.id == cell_id]
    return "".join(_clear(one)).strip()


def encodings(canary: bytes) -> Iterator[bytes]:
    """The ways in which a canary could stand in a file: raw, as JSON text, in hex, in base64 at each alignment."""
    yield canary
    with contextlib.suppress(UnicodeDecodeError):  # a piece of a picture
        text = canary.decode()
        yield json.dumps(text)[1:-1].encode()
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield canary.hex().encode()
    yield canary.hex().upper().encode()
    for shift in range(3):
        # the first and last characters also depend on the neighbours
        yield base64.b64encode(b"\0" * shift + canary)[4 if shift else 0 : -4]


def leaks(secrets: Iterable[bytes], files: Iterable[Path]) -> list[tuple[Path, bytes]]:
    """(file, canary) for each canary that stands in a file in any encoding."""
    needles = [(secret, {form for form in encodings(secret) if len(form) >= _SHORTEST}) for secret in secrets]
    return [
        (path, secret)
        for path in files
        for content in [path.read_bytes()]
        for secret, forms in needles
        if any(form in content for form in forms)
    ]


def files_below(folder: Path) -> list[Path]:
    """Every regular file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- the demo ---------------------------------------------------------------------------------------------------------


class _Account:
    """Says each promise with a mark and remembers whether all held."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.held = True

    def say(self, holds: bool, promise: str, detail: str = "") -> None:  # noqa: FBT001 -- the verdict comes first
        self.held &= holds
        mark = "[green]holds [/]" if holds else "[bold red]BROKEN[/]"
        self._console.print(f"  {mark}  {promise}", highlight=False, soft_wrap=True)
        if detail:
            self._console.print(f"          [dim]{detail}[/]", highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; 0 when every promise held."""
    console = Console()
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()

    console.rule("[bold]a guarded run of examples/03_drug_discovery.ipynb", align="left")
    for command in (["init"], ["execute", NOTEBOOK, "-o", SEALED]):
        if qnb(*command, home=HOME, capture=False).returncode:
            console.print(f"[bold red]`qnb {command[0]}` failed[/]")
            return 1
    sealed = read(SEALED)

    console.rule("[bold]what was decided", align="left")
    console.print(_entries_table(log_entries(HOME)))
    console.rule("[bold]what was sealed, for whom", align="left")
    console.print(_sealed_table(sealed))
    declassified = [cell for cell, _ in sealed_bundles(sealed) if _clear_beside(sealed, cell)]
    for cell in declassified:
        console.print(f"\ndeclassified by cell {cell}, with a reason, so in clear:", highlight=False)
        console.print(f"  {_clear_beside(sealed, cell)}", highlight=False, soft_wrap=True)

    console.rule("[bold]does it hold?", align="left")
    account = _Account(console)
    _check(account, console, sealed)
    if not account.held:
        console.print("\n[bold red]something that qnb promises does not hold here[/]")
        return 1
    jupyter = Path(sys.executable).parent / "jupyter"
    console.print("\nOpen it in JupyterLab, with the demo's identity:")
    console.print(f"  QNB_HOME={HOME} {jupyter} lab --notebook-dir {DEMO}", highlight=False, soft_wrap=True)
    console.print("The examples themselves, with an identity of your own: [bold]make lab[/]")
    return 0


def _check(account: _Account, console: Console, sealed: Any) -> None:
    verified = qnb("verify", SEALED, home=HOME)
    account.say(verified.returncode == 0, "each sealed output matches its signed entry", "qnb verify NOTEBOOK")
    log = qnb("verify", home=HOME)
    account.say(log.returncode == 0, "the log is whole and signed", "qnb verify")
    denied = [entry for entry in log_entries(HOME) if entry["decision"] == "deny"]
    account.say(bool(denied), "the run in an unknown zone was denied, on the record", "qnb log list")

    unsealed = qnb("unseal", SEALED, "-o", OPENED, home=HOME)
    opens = unsealed.returncode == 0 and stat.S_IMODE(OPENED.stat().st_mode) == 0o600
    account.say(opens, "the owner's identity opens it, into a file of mode 0600", "qnb unseal")
    for failed in (verified, log, unsealed):
        if failed.returncode:
            console.print(failed.stdout + failed.stderr, highlight=False, markup=False)
    if not opens:
        return
    opened = read(OPENED)

    secrets = canaries(sealed, opened)
    searched = [path for path in files_below(DEMO) if path != OPENED]
    found = leaks(secrets, searched)
    control = leaks(secrets, [OPENED])
    account.say(
        bool(secrets) and not found and len(control) == len(secrets),
        f"none of {len(secrets)} pieces of plaintext is in the notebook on disk, nor in any of {len(searched)} files",
        "searched for raw, as base64 and as hex; the opened file has them all",
    )
    for path in sorted({path for path, _ in found}):
        console.print(f"          in {path.relative_to(DEMO)}", highlight=False)

    with console.status("running the notebook once more, without qnb"):
        bare = texts(run_bare(read(NOTEBOOK), NOTEBOOK.parent))
    differing = [cell for cell, text in texts(opened).items() if text != bare[cell]]
    account.say(
        not differing, "opened, it shows what a run without qnb shows, with the same seeds", ", ".join(differing)
    )


def _entries_table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("entry", "kind", "decision", "status", "label", "cell", "backend"):
        table.add_column(heading)
    for entry in entries:
        decision = {"allow": "[green]allow[/]", "deny": "[red]deny[/]"}.get(entry["decision"] or "", "")
        others = [entry[key] or "" for key in ("status", "label", "cell", "backend")]
        table.add_row(str(entry["index"]), entry["kind"], decision, *others)
    return table


def _sealed_table(sealed: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("cell", "label", "state", "entry", "opens with"):
        table.add_column(heading)
    for cell, bundle in sealed_bundles(sealed):
        index = str(bundle["entry"]["index"]) if bundle.get("entry") else ""
        table.add_row(cell, bundle["label"], bundle["state"], index, ", ".join(bundle["recipients"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
