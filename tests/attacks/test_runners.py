"""Attack: run a notebook with the tools that people run notebooks with, and search all that they leave for plaintext.

nbclient keeps widget state, papermill writes errors and its log, a server makes checkpoints, a collaborative session
stores the document: none of them knows qnb. `qnb execute` is the one that does.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from qnb.core.seal.output import MIME
from tests.attacks.conftest import CANARY, find_in_files, spellings

_CHANNELS = """%%qsecure restricted
import base64, logging, sys, warnings
import ipywidgets as w, matplotlib, pandas as pd, plotly.graph_objects as go
from IPython.display import HTML, display
from tqdm.notebook import tqdm
CANARY = os.environ["QNB_TEST_CANARY"]
print(CANARY, CANARY.encode().hex(), base64.b64encode(CANARY.encode()))
print(CANARY, file=sys.stderr)
warnings.warn(CANARY, stacklevel=1)
logging.getLogger("user").error(CANARY)
for i in tqdm(range(3), desc=CANARY): pass
held = w.VBox([w.Text(value=CANARY), w.Output()])
display(held, HTML(CANARY), pd.DataFrame({CANARY: [1]}), go.Figure(go.Bar(x=[CANARY], y=[1])))
with held.children[1]: print(CANARY)
handle.update(CANARY)
public_bar.description = CANARY
get_ipython().set_next_input(CANARY)
!echo $CANARY
CANARY"""
_CELLS = (
    "import os\n%load_ext qnb",
    "import ipywidgets\nhandle = display('p', display_id=True)\npublic_bar = ipywidgets.FloatProgress()\npublic_bar",
    _CHANNELS,
    "%%qsecure restricted\nfrom tqdm.auto import tqdm\nlist(tqdm([CANARY]))",
)
_FAILING = "%%qsecure restricted\nraise ValueError(CANARY)"

pytestmark = pytest.mark.slow


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account of its own for whatever the runner starts; everything that is written lies below it."""
    for name, folder in (
        ("QNB_HOME", "qnb"),
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
        ("JUPYTER_DATA_DIR", "data"),
        ("TMPDIR", "tmp"),
        ("MPLCONFIGDIR", "mpl"),
    ):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("QNB_TEST_CANARY", CANARY)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # ipykernel would not capture descriptors
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def _check(account: Path, notebook: nbformat.NotebookNode, cells: tuple[int, ...]) -> None:
    """The classified cells are sealed, and nothing below the account holds the canary in any spelling."""
    nbformat.write(notebook, account / "kept.ipynb")
    assert find_in_files(account) == []
    for index in cells:
        outputs = notebook.cells[index].outputs
        assert [output.output_type for output in outputs] == ["display_data"]
        assert set(outputs[0].data) == {MIME, "text/html", "text/plain"}
        assert outputs[0].data[MIME]["state"] in {"ok", "failed"}


def _opened(account: Path, name: str) -> str:
    """The notebook opened by its owner, outside the account: what was sealed is there."""
    target = account.parent / f"{account.name}.opened.ipynb"
    subprocess.run(
        [Path(sys.executable).parent / "qnb", "unseal", account / name, "-o", target], check=True, capture_output=True
    )
    return target.read_text()


def test_nbclient_that_keeps_widget_state_keeps_none(account: Path) -> None:
    """Its notebook, its widget state, the history and qnb's own files; then a checkpoint of it as servers make them."""
    from jupyter_server.services.contents.largefilemanager import LargeFileManager

    notebook = _notebook(*_CELLS)
    NotebookClient(notebook, timeout=120, store_widget_state=True).execute()
    state = notebook.metadata.get("widgets", {})
    assert state  # of the public bar
    _check(account, notebook, (2, 3))
    manager = LargeFileManager(root_dir=str(account), log=logging.getLogger("quiet"))
    manager.save({"type": "notebook", "format": "json", "content": notebook}, "served.ipynb")
    manager.create_checkpoint("served.ipynb")
    assert list(account.rglob(".ipynb_checkpoints/*.ipynb"))
    assert find_in_files(account) == []
    assert CANARY in _opened(account, "served.ipynb")


def test_nbclient_error_quotes_nothing(account: Path) -> None:
    """The exception that ends the run, and the notebook that is written all the same."""
    notebook = _notebook(*_CELLS, _FAILING, "'never reached'")
    with pytest.raises(CellExecutionError) as caught:
        NotebookClient(notebook, timeout=120).execute()
    assert caught.value.ename == "SealedError"
    assert CANARY not in str(caught.value) + repr(caught.value)
    _check(account, notebook, (2, 3, 4))


def test_papermill_writes_no_plaintext(account: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its notebook and its log, with the outputs logged as they come."""
    import papermill

    nbformat.write(_notebook(*_CELLS), account / "in.ipynb")
    with caplog.at_level(logging.INFO):
        papermill.execute_notebook(
            account / "in.ipynb", account / "out.ipynb", log_output=True, progress_bar=False, kernel_name="python3"
        )
    assert not [one for one in spellings(CANARY) if one.decode() in caplog.text]
    _check(account, nbformat.read(account / "out.ipynb", as_version=4), (2, 3))
    assert CANARY in _opened(account, "out.ipynb")


def test_papermill_error_quotes_nothing(account: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It writes the error on top of the notebook."""
    import papermill

    nbformat.write(_notebook(*_CELLS, _FAILING), account / "in.ipynb")
    with caplog.at_level(logging.INFO), pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            account / "in.ipynb", account / "out.ipynb", log_output=True, progress_bar=False, kernel_name="python3"
        )
    assert caught.value.cell_index == 4
    assert CANARY not in str(caught.value) + caplog.text
    assert find_in_files(account) == []


def test_qnb_execute_writes_no_plaintext(account: Path) -> None:
    """The one that knows; also in the notebook that a later server would put into a collaborative store."""
    nbformat.write(_notebook(*_CELLS, _FAILING), account / "in.ipynb")
    done = subprocess.run(
        [Path(sys.executable).parent / "qnb", "execute", "in.ipynb", "-o", "out.ipynb", "--allow-errors"],
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    assert CANARY not in done.stdout + done.stderr
    _check(account, nbformat.read(account / "out.ipynb", as_version=4), (2, 3, 4))
    assert CANARY in _opened(account, "out.ipynb")


def test_collaborative_document_stores_no_plaintext(account: Path) -> None:
    """The store keeps every state that the document ever had, so one in clear would stay."""
    ydoc = pytest.importorskip("jupyter_ydoc")
    notebook = _notebook(*_CELLS)
    NotebookClient(notebook, timeout=120).execute()
    document = ydoc.YNotebook()
    updates: list[bytes] = []
    document.ydoc.observe(lambda event: updates.append(event.update))
    for count in range(1, len(notebook.cells) + 1):  # as the cells come, one after the other
        document.set(json.loads(json.dumps({**notebook, "cells": notebook.cells[:count]})))
    assert updates
    stored = b"".join(updates) + document.ydoc.get_update()
    assert not [one for one in spellings(CANARY) if one in stored]
