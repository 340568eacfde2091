"""What `%qnb` says and does: status, labels, and the acts that change a label.

Enters: the line behind `%qnb`. Leaves: a MIME bundle to show in clear, made of labels, names and numbers.
Never: a value; plaintext is opened by the card or the command line, never printed into an output.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from qnb.core.flow.marks import explain_name
from qnb.core.labels import suggest
from qnb.errors import ConfigError, LabelError
from qnb.kernel.lowering import clear_kernel
from qnb.kernel.session import Session

_UNSEAL = (
    "plaintext is never printed into an output: open the card in JupyterLab, or run `qnb unseal FILE` in a terminal"
)
_USAGE = {
    "status": "%qnb status",
    "labels": "%qnb labels",
    "why": "%qnb why NAME",
    "label": "%qnb label NAME LABEL",
    "declassify": '%qnb declassify NAME LABEL "REASON"',
    "release": '%qnb release "REASON"',
    "unseal": "%qnb unseal",
}


class Commands:
    """The subcommands of one shell.

    Args:
        shell: whose variables are named.
        session: knows their labels.
    """

    def __init__(self, shell: Any, session: Session) -> None:
        self._shell = shell
        self._session = session
        self._commands: dict[str, tuple[int, Callable[..., str]]] = {
            "status": (0, self._status),
            "labels": (0, self._labels),
            "why": (1, self._why),
            "label": (2, self._label),
            "declassify": (3, self._declassify),
            "release": (1, self._release),
            "unseal": (0, lambda: _UNSEAL),
        }

    def run(self, line: str) -> dict[str, Any]:
        """Run one line.

        Raises:
            ConfigError: no such subcommand, or its arguments are not right.
            QnbError: what the subcommand raises.
        """
        try:
            words = shlex.split(line)
        except ValueError:
            words = [line]
        if not words or words[0] not in self._commands:
            known = ", ".join(f"`{usage}`" for usage in _USAGE.values())
            raise ConfigError("unknown-subcommand", "`%qnb` needs one of its subcommands", f"there are: {known}")
        count, command = self._commands[words[0]]
        if words[0] == "declassify" and len(words) > 2 and words[-2:-1] == ["--reason"]:
            words.pop(-2)
        if len(words) - 1 != count:
            raise ConfigError(
                "bad-arguments", f"`%qnb {words[0]}` takes {count or 'no'} arguments", f"usage: `{_USAGE[words[0]]}`"
            )
        return {"text/plain": command(*words[1:])}

    def _status(self) -> str:
        facts = self._session.status()
        width = max(len(name) for name in facts)
        return "\n".join(f"{name.replace('_', ' '):<{width}}  {_spell(value)}" for name, value in facts.items())

    def _labels(self) -> str:
        return str(self._session.labels.view())

    def _why(self, name: str) -> str:
        found = self._session.labels.view().marks.get(self._known(name))
        return f"`{name}` carries no label" if found is None else explain_name(name, found)

    def _label(self, name: str, label: str) -> str:
        self._session.labels.label_name(self._known(name), label)
        return f"`{name}` is {label} from here on"

    def _declassify(self, name: str, label: str, reason: str) -> str:
        from qnb.kernel.release import release

        self._session.labels.uses(self._known(name))
        release(self._shell, self._session, self._shell.user_ns[name], label, reason, name)
        return f"`{name}` is {label} from here on"

    def _release(self, reason: str) -> str:
        before, decision = clear_kernel(self._session, reason)
        after = self._session.authority.policy.scheme.session
        return (
            f"the kernel's label is {after} again, from the next cell on; it was {before}. recorded as entry"
            f" {decision.entry}. labelled variables keep their labels: `%qnb labels`"
        )

    def _known(self, name: str) -> str:
        if name not in self._shell.user_ns:
            near = suggest(name, [each for each in self._shell.user_ns if not each.startswith("_")])
            raise LabelError("unknown-name", "there is no such variable", f"did you mean `{near}`?" if near else None)
        return name


def _spell(value: object) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
