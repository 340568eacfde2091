from __future__ import annotations

import subprocess
import sys

import qnb

# The surface of DESIGN: names appear here as they come, and stay.
PLANNED = {
    "activity",
    "declassify",
    "flow",
    "label",
    "label_of",
    "load_circuit",
    "load_ipython_extension",
    "posture",
    "seal",
    "session",
    "unseal",
}


def test_public_names_are_a_dozen_at_most_and_planned() -> None:
    """Who reads `help(qnb)` reads it whole."""
    assert len(qnb.__all__) <= 12
    assert set(qnb.__all__) <= PLANNED
    for name in qnb.__all__:
        assert getattr(qnb, name).__doc__, name


def test_importing_the_package_loads_no_sdk_and_no_notebook() -> None:
    """`import qnb` costs nothing: what is slow is imported where it is used."""
    heavy = "{'qiskit', 'qiskit_aer', 'IPython', 'numpy', 'cryptography', 'cedarpy', 'sqlite3'}"
    code = f"import sys, qnb, qnb.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
