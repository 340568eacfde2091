"""The example notebooks, run as a user runs them: `qnb execute`, `verify`, `unseal`, and against a run without qnb."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
QNB_LINES = ("%load_ext qnb", "%%qsecure ", "!qnb policy explain ", "import qnb", "from qnb.errors import DeniedError")


def _load_demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("qnb_examples_demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


demo = _load_demo()


@dataclass(frozen=True)
class Run:
    """One example after a guarded run: its home, the files, and what they hold."""

    source: Any
    home: Path
    sealed_file: Path
    opened_file: Path
    sealed: Any
    opened: Any
    entries: list[dict[str, Any]]


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each example executed guarded and unsealed, once."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    home, sealed, opened = folder / "home", folder / "sealed.ipynb", folder / "opened.ipynb"
    executed = demo.qnb("execute", request.param, "-o", sealed, home=home)
    assert executed.returncode == 0, executed.stdout + executed.stderr
    entries = demo.log_entries(home)
    unsealed = demo.qnb("unseal", sealed, "-o", opened, home=home)
    assert unsealed.returncode == 0, unsealed.stdout + unsealed.stderr
    source = demo.read(request.param)
    return Run(source, home, sealed, opened, demo.read(sealed), demo.read(opened), entries)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_example_as_kept_in_git_has_ids_a_kernel_and_no_outputs(path: Path) -> None:
    """What is committed is source only, in the current notebook format."""
    nb = demo.read(path)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    assert nb.metadata.kernelspec.name == "python3"
    assert "widgets" not in nb.metadata
    for cell in nb.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_example_asks_for_no_more_of_qnb_than_a_user_should(path: Path) -> None:
    """Apart from loading, labelling, asking and declassifying, the code is ordinary Qiskit."""
    for cell in demo.read(path).cells:
        if cell.cell_type != "code":
            continue
        for line in cell.source.splitlines():
            if "qnb" in line or "qsecure" in line:
                assert line.startswith(QNB_LINES) or "qnb.declassify(" in line


@pytest.mark.slow
def test_guarded_example_seals_every_cell_from_its_first_label_on(run: Run) -> None:
    """A labelled cell and every later one has its output sealed, finally, and for somebody; nothing else beside it."""
    labelled = False
    for cell in run.sealed.cells:
        labelled = labelled or cell.source.startswith("%%qsecure")
        for output in cell.get("outputs", []):
            sealed = demo.MIME in output.get("data", {})
            assert sealed or not labelled or "qnb.declassify(" in cell.source
            if sealed:
                assert output.data[demo.MIME]["state"] == "ok"
                assert output.data[demo.MIME]["recipients"]


@pytest.mark.slow
def test_guarded_example_leaves_no_plaintext_in_any_file(run: Run) -> None:
    """Neither notebook, log, keys nor history holds a canary in any encoding; the opened notebook holds all of them."""
    secrets = demo.canaries(run.sealed, run.opened)
    files = [path for path in demo.files_below(run.home.parent) if path != run.opened_file]
    assert secrets
    assert demo.leaks(secrets, files) == []
    assert {secret for _, secret in demo.leaks(secrets, [run.opened_file])} == secrets


@pytest.mark.slow
def test_guarded_example_verifies_with_its_log_and_the_log_by_itself(run: Run) -> None:
    """`qnb verify` holds for the sealed notebook and for the log."""
    for target in ([run.sealed_file], []):
        verified = demo.qnb("verify", *target, home=run.home)
        assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.slow
def test_unsealed_example_is_private_and_shows_what_an_unguarded_run_shows(run: Run) -> None:
    """With the same seeds, text for text; qnb changes no result."""
    assert stat.S_IMODE(run.opened_file.stat().st_mode) == 0o600
    assert demo.texts(run.opened) == demo.texts(demo.run_bare(run.source, EXAMPLES))


@pytest.mark.slow
def test_every_execution_of_an_example_has_a_decision_before_it(run: Run) -> None:
    """Decisions come first, a denied one has no execution, and every sealed output has a seal entry."""
    allowed = {entry["index"] for entry in run.entries if (entry["kind"], entry["decision"]) == ("decision", "allow")}
    executed = [entry["index"] for entry in run.entries if entry["kind"] == "execution"]
    assert allowed
    assert executed
    assert min(allowed) < min(executed)
    assert all(entry["status"] in {"ok", None} for entry in run.entries if entry["kind"] == "execution")
    sealed = {bundle["entry"]["index"] for _, bundle in demo.sealed_bundles(run.sealed)}
    assert sealed <= {entry["index"] for entry in run.entries if entry["kind"] == "seal"}


@pytest.mark.slow
def test_denials_in_the_log_are_those_that_the_example_catches(run: Run) -> None:
    """A run on an unlisted backend is recorded as denied, at its label; nothing else is denied."""
    catching = [cell.id for cell in run.source.cells if "except DeniedError" in cell.source]
    denied = [entry for entry in run.entries if entry["decision"] == "deny"]
    assert [entry["cell"] for entry in denied] == catching
    assert all(entry["status"] == "denied" and entry["label"].startswith("restricted") for entry in denied)


def test_search_for_canaries_finds_each_encoding(tmp_path: Path) -> None:
    """The search that the demo and these tests rely on finds what it should."""
    import base64

    secret = "kept to “ourselves”: 28.63".encode()
    for shift in range(3):
        wrapped = base64.b64encode(b"x" * shift + secret + b"yz")
        for content in (secret, secret.hex().encode(), wrapped, json.dumps(secret.decode()).encode()):
            file = tmp_path / "file"
            file.write_bytes(b"before " + content + b" after")
            assert demo.leaks([secret], [file]) == [(file, secret)]
    file.write_bytes(base64.b64encode(b"something else altogether, and long enough"))
    assert demo.leaks([secret], [file]) == []
