from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from qnb.core.card import render_html, render_text

BUNDLE = {
    "label": "restricted//phi",
    "state": "failed",
    "recipients": ["0123456789abcdef", "fedcba9876543210"],
    "entry": {"origin": "qnb.test/log", "index": 41},
    "age": "U0VDUkVU",
    "digest": "sha256:00",
}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def _parse(html: str) -> _Tags:
    parser = _Tags()
    parser.feed(html)
    return parser


def test_card_says_label_state_recipients_entry_and_way_in() -> None:
    """Both cards tell what a reader needs, and nothing of the ciphertext."""
    for text in (render_text(BUNDLE), _parse(render_html(BUNDLE)).text):
        for part in ("restricted//phi", "cell failed", "0123456789abcdef", "fedcba9876543210", "41", "qnb.test/log"):
            assert part in text
        assert "qnb unseal FILE" in text
        assert "U0VDUkVU" not in text


def test_card_of_running_cell_says_so() -> None:
    """A live update is told from a final output."""
    running = {**BUNDLE, "state": "running", "entry": None}
    assert "cell is running" in render_text(running)
    assert "entry" not in render_text(running)


def test_many_recipients_are_counted() -> None:
    """A card stays a card with a hundred recipients."""
    text = render_text({**BUNDLE, "recipients": ["0" * 16] * 100})
    assert "and 96 more" in text


@pytest.mark.parametrize("field", ["label", "state", "recipients", "entry"])
def test_hostile_field_is_escaped(field: str) -> None:
    """No value becomes markup, an attribute or a terminal's command."""
    evil = '"><script>alert(1)</script>\x1b[2J\n'
    value: object = {"recipients": [evil], "entry": {"origin": evil, "index": evil}}.get(field, evil)
    html = _parse(render_html({**BUNDLE, field: value}))
    assert set(html.tags) <= {"div", "p", "span", "strong", "em", "code", "br"}
    assert html.attributes == {"style"}
    text = render_text({**BUNDLE, field: value})
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(render_text(BUNDLE).splitlines())


@pytest.mark.parametrize("bundle", [{}, {"label": None, "recipients": 3, "entry": [], "state": []}])
def test_incomplete_bundle_still_gives_a_card(bundle: dict[str, object]) -> None:
    """The card never stands in the way of the output."""
    assert "Sealed output" in render_text(bundle)
    assert "Sealed output" in render_html(bundle)


def test_label_chips_are_readable() -> None:
    """White on each chip colour has the contrast of WCAG AA, 4.5:1."""
    for level in ("public", "internal", "confidential", "restricted", "made-up"):
        colour = re.search(r"background:#([0-9a-f]{6})", render_html({**BUNDLE, "label": level}))
        assert colour is not None
        channels = [int(colour[1][i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 4.5


def test_card_says_why_the_label_is_above_what_the_cell_declares() -> None:
    """One line, escaped and without control characters; none where there is nothing to say."""
    bundle = {**BUNDLE, "because": "restricted, because it reads `<df>`\n (cell 2)"}
    assert "because it reads `<df>`" in _parse(render_html(bundle)).text
    assert "<df>" not in render_html(bundle)
    assert (
        "restricted, because it reads `<df>`\N{REPLACEMENT CHARACTER} (cell 2)" in render_text(bundle).splitlines()[1]
    )
    assert "because" not in render_text(BUNDLE)
    assert "because" not in render_text({**BUNDLE, "because": 7})
