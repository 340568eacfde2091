from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4
from playwright.sync_api import Page, expect

from qnb.core.card import render_html, render_text
from qnb.core.seal import generate_identity, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.model import Receipt

pytestmark = pytest.mark.browser

CANARY = "canary-5b1f"
CELLS = [
    # label, state, index of the entry, recipients
    ("confidential", "ok", 12, 1),
    ("restricted//ip,phi", "failed", 17, 2),
    ("internal", "running", None, 1),
    ("restricted", "interrupted", 23, 6),
    ("acme-secret", "ok", 104729, 1),
]


def make_bundle(label: str, state: str, index: int | None, recipients: int) -> dict[str, Any]:
    identities = [generate_identity() for _ in range(recipients)]
    header = OutputHeader(1, "f" * 32, 1, state, None, label, None, None, None)
    output = {"output_type": "stream", "name": "stdout", "text": CANARY}
    ciphertext = seal(pack_output(header, [output]), [i.recipient for i in identities])
    receipt = None if index is None else Receipt("qnb/laptop-of-ada", index, b"\0" * 32, (), "checkpoint\n")
    return sealed_bundle(header, ciphertext, [i.recipient for i in identities], receipt)


def save_notebook(path: Path, bundles: list[Any]) -> None:
    cells = []
    for bundle in bundles:
        cell = v4.new_code_cell("%%qsecure\ncounts", execution_count=1)
        data = {MIME: bundle}
        if isinstance(bundle, dict) and "age" in bundle:
            data |= {"text/html": render_html(bundle), "text/plain": render_text(bundle)}
        cell.outputs = [v4.new_output("display_data", data)]
        cells.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_notebook_with_sealed_outputs_shows_a_card_for_each(
    lab: Any, open_notebook: Callable[..., Page], screenshot: Callable[[Page, str], Path], theme: str
) -> None:
    """Each card says label, state, who can open it and where its entry is; it goes before the HTML beside it."""
    bundles = [make_bundle(*cell) for cell in CELLS]
    save_notebook(lab.root / "sealed.ipynb", bundles)
    page = open_notebook("sealed.ipynb", theme=theme)
    cards = page.locator(".qnb-sealed")
    expect(cards).to_have_count(len(CELLS))
    for card, bundle in zip(cards.all(), bundles, strict=True):
        expect(card.locator(".qnb-sealed-label")).to_have_text(bundle["label"])
        expect(card).to_contain_text(bundle["recipients"][0])
    expect(cards.nth(0)).to_contain_text("Entry 12 in qnb/laptop-of-ada")
    expect(cards.nth(1)).to_contain_text("cell failed")
    expect(cards.nth(2)).to_contain_text("No entry in the log yet")
    expect(cards.nth(3)).to_contain_text("and 2 more")
    expect(cards.nth(3).locator("code")).to_have_count(5)
    expect(page.get_by_role("group", name="Sealed output, restricted//ip,phi, cell failed")).to_be_visible()
    expect(page.locator(".jp-RenderedHTML")).to_have_count(0)
    screenshot(page, f"sealed-cards-{theme.rsplit(' ', 1)[1].lower()}")


def test_sealed_output_of_wrong_form_shows_what_is_wrong_and_no_markup(
    lab: Any, open_notebook: Callable[..., Page], screenshot: Callable[[Page, str], Path]
) -> None:
    """A notebook anybody may have written cannot make the card run script or pass for a sealed output."""
    hostile = {**make_bundle("internal", "ok", 1, 1), "label": "<img src=x onerror=\"document.title='owned'\">"}
    save_notebook(lab.root / "hostile.ipynb", [{"version": 1, "label": "restricted"}, hostile])
    page = open_notebook("hostile.ipynb")
    cards = page.locator(".qnb-sealed")
    expect(cards.nth(0)).to_contain_text("Sealed output that cannot be read")
    expect(cards.nth(0)).to_contain_text("field state")
    expect(cards.nth(1).locator(".qnb-sealed-label")).to_have_text(hostile["label"])
    expect(cards.nth(1).locator("img")).to_have_count(0)
    assert "owned" not in page.title()
    screenshot(page, "sealed-cards-hostile")
