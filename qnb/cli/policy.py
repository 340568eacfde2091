"""`qnb policy`: the policy in force, its validation, and why a request is decided so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qnb.core.policy import Policy
from qnb.core.policy_file import UNKNOWN_ZONE
from qnb.errors import ConfigError
from qnb.model import Action, Backend, Decision, Request
from qnb.store.config import home, load_policy, load_policy_folder, principal

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_WITH_BACKEND = (Action.EXECUTE, Action.RETRIEVE)


@click.group()
def policy() -> None:
    """Show, check and explain the policy.

    Example: qnb policy explain --level restricted --backend ibm_fez --shots 1000
    """


@policy.command()
@_JSON
def show(*, as_json: bool) -> None:
    """Show the policy in force: levels, zones, backends, roles, recipients, rules.

    Example: qnb policy show
    """
    where, loaded = _where(), load_policy(home())
    if as_json:
        click.echo(json.dumps({"folder": where, **_describe(loaded)}))
        return
    console = Console(highlight=False, markup=False)
    console.print(f"policy {where or 'the default of the package'}", soft_wrap=True)
    console.print(f"digest {loaded.digest}", soft_wrap=True)
    for table in _tables(loaded):
        console.print()
        console.print(table)


@policy.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_JSON
def check(folder: Path | None, *, as_json: bool) -> None:
    """Read a policy folder strictly and try each action once. FOLDER defaults to the policy in force.

    Exit code 0 when it holds, 2 when it does not; the message names the file and the place.

    Example: qnb policy check ./team-policy
    """
    loaded = load_policy(home()) if folder is None else load_policy_folder(folder)
    where = _where() if folder is None else str(folder)
    if as_json:
        click.echo(json.dumps({"valid": True, "folder": where, "digest": loaded.digest, "rules": len(loaded.rules)}))
    else:
        click.echo(f"valid: {where or 'the default of the package'}, {len(loaded.rules)} rules, digest {loaded.digest}")


@policy.command()
@click.option("--level", "label", required=True, metavar="LABEL", help="A level or label: restricted//phi.")
@click.option("--action", type=click.Choice([action.value for action in Action]), default="execute", show_default=True)
@click.option("--backend", metavar="NAME", help="A backend's name; needed for execute and retrieve.")
@click.option("--shots", type=click.IntRange(min=1))
@click.option("--qubits", type=click.IntRange(min=0))
@click.option("--circuits", type=click.IntRange(min=1))
@click.option("--purpose", metavar="TEXT", help="As `%%qsecure --purpose` would give it.")
@click.option("--private", is_flag=True, help="As a private job.")
@click.option("--to", "recipients", multiple=True, metavar="RECIPIENT", help="seal, share: a group or recipient.")
@click.option("--target", metavar="LABEL", help="declassify: the label asked for.")
@click.option("--reason", metavar="TEXT", help="declassify: why.")
@click.option("--format", "file_format", type=click.Choice(["qpy", "qasm2", "qasm3"]), help="load: the file's format.")
@_JSON
def explain(
    *,
    label: str,
    action: str,
    backend: str | None,
    target: str | None,
    file_format: str | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Say how a request would be decided, by which rule, and what would be allowed instead. Nothing runs.

    Exit code 0 when it would be allowed, 1 when denied.

    Example: qnb policy explain --level restricted --backend ibm_fez --shots 1000
    """
    loaded = load_policy(home())
    act = Action(action)
    if act in _WITH_BACKEND and backend is None:
        raise ConfigError("backend-missing", f"{action} needs `--backend NAME`", "`qnb policy show` lists the zones")
    if act is Action.DECLASSIFY and target is None:
        raise ConfigError("target-missing", "declassify needs `--target LABEL`", "the label to lower to")
    request = Request(
        act,
        principal(),
        loaded.scheme.parse(label),
        backend=None if backend is None else Backend(backend),
        target=None if target is None else loaded.scheme.parse(target),
        format=file_format,
        **asked,
    )
    decision = loaded.decide(request)
    if as_json:
        click.echo(json.dumps(_decision_json(decision)))
    else:
        _render_decision(decision, backend)
    if not decision.allow:
        raise SystemExit(1)


def _where() -> str | None:
    folder = home() / "policy"
    return str(folder) if folder.exists() else None


def _decision_json(decision: Decision) -> dict[str, object]:
    return {
        "decision": "allow" if decision.allow else "deny",
        "action": decision.action.value,
        "label": str(decision.label),
        "zone": decision.zone,
        "backend": decision.backend,
        "reasons": [{"policy": r.policy, "text": r.text, "hint": r.hint} for r in decision.reasons],
        "alternatives": list(decision.alternatives),
        "grant": decision.grant,
        "policy_digest": decision.policy_digest,
    }


def _render_decision(decision: Decision, backend: str | None) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    at = f" on {backend} (zone {decision.zone})" if backend is not None and decision.zone is not None else ""
    console.print(
        "allowed" if decision.allow else "denied", style="bold green" if decision.allow else "bold red", end=""
    )
    console.print(f"  {decision.action.value} at {decision.label}{at}")
    for reason in decision.reasons:
        console.print(f"  {reason.policy}: {reason.text}")
        if reason.hint is not None:
            console.print(f"    hint: {reason.hint}", style="dim")
    if decision.alternatives:
        console.print("allowed instead")
        for line in decision.alternatives:
            console.print(f"  {line}")
    if decision.zone == UNKNOWN_ZONE:
        console.print("  no row of the policy lists that name; when it runs, the backend's class decides", style="dim")


def _describe(loaded: Policy) -> dict[str, object]:
    data = loaded.data
    return {
        "digest": loaded.digest,
        "levels": [
            {
                "level": handling.level,
                "seal": handling.seal,
                "recipients": list(handling.recipients),
                "zones": list(handling.zones),
                "requires": sorted(handling.requires),
                "flow": handling.flow,
                "raise": "refuse" if handling.declared else "allow",
                "retention_days": handling.retention_days,
                "grant": handling.grant,
            }
            for handling in data.handling.values()
        ],
        "session": str(loaded.scheme.session),
        "cell": str(loaded.scheme.cell),
        "categories": dict(loaded.scheme.categories),
        "zones": {
            z.name: {
                "description": z.description,
                "external": z.external,
                "names": "neutral" if z.hides_names else "as-given",
            }
            for z in data.zones.values()
        },
        "backends": [
            {"about": row.about, "class": row.cls, "names": list(row.names), "zone": row.zone} for row in data.backends
        ],
        "roles": {role: list(members) for role, members in data.roles.items()},
        "yours": list(loaded.roles_of(principal())),
        "recipients": dict(data.recipients),
        "groups": {group: list(members) for group, members in data.groups.items()},
        "rules": [
            {"id": rule.id, "effect": "permit" if rule.permit else "forbid", "reason": rule.reason, "hint": rule.hint}
            for rule in loaded.rules
        ],
    }


def _tables(loaded: Policy) -> list[Table]:
    data = loaded.data
    levels = _table(
        "Levels, lowest first", "level", "sealed for", "zones", "asks for, outside", "flow", "days", "grant"
    )
    for handling in data.handling.values():
        levels.add_row(
            handling.level,
            ", ".join(handling.recipients) if handling.seal else "not sealed",
            ", ".join(handling.zones),
            ", ".join(sorted(handling.requires)) or "-",
            handling.flow,
            str(handling.retention_days or "-"),
            str(handling.grant),
        )
    categories = _table("Categories", "category", "meaning")
    for name, meaning in loaded.scheme.categories.items():
        categories.add_row(name, meaning)
    zones = _table("Zones", "zone", "what", "backends")
    for zone in data.zones.values():
        abouts = dict.fromkeys(row.about for row in data.backends if row.zone == zone.name)
        marks = [word for word, said in (("external", zone.external), ("names are hidden", zone.hides_names)) if said]
        what = f"{zone.description} ({', '.join(marks)})" if marks else zone.description
        zones.add_row(zone.name, what, ", ".join(abouts) or "-")
    own = loaded.roles_of(principal())
    roles = _table("Roles", "role", "accounts", "you")
    for role, members in data.roles.items():
        roles.add_row(role, ", ".join(members) or "-", "yes" if role in own else "")
    recipients = _table("Recipients and groups", "name", "is")
    for group, members in data.groups.items():
        recipients.add_row(group, ", ".join(_shorten(member) for member in members) or "nobody yet")
    for name, text in data.recipients.items():
        recipients.add_row(name, _shorten(text))
    rules = _table("Rules", "id", "effect", "says")
    for rule in loaded.rules:
        rules.add_row(rule.id, "permit" if rule.permit else "forbid", rule.reason)
    return [levels, categories, zones, roles, recipients, rules]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, header_style="dim")
    return table


def _shorten(text: str) -> str:
    return f"{text[:20]}…" if text.startswith("age1") else text
