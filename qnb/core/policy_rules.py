"""The rules of a policy: Cedar, checked against its schema.

Enters: the bytes of `policy.cedar` and `policy.cedarschema`, and the data of `qnb.toml` as entities.
Leaves: `Rules`, which answer questions and name the rules that decided.
Never: an answer when a rule could not be evaluated. Cedar skips a rule that errs, so that a `forbid` which errs would
become an allow; here any error is a PolicyError, which is a denial for whoever asked. For the same reason a schema is
mandatory, every rule is validated against it, and every entity that a rule names must exist: `Role::"resercher"` would
otherwise be a rule that never matches.
Spec: https://docs.cedarpolicy.com/ (language 4), docs/reference/policy.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

from qnb.core.labels import suggest
from qnb.core.policy_file import REQUIREMENTS, PolicyFile
from qnb.errors import PolicyError

FILE = "policy.cedar"
SCHEMA_FILE = "policy.cedarschema"
PLACEHOLDERS = ("action", "label", "level", "zone", "zones", "backend", "roles", "target", "recipient")
_MAX_ERRORS = 3  # of the schema's that are named in one line
NOT_NAMED = "(not named)"  # a recipient that the policy does not name; a backend without a listed name

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# strings and line comments, so that a `;` in them ends no policy
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;|\n')


@dataclass(frozen=True, slots=True)
class Rule:
    """One Cedar policy: `@id`, `@reason`, `@hint`. `place` is its position in the file, from 0."""

    place: int
    id: str
    permit: bool
    reason: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What Cedar said: the rules that decided, in file order; none for a default deny."""

    allow: bool
    rules: tuple[Rule, ...]


def uid(kind: str, name: str) -> dict[str, str]:
    """A Cedar entity uid in its structured form, which takes any text as id."""
    return {"type": kind, "id": name}


def entity(kind: str, name: str, attrs: Mapping[str, object] | None = None, *parents: dict[str, str]) -> dict[str, Any]:
    """A Cedar entity in JSON form."""
    return {"uid": uid(kind, name), "attrs": dict(attrs or {}), "parents": list(parents)}


def reference(kind: str, name: str) -> dict[str, object]:
    """An entity as the value of an attribute."""
    return {"__entity": uid(kind, name)}


def fill(template: str, facts: Mapping[str, str]) -> str:
    """Put facts in the placeholders of an annotation; `facts` has one for each of PLACEHOLDERS."""
    return _PLACEHOLDER.sub(lambda match: facts[match[1]], template)


class Rules:
    """Parsed rules with the entities that do not change from request to request."""

    __slots__ = ("_base", "_policies", "_rules", "_schema")

    def __init__(
        self, policies: cedarpy.PolicySet, schema: cedarpy.Schema, base: cedarpy.Entities, rules: Mapping[str, Rule]
    ) -> None:
        self._policies = policies
        self._schema = schema
        self._base = base
        self._rules = rules

    @property
    def all(self) -> tuple[Rule, ...]:
        """Every rule, in file order."""
        return tuple(self._rules.values())

    def entities(self, *added: dict[str, Any]) -> cedarpy.Entities:
        """The fixed entities and the given ones, parsed once, for any number of questions.

        Raises:
            PolicyError: they do not fit the schema.
        """
        try:
            return self._base.with_added_json_str(json.dumps(added), self._schema)
        except ValueError:
            raise _does_not_fit("an entity of the request") from None

    def ask(self, requests: Sequence[dict[str, Any]], entities: cedarpy.Entities) -> list[Answer]:
        """Put questions to Cedar, one answer each, in order.

        Raises:
            PolicyError: one of them could not be evaluated; whoever asked must deny.
        """
        try:
            results = cedarpy.is_authorized_batch(list(requests), self._policies, entities, self._schema)
        except (ValueError, TypeError, KeyError):
            raise _does_not_fit("a request") from None
        return [self._answer(result) for result in results]

    def _answer(self, result: cedarpy.AuthzResult) -> Answer:
        diagnostics = result.diagnostics
        if result.decision is cedarpy.Decision.NoDecision:
            raise _does_not_fit("a request")
        if diagnostics.errors:
            # Cedar's text can quote values of the request; the rules' ids cannot
            broken = [rule.id for key, rule in self._rules.items() if any(f"`{key}`" in e for e in diagnostics.errors)]
            raise PolicyError(
                "policy-error",
                f"{FILE}: {'rule ' + ', '.join(f'`{name}`' for name in broken) if broken else 'a rule'} "
                "could not be evaluated, so nothing is allowed",
                "a data owner can find out why with `qnb policy check` and mend the rule",
            )
        decided = sorted((self._rules[key] for key in diagnostics.reasons), key=lambda rule: rule.place)
        return Answer(result.allowed, tuple(decided))


def parse_rules(cedar: bytes, schema: bytes, data: PolicyFile) -> Rules:
    """Read the rules and hold them against the schema and the data.

    Raises:
        PolicyError: a syntax or type error, a rule without `@id` or `@reason`, an unknown placeholder, a name that
            `qnb.toml` does not have.
    """
    cedar_text, schema_text = _text(cedar, FILE), _text(schema, SCHEMA_FILE)
    try:
        parsed_schema = cedarpy.Schema.from_str(schema_text)
    except ValueError as error:
        raise PolicyError("policy-schema", f"{SCHEMA_FILE}: {_one_line(error)}", _RESTORE) from None
    try:
        policies = cedarpy.PolicySet.from_str(cedar_text)
        source: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(cedar_text))
    except ValueError as error:
        raise PolicyError("policy-syntax", f"{FILE}{_locate(cedar_text)}: {_one_line(error)}") from None
    if source.get("templates"):
        raise PolicyError(
            "policy-template", f"{FILE}: a rule has a slot (`?principal`, `?resource`) and would never match"
        )
    rules = _read_annotations(source["staticPolicies"])
    validation = cedarpy.validate_policies(cedar_text, parsed_schema)
    if not validation.validation_passed:
        raise PolicyError("policy-invalid", f"{FILE}: {_explain_validation(validation, rules)}", _SEE_SCHEMA)
    for key, policy in source["staticPolicies"].items():
        _check_names(rules[key], policy, data)
    try:
        base = cedarpy.Entities.from_json_str(json.dumps(list(_fixed_entities(data))), parsed_schema)
    except ValueError:
        raise _does_not_fit(f"the data of {_DATA}") from None
    return Rules(policies, parsed_schema, base, rules)


_DATA = "qnb.toml"
_SEE_SCHEMA = f"what a rule may speak of is in {SCHEMA_FILE}"
_RESTORE = f"restore {SCHEMA_FILE} from the default policy; it describes what qnb asks, not what is allowed"


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError("policy-syntax", f"{file}: not UTF-8 text (byte {error.start})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or "cannot be read"


def _does_not_fit(what: str) -> PolicyError:
    return PolicyError("policy-schema", f"{SCHEMA_FILE}: {what} does not fit it, so nothing is allowed", _RESTORE)


def _locate(text: str) -> str:
    """Lines of the first policy that does not parse by itself, as ` lines 3-9`; empty if each one does."""
    start, line, begin = 0, 1, 1
    for match in [*_TOKEN.finditer(text), None]:
        if match is not None and match[0] == "\n":
            line += 1
            continue
        if match is not None and match[0] != ";":
            continue
        stop = len(text) if match is None else match.end()
        chunk = text[start:stop]
        try:
            cedarpy.PolicySet.from_str(chunk)
        except ValueError:
            first = begin + chunk[: len(chunk) - len(chunk.lstrip())].count("\n")
            return f", lines {first}-{line}"
        start, begin = stop, line
    return ""


def _read_annotations(policies: Mapping[str, Mapping[str, Any]]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    seen: set[str] = set()
    for place, key in enumerate(sorted(policies, key=lambda name: int(name.removeprefix("policy")))):
        policy = policies[key]
        notes: Mapping[str, str] = policy.get("annotations") or {}
        name = notes.get("id")
        if not name or _ID.fullmatch(name) is None or name in seen:
            raise PolicyError(
                "policy-annotation",
                f"{FILE}: rule {place + 1} {'repeats the' if name in seen else 'has no usable'} `@id`",
                'write `@id("short-name")` above it: small letters, digits and -, used once',
            )
        seen.add(name)
        if not (notes.get("reason") or "").strip():
            raise PolicyError(
                "policy-annotation",
                f"{FILE}: rule `{name}` has no `@reason`",
                'write `@reason("…")` above it: what it says to the person who asked',
            )
        for unknown in (word for note in ("reason", "hint") for word in _PLACEHOLDER.findall(notes.get(note) or "")):
            if unknown not in PLACEHOLDERS:
                raise PolicyError(
                    "policy-annotation",
                    f"{FILE}: rule `{name}` has the placeholder `{{{unknown}}}`, which qnb cannot fill in",
                    f"placeholders: {', '.join(PLACEHOLDERS)}",
                )
        rules[key] = Rule(place, name, policy["effect"] == "permit", notes["reason"], notes.get("hint") or None)
    return rules


def _explain_validation(validation: cedarpy.ValidationResult, rules: Mapping[str, Rule]) -> str:
    said = []
    for error in validation.errors:
        text = _one_line(Exception(error.error)).removeprefix(f"for policy `{error.policy_id}`, ")
        rule = rules.get(error.policy_id)
        said.append(f"rule `{rule.id}`: {text}" if rule else text)
    said.sort()
    if len(said) > _MAX_ERRORS:
        said[_MAX_ERRORS:] = [f"and {len(said) - _MAX_ERRORS} more"]
    return "; ".join(said) or "does not fit the schema"


def _check_names(rule: Rule, policy: object, data: PolicyFile) -> None:
    known: dict[str, Callable[[], list[str]]] = {
        "Role": lambda: list(data.roles),
        "Zone": lambda: list(data.zones),
        "Level": lambda: list(data.scheme.levels),
        "Category": lambda: list(data.scheme.categories),
        "Requirement": lambda: list(REQUIREMENTS),
        "Group": lambda: list(data.groups),
        "Recipient": lambda: [*data.recipients, *_bare_recipients(data), NOT_NAMED],
    }
    for kind, name in _references(policy):
        if kind in known and name not in (names := known[kind]()):
            near = suggest(name, names)
            raise PolicyError(
                "policy-reference",
                f'{FILE}: rule `{rule.id}` speaks of {kind}::"{name}", which {_DATA} does not have',
                f"did you mean `{near}`?" if near else f"known: {', '.join(names) or 'none'}",
            )


def _references(node: object) -> Iterator[tuple[str, str]]:
    """Every entity that a policy in Cedar's JSON form names, as (type, id)."""
    if isinstance(node, dict):
        if set(node) == {"type", "id"} and all(isinstance(value, str) for value in node.values()):
            yield node["type"], node["id"]
        else:
            for key, value in node.items():
                if key != "annotations":
                    yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _bare_recipients(data: PolicyFile) -> list[str]:
    """Recipient strings that stand in a group without a name of their own, each once."""
    return list(dict.fromkeys(m for members in data.groups.values() for m in members if m not in data.recipients))


def _fixed_entities(data: PolicyFile) -> Iterator[dict[str, Any]]:
    for name in REQUIREMENTS:
        yield entity("Requirement", name)
    for name in data.scheme.categories:
        yield entity("Category", name)
    for role in data.roles:
        yield entity("Role", role)
    for zone in data.zones.values():
        yield entity("Zone", zone.name, {"external": zone.external})
    for rank, level in enumerate(data.scheme.levels):
        handling = data.handling[level]
        yield entity(
            "Level",
            level,
            {
                "rank": rank,
                "sealed": handling.seal,
                "zones": [reference("Zone", zone) for zone in handling.zones],
                "requires": [reference("Requirement", name) for name in sorted(handling.requires)],
            },
        )
    for group in data.groups:
        yield entity("Group", group)
    parents: dict[str, list[dict[str, str]]] = {name: [] for name in (*data.recipients, *_bare_recipients(data))}
    for group, members in data.groups.items():
        for member in members:
            parents[member].append(uid("Group", group))
    for name, groups in parents.items():
        yield entity("Recipient", name, {"named": True}, *groups)
    yield entity("Recipient", NOT_NAMED, {"named": False})
