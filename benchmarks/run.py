"""Run the benchmarks and print one table. See README.md.

Enters: names of modules on the command line, all of them by default. Leaves: a table, or with `--json` the rows with
the machine and the versions they were measured on. Exit code 1 only if a benchmark broke.
"""

from __future__ import annotations

import ast
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rows import ROOT, Row, console, table

HERE = Path(__file__).resolve().parent
PACKAGES = ("qnb", "qiskit", "qiskit-aer", "cryptography", "cedarpy", "ipykernel")


def modules() -> list[str]:
    """Names of the modules here that have a `main()`, this one left out."""
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if path.stem != "run"
        and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
    )


def run(module: str) -> list[Row] | None:
    """The rows of one module, run in a fresh process; None if it broke (its stderr is then on the terminal)."""
    process = subprocess.run(
        [sys.executable, HERE / f"{module}.py", "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    try:
        return [Row(**row) for row in json.loads(process.stdout)] if process.returncode == 0 else None
    except (ValueError, TypeError):
        return None


def machine() -> dict[str, str | int | None]:
    """Where this was measured."""
    versions: dict[str, str | int | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), **versions}


def main() -> int:
    """Run what was asked for; the exit code."""
    as_json = "--json" in sys.argv
    asked = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    unknown = set(asked) - set(modules())
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(modules())}", file=sys.stderr)
        return 2
    terminal = console(stderr=as_json)
    rows: list[Row] = []
    broken: list[str] = []
    for module in asked or modules():
        with terminal.status(module):
            result = run(module)
        if result is None:
            broken.append(module)
        rows += result or []
    if as_json:
        print(json.dumps({"machine": machine(), "rows": [row.as_json() for row in rows], "broken": broken}))
    else:
        terminal.print(table(rows))
        terminal.print(", ".join(f"{name} {value}" for name, value in machine().items()), style="dim", highlight=False)
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
