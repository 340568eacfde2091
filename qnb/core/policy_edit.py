"""Changing who `qnb.toml` names, with its comments, order and spacing kept.

Enters: the bytes of `qnb.toml`, names, recipient strings. Leaves: new bytes. What they mean is for `parse_policy`,
which has to accept the whole before it takes the old one's place.
Never: touches anything but `[recipients]`, `[groups]`, `[datasets]`, and a level's `recipients` from which a name goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from qnb.core.labels import suggest
from qnb.core.policy_file import FILE
from qnb.errors import ConfigError, PolicyError

_HEADER = re.compile(r"^\[recipients\][ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
_DATASETS = (
    "Keys of datasets (`qnb keys add NAME --dataset`): recipients whose identity is in keys/NAME.age, for these."
)


def add_recipient(toml: bytes, name: str, recipient: str, groups: Iterable[str] = ()) -> bytes:
    """Name a recipient, and put it into groups.

    Raises:
        ConfigError: the name is taken, or there is no such group.
    """

    def change(document: Any) -> None:
        recipients, known = document["recipients"], document["groups"]
        if name in recipients or name in known:
            raise ConfigError(
                "name-taken", f"the policy names `{name}` already", "take another name, or remove that one first"
            )
        for group in groups:
            if group not in known:
                near = suggest(group, list(known))
                hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known) or 'none'}"
                raise ConfigError("unknown-group", f"the policy has no group `{group[:64]}`", hint)
            known[group].append(name)

    text = _changed(toml, change).decode("utf-8")
    # right below the header: at the end of the table it would stand under a comment that speaks of the next one
    headers = list(_HEADER.finditer(text))
    if len(headers) != 1:
        raise _not_editable()
    at = headers[0].end()
    return f"{text[:at]}{tomlkit.key(name).as_string()} = {json.dumps(recipient)}\n{text[at:]}".encode()


def add_dataset(toml: bytes, name: str, recipient: str, members: Iterable[str]) -> bytes:
    """Name the key of a dataset and those who open with it.

    Raises:
        ConfigError: the name is taken.
    """

    def change(document: Any) -> None:
        if "datasets" not in document:
            document.add(tomlkit.nl())
            document.add(tomlkit.comment(_DATASETS))
            document["datasets"] = tomlkit.table()
        document["datasets"][name] = list(members)

    return _changed(add_recipient(toml, name, recipient), change)


def replace_recipient(toml: bytes, old: str, new: str) -> bytes:
    """Put one recipient string in the place of another, wherever it stands."""

    def change(document: Any) -> None:
        recipients = document["recipients"]
        for name, text in recipients.items():
            if text == old:
                recipients[name] = new
        for members in document["groups"].values():
            for index, member in enumerate(members):
                if member == old:
                    members[index] = new

    return _changed(toml, change)


def remove_recipient(toml: bytes, name: str) -> bytes:
    """Take a name, or a recipient string that stands in a group, out of everything that names it.

    Raises:
        ConfigError: the policy does not name it.
    """

    def change(document: Any) -> None:
        recipients = document["recipients"]
        lists = [document["groups"], document.get("datasets", {})]
        found = recipients.pop(name, None) is not None
        lists[1].pop(name, None)
        rows: list[tuple[MutableMapping[str, Any], str]] = [(table, key) for table in lists for key in table]
        rows += [(level, "recipients") for level in document["levels"].values()]
        for table, key in rows:
            while name in table[key]:
                table[key].remove(name)
                found = True
        if not found:
            near = suggest(name, list(recipients))
            raise ConfigError(
                "unknown-recipient",
                f"the policy names no recipient `{name[:64]}`",
                f"did you mean `{near}`?" if near else "`qnb keys show` lists them",
            )

    return _changed(toml, change)


def _changed(toml: bytes, change: Callable[[Any], None]) -> bytes:
    try:
        document = tomlkit.parse(toml.decode("utf-8"))
        change(document)
        return tomlkit.dumps(document).encode("utf-8")
    except (TOMLKitError, UnicodeDecodeError, KeyError, AttributeError, TypeError):
        # a policy that is in force has been parsed already, so this is a spelling that only the other reader takes
        raise _not_editable() from None


def _not_editable() -> PolicyError:
    return PolicyError(
        "policy-not-editable", f"{FILE}: cannot be changed by a program", "change it by hand, `qnb policy check` it"
    )
