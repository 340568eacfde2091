from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

# Made in the kernel, so that the source, which is not sealed, does not hold it.
CANARY = "canary-" + "7e57" * 4
CLASSIFIED = """\
%%qsecure restricted//ip --purpose "browser test"
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
bell = QuantumCircuit(2)
bell.h(0)
bell.cx(0, 1)
bell.measure_all()
print("canary-" + "7e57" * 4, AerSimulator().run(bell, shots=100).result().get_counts())"""
CELLS = ["%load_ext qnb", CLASSIFIED, 'print("canary-" + "7e57" * 4)', 'raise ValueError("canary-" + "7e57" * 4)']


def test_classified_cells_run_in_lab_show_cards_and_save_only_ciphertext(
    lab: Any, open_notebook: Callable[..., Page], screenshot: Callable[[Page, str], Path]
) -> None:
    """In a fresh account each output from the first classified cell on is a card, and no file holds the canary."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = v4.new_notebook(cells=[v4.new_code_cell(s) for s in CELLS], metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.root / "session.ipynb")
    page = open_notebook("session.ipynb")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cards = page.locator(".qnb-sealed")
    expect(cards).to_have_count(3, timeout=60_000)
    expect(cards.nth(0).locator(".qnb-sealed-label")).to_have_text("restricted//ip")
    expect(cards.nth(1).locator(".qnb-sealed-label")).to_have_text("restricted//ip")
    expect(cards.nth(2)).to_contain_text("cell failed")
    for card in cards.all():
        expect(card).to_contain_text("Entry")
    expect(page.locator(".jp-Notebook")).not_to_contain_text(CANARY)
    screenshot(page, "guarded-session")
    page.keyboard.press("Control+s")
    saved = lab.root / "session.ipynb"
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    assert "application/vnd.qnb.sealed+json" in saved.read_text()
    written = [file for file in lab.root.parent.rglob("*") if file.is_file()]
    assert saved in written
    assert [file for file in written if CANARY.encode() in file.read_bytes()] == []
