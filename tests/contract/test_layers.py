from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

pytestmark = pytest.mark.skipif(not LINT.exists(), reason="import-linter is not installed")


def lint_imports(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [LINT, "--no-logo", "--no-cache", "--config", config]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)


def test_package_as_it_stands_keeps_every_contract() -> None:
    """Imports point down only, and each forbidden import is absent."""
    done = lint_imports(ROOT / "pyproject.toml", ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/planted.py", "import qnb.store", "Imports point down only"),
        ("store/planted.py", "import qnb.kernel", "Imports point down only"),
        ("unplaced/__init__.py", "", "Imports point down only"),
        ("core/planted.py", "import time", "The core does no IO"),
        ("core/planted.py", "from pathlib import Path", "The core does no IO"),
        ("store/planted.py", "import IPython", "The store knows neither"),
        ("store/planted.py", "import sqlite3", "Only store.log speaks SQL"),
        ("kernel/planted.py", "from qiskit import QuantumCircuit", "Only kernel.intercept"),
        ("cli/planted.py", "import qiskit_aer", "Only kernel.intercept"),
        ("kernel/planted.py", "from cryptography import fernet", "Only the core touches"),
        ("server/planted.py", "from cryptography import fernet", "Only the core touches"),
        ("server/planted.py", "import qnb.kernel", "The server opens"),
        ("server/planted.py", "import qnb.cli", "Imports point down only"),
        ("store/planted.py", "import jupyter_server", "Only the server extension"),
    ],
)
def test_planted_import_breaks_its_contract(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """The contracts see what they forbid: a check that cannot fail would say nothing."""
    package = tmp_path / "qnb"
    for folder in ("", "cli", "kernel", "server", "store", "core"):
        (package / folder).mkdir()
        (package / folder / "__init__.py").write_text("")
    for name in ("errors", "model"):
        (package / f"{name}.py").write_text("")
    (package / module).parent.mkdir(exist_ok=True)
    (package / module).write_text(f"{line}\n")
    done = lint_imports(ROOT / "pyproject.toml", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(text.startswith(contract) and text.endswith("BROKEN") for text in done.stdout.splitlines()), done.stdout
