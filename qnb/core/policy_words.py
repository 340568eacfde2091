"""What a decision says, in words that a researcher understands.

Enters: a request as the policy sees it. Leaves: facts for the placeholders of rules, and the reasons that no rule gives
(a default deny, nobody to seal for). Never: a name that the policy does not list, a purpose, a reason given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qnb.core.policy_rules import NOT_NAMED
from qnb.model import Action, Reason, Request

_VERBS = {
    Action.EXECUTE: "run circuits",
    Action.RETRIEVE: "fetch results",
    Action.SEAL: "seal",
    Action.UNSEAL: "open what is sealed",
    Action.SHARE: "share",
    Action.DECLASSIFY: "lower a label",
    Action.LOAD: "load circuits",
}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where an execution would go. `name` only if the policy lists it; `about`: words of its row, None if unlisted."""

    zone: str
    name: str | None = None
    about: str | None = None

    def __str__(self) -> str:
        if self.about is None:
            return "a backend that the policy does not list"
        return f"`{self.name}`" if self.name else f"this backend ({self.about})"


def gather_facts(
    request: Request, place: Place | None, zones: Iterable[str], roles: Iterable[str], recipient: str
) -> dict[str, str]:
    """The value of each placeholder; `zones` are those that the level may run in."""
    return {
        "action": _VERBS[request.action],
        "label": str(request.label),
        "level": request.label.level,
        "zone": place.zone if place else "",
        "zones": quote_names(zones),
        "backend": str(place) if place else "",
        "roles": quote_names(roles),
        "target": str(request.target or ""),
        "recipient": "a recipient given" if recipient == NOT_NAMED else f"`{recipient[:24]}`",
    }


def quote_names(names: Iterable[str]) -> str:
    """Names in backticks, `none` if there are none."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def shorten_list(words: list[str]) -> str:
    """The first few, and how many more."""
    shown = ", ".join(words[:_SHOWN])
    return shown if len(words) <= _SHOWN else f"{shown} and {len(words) - _SHOWN} more"


def explain_nobody(names: Iterable[str]) -> Reason:
    """Why nothing can be sealed when the groups asked for have no recipients."""
    return Reason(
        "no-recipient",
        f"there is nobody to seal for; groups asked for: {quote_names(names)}",
        "run `qnb init`, or have a data owner name recipients in qnb.toml",
    )


def explain_default(facts: dict[str, str]) -> Reason:
    """A default deny: no rule matched, and what no rule allows is denied."""
    return Reason(
        "default-deny",
        f"no rule of the policy lets this account {facts['action']} at `{facts['level']}`; its roles: {facts['roles']}",
        "roles are in qnb.toml, rules in policy.cedar; `qnb policy show` lists both",
    )
