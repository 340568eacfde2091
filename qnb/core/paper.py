"""A backup of an identity on paper: what to print, and how to come back from it.

Enters: an identity. Leaves: a page as SVG or as text, with the identity as a QR code and in letters.
Never: leaves anything but the page, which is a secret as the identity is.
Spec: ISO/IEC 18004 (QR code), alphanumeric mode: an identity is made of its characters.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

import segno

from qnb.core.seal import Identity

_BACK = (
    "Whoever holds this page can open what is sealed for this identity. Keep it in a safe, not in a printer's queue.",
    "To use it: put the two lines from AGE-SECRET-KEY on, joined, into a file of mode 0600: `qnb unseal FILE -i THAT`.",
)
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}  # dark is ink
_WIDTH, _MARGIN, _CODE, _LINE = 760, 40, 360, 22


def render_paper_text(identity: Identity, created: str) -> str:
    """A page of text, the code in block characters, for a printer that has a fixed font.

    Args:
        identity: what is backed up.
        created: when, for people.
    """
    rows = [list(row) for row in _code(identity).matrix_iter(border=4)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    code = [
        "".join(_BLOCKS[bool(a), bool(b)] for a, b in zip(rows[i], rows[i + 1], strict=True))
        for i in range(0, len(rows), 2)
    ]
    return "\n".join([*_head(identity, created), "", *code, "", *_halves(identity), "", *_BACK, ""])


def render_paper_svg(identity: Identity, created: str) -> str:
    """A page of SVG; arguments as `render_paper_text`."""
    code = _code(identity)
    size = code.symbol_size(border=4)[0]
    path = "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(code.matrix_iter(border=4)) for x, dark in enumerate(row) if dark
    )
    top = _MARGIN + _LINE * 4
    lines = [(_MARGIN + _LINE * (i + 1), text, "") for i, text in enumerate(_head(identity, created))]
    below = top + _CODE + _LINE
    lines += [(below + _LINE * i, text, ' font-family="monospace"') for i, text in enumerate(_halves(identity))]
    lines += [(below + _LINE * (3 + i), text, ' font-size="12"') for i, text in enumerate(_BACK)]
    height = below + _LINE * 5
    texts = "".join(f'<text x="{_MARGIN}" y="{y}"{more}>{escape(text)}</text>\n' for y, text, more in lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="15">\n<rect width="100%" height="100%" fill="#fff"/>\n{texts}'
        f'<path transform="translate({_MARGIN} {top}) scale({_CODE / size:.6f})" d="{path}"/>\n</svg>\n'
    )


def _code(identity: Identity) -> segno.QRCode:
    return segno.make(identity.reveal(), error="q", micro=False)


def _head(identity: Identity, created: str) -> list[str]:
    return ["qnb identity (age v1): SECRET", f"recipient fingerprint {identity.recipient.fingerprint}", created]


def _halves(identity: Identity) -> list[str]:
    """The identity in lines that can be typed without losing one's place; they belong together without a space."""
    text = identity.reveal()
    return [text[:39], text[39:]]
