"""The page holds the identity in letters and as a code that reads the same."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import segno

from qnb.core.paper import render_paper_svg, render_paper_text
from qnb.core.seal import generate_identity

IDENTITY = generate_identity(lambda n: b"p" * n)
SECRET = IDENTITY.reveal()
CODE = [[bool(dark) for dark in row] for row in segno.make(SECRET, error="q", micro=False).matrix_iter(border=4)]


def test_code_of_the_text_is_that_of_the_identity() -> None:
    """Ink is dark, as a scanner of paper expects; half blocks hold two rows each."""
    page = render_paper_text(IDENTITY, "2026-11-25")
    lines = page.split("\n")[4:]
    rows = []
    for line in lines[: (len(CODE) + 1) // 2]:
        rows += [[c in "▀█" for c in line], [c in "▄█" for c in line]]
    assert rows[: len(CODE)] == CODE
    assert SECRET in page.replace("\n", "")


def test_code_of_the_picture_is_that_of_the_identity() -> None:
    """Well-formed, no script, no reference to anything elsewhere; each dark module one square."""
    page = render_paper_svg(IDENTITY, "2026-11-25")
    root = ET.fromstring(page)
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names == {"svg", "rect", "text", "path"}
    assert "href" not in page
    path = next(node for node in root.iter() if node.tag.endswith("path")).attrib["d"]
    dark = {(int(y), int(x)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)}
    assert dark == {(y, x) for y, row in enumerate(CODE) for x, on in enumerate(row) if on}
    texts = [node.text or "" for node in root.iter() if node.tag.endswith("text")]
    assert SECRET in "".join(texts)


def test_page_says_what_it_is_and_how_to_come_back() -> None:
    """Years later somebody finds it in a safe."""
    for page in (render_paper_text(IDENTITY, "2026-11-25"), render_paper_svg(IDENTITY, "2026-11-25")):
        for words in ("SECRET", IDENTITY.recipient.fingerprint, "2026-11-25", "qnb unseal"):
            assert words in page
