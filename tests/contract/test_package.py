from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import qnb

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LABEXTENSION = json.loads((ROOT / "labextension" / "package.json").read_text())

# Required without an import, since they are served or patched where they are found: docs/adr/0006-one-install.md.
HOSTS = {"ipykernel", "ipywidgets", "jupyterlab", "qiskit_aer"}

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def tracked(*patterns: str) -> list[Path]:
    """The files that Git knows; without a checkout (an unpacked sdist) the test has nothing to say."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git checkout")
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def imports_of(folder: Path) -> set[str]:
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_version_is_the_same_everywhere() -> None:
    """pyproject.toml takes it from qnb/__init__.py; package.json has to be kept equal by hand."""
    assert "version" in PROJECT["dynamic"]
    assert LABEXTENSION["version"] == qnb.__version__


def test_every_dependency_is_imported_by_the_package() -> None:
    """Nobody installs what nothing uses."""
    names = {re.match(r"[\w-]+", line).group().replace("-", "_").lower() for line in PROJECT["dependencies"]}
    imported = {name.lower() for name in imports_of(ROOT / "qnb")}
    assert names - imported - HOSTS == set()


def test_yarn_lock_names_no_registry() -> None:
    """Anybody's registry serves the same packages: the checksums are what counts."""
    lock = (ROOT / "labextension" / "yarn.lock").read_text()
    assert not re.search(r"__archiveUrl|https?://", lock)
    assert "checksum:" in lock


def test_no_tracked_file_names_a_path_of_somebodys_machine() -> None:
    """What was true on one machine only is of no use in a repository."""
    pattern = re.compile(rb"(?<![\w.])/(?:work|root|Users)/\w")
    found = {str(file.relative_to(ROOT)) for file in tracked() if pattern.search(file.read_bytes())}
    assert found == set()


def test_no_module_grows_past_what_one_reads_at_once() -> None:
    """About 400 lines: a module past them is two."""
    modules = [*tracked("qnb/*.py"), *tracked("labextension/src/*.ts", "labextension/src/*.tsx")]
    assert {file.name: n for file in modules if (n := len(file.read_text().splitlines())) > 420} == {}


def test_every_test_says_its_promise_in_one_sentence() -> None:
    """`test_<situation>_<outcome>` and a docstring: who reads the list of tests reads what holds."""
    silent = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                sentence = ast.get_docstring(node)
                if sentence is None or not sentence.endswith((".", "!", "?")) or node.name.count("_") < 2:
                    silent.add(f"{file.relative_to(ROOT)}::{node.name}")
    assert silent == set()


def test_decision_records_are_numbered_without_gap() -> None:
    """One number, one record."""
    records = sorted(file.name for file in (ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))


def test_every_page_is_listed_in_the_index() -> None:
    """A page that is not listed is not read."""
    docs = ROOT / "docs"
    listed = {(docs / link).resolve() for link in LINK.findall((docs / "index.md").read_text())}
    assert {page.name for page in docs.rglob("*.md") if page.name != "index.md" and page not in listed} == set()


def test_relative_links_lead_somewhere() -> None:
    """A link to a file of this repository finds that file."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = {(p.name, link) for p in pages for link in LINK.findall(p.read_text()) if not (p.parent / link).exists()}
    assert broken == set()


def test_make_targets_that_documents_name_exist() -> None:
    """`make …` in a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"`make ([a-z-]+)", document.read_text()))
        assert named <= targets, document
