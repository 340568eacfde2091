"""The cards beside a sealed output: what every viewer without the extension shows.

Enters: the MIME value of a sealed output. Leaves: an HTML fragment and a plain text.
Never: says anything of the content. No script, no class, no external resource; every value is escaped; it reads well
where a viewer strips the styles (GitHub) and on light and dark grounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_STATES = {
    "running": ("Sealing output", "cell is running"),
    "ok": ("Sealed output", None),
    "failed": ("Sealed output", "cell failed"),
    "interrupted": ("Sealed output", "cell was interrupted"),
}
# white text on these has a contrast of at least 4.5:1; levels that a policy made up get the neutral one
_COLOURS = {"public": "#2e7d32", "internal": "#1565c0", "confidential": "#a84300", "restricted": "#b3261e"}
_NEUTRAL = "#5f6368"
_SHOWN = 4
_BOX = (
    "border:1px solid rgba(127,127,127,.4);border-left:4px solid {colour};border-radius:6px;padding:10px 14px;"
    "max-width:44em;font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px;line-height:1.55"
)
_CHIP = (
    "display:inline-block;background:{colour};color:#fff;border-radius:10px;padding:0 9px;margin:0 6px;"
    "font-size:12px;font-weight:600;white-space:nowrap"
)
_OPEN_WITH = "qnb unseal FILE"


def render_html(bundle: Mapping[str, Any]) -> str:
    """The `text/html` card."""
    title, state = _describe_state(bundle)
    label = str(bundle.get("label"))
    colour = _COLOURS.get(label.partition("//")[0], _NEUTRAL)
    head = f'<strong>{title}</strong> <span style="{_CHIP.format(colour=colour)}">{escape(label)}</span>'
    if state is not None:
        head += f" <em>{state}</em>"
    shown, more = _list_recipients(bundle)
    who = ", ".join(_render_code(fingerprint) for fingerprint in shown) + more
    lines = [escape(_because(bundle)), f"for {who}"] if _because(bundle) else [f"for {who}"]
    entry = bundle.get("entry")
    if isinstance(entry, Mapping):
        lines.append(f"entry {_render_code(str(entry.get('index')))} of {_render_code(str(entry.get('origin')))}")
    lines.append(f"open with {_render_code(_OPEN_WITH)}")
    body = "<br>".join(lines)
    return (
        f'<div style="{escape(_BOX.format(colour=colour))}"><p style="margin:0 0 2px">{head}</p>'
        f'<p style="margin:0;opacity:.85">{body}</p></div>'
    )


def render_text(bundle: Mapping[str, Any]) -> str:
    """The `text/plain` card, a few lines."""
    title, state = _describe_state(bundle)
    shown, more = _list_recipients(bundle)
    head = f"{title} [{_clean(str(bundle.get('label')))}]" + ("" if state is None else f" ({state})")
    lines = [line for line in (head, _because(bundle), f"for {', '.join(shown)}{more}") if line]
    entry = bundle.get("entry")
    if isinstance(entry, Mapping):
        lines.append(f"entry {_clean(str(entry.get('index')))} of {_clean(str(entry.get('origin')))}")
    return "\n  ".join([*lines, f"open with: {_OPEN_WITH}"])


def _describe_state(bundle: Mapping[str, Any]) -> tuple[str, str | None]:
    return _STATES.get(str(bundle.get("state")), ("Sealed output", None))


def _because(bundle: Mapping[str, Any]) -> str:
    """Why the label is above what the cell declares; empty when it is not."""
    because = bundle.get("because")
    return _clean(because) if isinstance(because, str) else ""


def _list_recipients(bundle: Mapping[str, Any]) -> tuple[list[str], str]:
    recipients = bundle.get("recipients")
    known = [_clean(str(r)) for r in recipients] if isinstance(recipients, (list, tuple)) else []
    if not known:
        return ["unknown recipients"], ""
    hidden = len(known) - _SHOWN
    return known[:_SHOWN], f" and {hidden} more" if hidden > 0 else ""


def _render_code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _clean(text: str) -> str:
    # a terminal obeys control characters, and a line break could forge a line of the card
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
