"""What the pages of the log share: words for JSON values, colours for statuses, and text that cannot drive a terminal.

Enters: values out of entries. Leaves: text. Never: a control character.
"""

from __future__ import annotations

STYLES = {"denied": "red", "failed": "red", "open": "yellow", "cancelled": "yellow", "ok": "green"}


def words(value: object) -> str:
    """A JSON value as one would say it: digests by algorithm and start, nothing as a dash."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in ("sha256", "hmac-sha256"):
            ((algorithm, digest),) = value.items()
            return f"{algorithm} {str(digest)[:16]}…"
        return ", ".join(f"{name} {words(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list):
        return "; ".join(words(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def clean(value: object) -> str:
    """Nothing that stands in a log may drive a terminal."""
    return "" if value is None else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
