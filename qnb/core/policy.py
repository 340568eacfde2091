"""The policy: may this principal do this, with data of this label, there?

Enters: the three files of a policy folder (`parse_policy`), then requests.
Leaves: decisions with the rules that decided, in words, and what would be allowed instead.
Never: an allow that was not evaluated without error; a purpose, a reason or an unlisted backend's name in a decision.
Spec: DESIGN.md "Labels", "What always holds"; docs/reference/policy.md.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import cedarpy

from qnb.core.datasets import check_datasets, choose_recipients
from qnb.core.labels import Scheme, suggest
from qnb.core.policy_file import OS_USER, UNKNOWN_ZONE, BackendRow, PolicyFile, is_recipient, parse_policy_file
from qnb.core.policy_rules import NOT_NAMED, Answer, Rule, Rules, entity, fill, parse_rules, reference, uid
from qnb.core.policy_words import Place, explain_default, explain_nobody, gather_facts, quote_names, shorten_list
from qnb.errors import ConfigError, LabelError, PolicyError
from qnb.model import Action, Assurance, Backend, Decision, Handling, Label, Principal, Reason, Request

FILES = ("policy.cedar", "policy.cedarschema", "qnb.toml")  # sorted, as the digest takes them

_K = TypeVar("_K")
_V = TypeVar("_V")
_CACHED = 256
_ASSURANCE = {Assurance.ASSERTED: 0, Assurance.OS: 1, Assurance.HUB_VERIFIED: 2, Assurance.OIDC: 3}
_EXECUTIONS = (Action.EXECUTE, Action.RETRIEVE)
_HANDOVERS = (Action.SEAL, Action.SHARE)
_UNLISTED = Place(UNKNOWN_ZONE)


def digest_policy(toml: bytes, cedar: bytes, schema: bytes) -> str:
    """SHA-256, hex, of what `sha256sum policy.cedar policy.cedarschema qnb.toml` prints for the folder."""
    content = dict(zip(FILES, (cedar, schema, toml), strict=True))
    listing = "".join(f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in FILES)
    return hashlib.sha256(listing.encode("ascii")).hexdigest()


def parse_policy(toml: bytes, cedar: bytes, schema: bytes) -> Policy:
    """Read a policy folder's three files and try each action once.

    Raises:
        PolicyError: any of them does not parse, validate or fit the others; the message begins with the file's name.
    """
    data = parse_policy_file(toml)
    check_datasets(data)
    policy = Policy(data, parse_rules(cedar, schema, data), digest_policy(toml, cedar, schema))
    policy.try_each_action()
    return policy


class Policy:
    """A parsed policy. Immutable; safe to ask from several threads at once."""

    __slots__ = ("_answers", "_contexts", "_data", "_entities", "_listed", "_places", "_rules", "digest", "scheme")

    def __init__(self, data: PolicyFile, rules: Rules, digest: str) -> None:
        self._data = data
        self._rules = rules
        self.digest = digest
        self.scheme: Scheme = data.scheme
        self._listed = {text: name for name, text in data.recipients.items()}
        # Answers that depend on the policy alone, kept because they are asked for again and again. Replaced whole when
        # full, so that a loop over made-up names holds no memory.
        self._contexts: dict[Label, str] = {}
        self._places: dict[tuple[str | None, str | None], Place] = {}
        self._entities: dict[tuple[object, ...], cedarpy.Entities] = {}
        self._answers: dict[tuple[object, ...], tuple[Answer, ...]] = {}

    def __repr__(self) -> str:
        return f"Policy(digest={self.digest[:16]})"

    @property
    def data(self) -> PolicyFile:
        """What `qnb.toml` says."""
        return self._data

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The Cedar rules, in file order."""
        return self._rules.all

    def handling(self, label: Label) -> Handling:
        """What the policy asks for at a label's level.

        Raises:
            LabelError: the label is not in the scheme.
        """
        self.scheme.check(label)
        return self._data.handling[label.level]

    def zone_of(self, backend: Backend) -> tuple[str, str | None]:
        """Zone of a backend, and its name where the policy lists it (else None: the name is the caller's text)."""
        place = self._place(backend)
        return place.zone, place.name

    def roles_of(self, principal: Principal) -> tuple[str, ...]:
        """Roles of an account, in the policy's order. A name that nobody vouches for (`asserted`) has none."""
        if principal.assurance is Assurance.ASSERTED:
            return ()
        # `@os-user` is whoever runs qnb with this home. Somewhere else (a hub, a gateway) accounts are known by other
        # means, and a policy that nobody edited gives them nothing.
        return tuple(
            role
            for role, members in self._data.roles.items()
            if principal.name in members or (OS_USER in members and principal.assurance is Assurance.OS)
        )

    def recipients(self, names: Iterable[str]) -> tuple[str, ...]:
        """Recipient strings (`age1pq1…`) of groups, recipients and recipient strings: in order, each once.

        Raises:
            ConfigError: a name is neither a group nor a recipient of the policy.
        """
        found: dict[str, None] = {}
        for name in names:
            if is_recipient(name):
                found[name] = None
            elif name in self._data.recipients:
                found[self._data.recipients[name]] = None
            elif name in self._data.groups:
                for member in self._data.groups[name]:
                    found[self._data.recipients.get(member, member)] = None
            else:
                near = suggest(name, self.recipient_names())
                raise ConfigError(
                    "unknown-recipient",
                    f"`{name[:64]}` is neither a group nor a recipient of the policy",
                    f"did you mean `{near}`?" if near else f"known: {', '.join(self.recipient_names()) or 'none'}",
                )
        return tuple(found)

    def sealed_to(self, label: Label, to: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of those that something of a label is sealed to: the level's own and `to`, or a dataset key alone.

        Raises:
            ConfigError: `to` puts others beside a dataset key, who could read after it was destroyed.
            LabelError: the label is not in the scheme.
        """
        return choose_recipients(self._data, self.handling(label).recipients, tuple(to))

    def recipient_names(self) -> tuple[str, ...]:
        """Groups, then recipients, in the policy's order."""
        return (*self._data.groups, *self._data.recipients)

    def decide(self, request: Request) -> Decision:
        """Answer a request. A "no" is a decision, not an error.

        Raises:
            PolicyError: no decision could be made (an unknown label, a rule that errs); the caller must deny.
        """
        place = self._place(request.backend or Backend(None, "")) if request.action in _EXECUTIONS else None
        roles = self.roles_of(request.principal)
        allow, reasons = self._evaluate(request, place, roles)
        return Decision(
            allow=allow,
            action=request.action,
            label=request.label,
            reasons=reasons,
            policy_digest=self.digest,
            alternatives=() if allow else tuple(self._alternatives(request, place, roles)),
            zone=place.zone if place else None,
            backend=place.name if place else None,
            grant=self._data.handling[request.label.level].grant if request.action is Action.EXECUTE else 1,
        )

    # ---- asking

    def _evaluate(
        self, request: Request, place: Place | None, roles: tuple[str, ...]
    ) -> tuple[bool, tuple[Reason, ...]]:
        """The answer and the rules that gave it, in words.

        Raises:
            PolicyError: no decision could be made.
        """
        if request.action in _HANDOVERS:
            names = request.recipients
            if not names and request.action is Action.SEAL:
                names = self._handling(request.label).recipients
            recipients = self._expand(names)
            if not recipients:
                return False, (explain_nobody(names),)
        else:
            recipients = (NOT_NAMED,)
        answers = self._ask(request, place, roles, recipients)
        refused = [(answer, name) for answer, name in zip(answers, recipients, strict=True) if not answer.allow]
        said: dict[Reason, None] = {}
        for answer, recipient in refused or [(answers[0], recipients[0])]:
            zones = self._data.handling[request.label.level].zones
            facts = gather_facts(request, place, zones, roles, recipient)
            for rule in answer.rules:
                said[Reason(rule.id, fill(rule.reason, facts), fill(rule.hint, facts) if rule.hint else None)] = None
            if not answer.rules:
                said[explain_default(facts)] = None
        return not refused, tuple(said)

    def _ask(
        self, request: Request, place: Place | None, roles: tuple[str, ...], recipients: Sequence[str]
    ) -> tuple[Answer, ...]:
        principal = request.principal
        context = self._context(request)
        key = (request.action, principal.name, principal.assurance, roles, place, context, tuple(recipients))
        known = self._answers.get(key)
        if known is not None:
            return known
        if place is not None:
            resources = [uid("Backend", place.name or NOT_NAMED)]
        elif request.action in _HANDOVERS:
            resources = [uid("Recipient", name) for name in recipients]
        else:
            resources = [uid("Level", request.label.level)]
        who, action = uid("Principal", principal.name), uid("Action", request.action.value)
        questions: list[dict[str, Any]] = [
            {"principal": who, "action": action, "resource": resource, "context": context} for resource in resources
        ]
        answers = tuple(self._rules.ask(questions, self._entities_for(principal, place, roles)))
        self._answers = _keep(self._answers, key, answers)
        return answers

    def _entities_for(self, principal: Principal, place: Place | None, roles: tuple[str, ...]) -> cedarpy.Entities:
        key = (principal.name, principal.assurance, place, roles)
        cached = self._entities.get(key)
        if cached is not None:
            return cached
        added = [
            entity(
                "Principal",
                principal.name,
                {"assurance": _ASSURANCE[principal.assurance]},
                *(uid("Role", role) for role in roles),
            )
        ]
        if place is not None:
            attrs = {"zone": reference("Zone", place.zone), "listed": place.about is not None}
            added.append(entity("Backend", place.name or NOT_NAMED, attrs, uid("Zone", place.zone)))
        entities = self._rules.entities(*added)
        self._entities = _keep(self._entities, key, entities)
        return entities

    def _context(self, request: Request) -> str:
        """The context of a request as JSON. Texts (purpose, reason) enter only as whether they were given."""
        label = request.label
        parts = [self._label_context(label), f'"purpose":{_given(request.purpose)}']
        if request.action in _EXECUTIONS:
            parts.append(f'"private":{"true" if request.private else "false"}')
            numbers = (("circuits", request.circuits), ("qubits", request.qubits), ("shots", request.shots))
            parts.extend(f'"{name}":{int(number)}' for name, number in numbers if number is not None)
        elif request.action is Action.DECLASSIFY:
            if request.target is None:
                raise PolicyError("incomplete-request", "a declassification names the label that it lowers to")
            target = self._label_context(request.target)
            parts.append(target.replace('"level":', '"target":', 1).replace('"categories":', '"targetCategories":', 1))
            parts.append(f'"reason":{_given(request.reason)}')
        elif request.action is Action.LOAD and request.format is not None:
            parts.append(f'"format":{json.dumps(request.format)}')
        return "{" + ",".join(parts) + "}"

    def _label_context(self, label: Label) -> str:
        text = self._contexts.get(label)
        if text is None:
            self._handling(label)
            fields = {
                "level": reference("Level", label.level),
                "categories": [reference("Category", name) for name in sorted(label.categories)],
            }
            text = json.dumps(fields)[1:-1]
            self._contexts = _keep(self._contexts, label, text)
        return text

    def _handling(self, label: Label) -> Handling:
        try:
            return self.handling(label)
        except LabelError as error:
            raise PolicyError("policy-label", f"this label cannot be judged: {error.message}", error.hint) from None

    def _place(self, backend: Backend) -> Place:
        key = (backend.name, backend.cls)
        place = self._places.get(key)
        if place is None:
            place = _find_place(self._data.backends, backend)
            self._places = _keep(self._places, key, place)
        return place

    def _expand(self, names: Iterable[str]) -> tuple[str, ...]:
        """Cedar ids of recipients: groups become their members, what the policy does not name becomes NOT_NAMED."""
        bare = {member for members in self._data.groups.values() for member in members}
        found: dict[str, None] = {}
        for name in names:
            if name in self._data.groups:
                for member in self._data.groups[name]:
                    found[self._listed.get(member, member)] = None
            elif name in self._data.recipients:
                found[name] = None
            elif name in self._listed:
                found[self._listed[name]] = None
            else:
                found[name if name in bare else NOT_NAMED] = None
        return tuple(found)

    # ---- what would be allowed instead, found by asking

    def _alternatives(self, request: Request, place: Place | None, roles: tuple[str, ...]) -> Iterator[str]:
        if place is not None:
            yield from self._other_places(request, place, roles)
        elif request.action in _HANDOVERS:
            groups = [name for name, members in self._data.groups.items() if members]
            named = [n for n in groups if self._evaluate(replace(request, recipients=(n,)), None, roles)[0]]
            if named:
                yield f"for recipients that the policy names: {quote_names(named)}"
        elif request.action is Action.DECLASSIFY and self._evaluate(replace(request, reason="given"), None, roles)[0]:
            yield "the same with a reason"
        for role in self._data.roles:
            if role not in roles and self._evaluate(request, place, (*roles, role))[0]:
                yield f"the same by an account with the role `{role}`"

    def _other_places(self, request: Request, place: Place, roles: tuple[str, ...]) -> Iterator[str]:
        if (more := self._with_more(request, place, roles)) is not None:
            yield f"the same {more}"
        for zone in self._data.zones.values():
            abouts = list(dict.fromkeys(row.about for row in self._data.backends if row.zone == zone.name))
            if not abouts or zone.name == place.zone:
                continue
            more = self._with_more(request, Place(zone.name, None, abouts[0]), roles)
            if more is not None:
                where = f"in zone `{zone.name}` ({zone.description}): {shorten_list(abouts)}"
                yield f"{where}; {more}" if more else where

    def _with_more(self, request: Request, place: Place, roles: tuple[str, ...]) -> str | None:
        """What the request must bring to be allowed at a place: words, empty if nothing, None if that does not help."""
        ways = [
            (replace(request, purpose="given"), "with `--purpose`"),
            (replace(request, private=True), "as a private job"),
            (replace(request, purpose="given", private=True), "with `--purpose` and as a private job"),
        ]
        for changed, words in [(request, ""), *ways]:
            if self._evaluate(changed, place, roles)[0]:
                return words
        return None

    def try_each_action(self) -> None:
        """Put one bare and one full request per action, so that a schema that no longer fits is found when read."""
        label = Label(self.scheme.levels[-1], frozenset(self.scheme.categories))
        bare = Request(Action.EXECUTE, Principal("(nobody)", None, Assurance.ASSERTED), label, target=label)
        full = replace(bare, purpose="given", circuits=1, qubits=1, shots=1, private=True, reason="given", format="qpy")
        for action in Action:
            place = _UNLISTED if action in _EXECUTIONS else None
            for request in (bare, full):
                self._ask(replace(request, action=action), place, tuple(self._data.roles), (NOT_NAMED,))


def _find_place(rows: tuple[BackendRow, ...], backend: Backend) -> Place:
    """The first row whose class pattern matches the class that runs; in a question by name, whose names match."""
    name = backend.name
    for row in rows:
        named = name is not None and any(fnmatch.fnmatchcase(name, pattern) for pattern in row.names)
        if fnmatch.fnmatchcase(backend.cls, row.cls) if backend.cls is not None else named:
            return Place(row.zone, name if named else None, row.about)
    return _UNLISTED


def _given(text: str | None) -> str:
    return "true" if text is not None and text.strip() else "false"


def _keep(cache: dict[_K, _V], key: _K, value: _V) -> dict[_K, _V]:
    cache = cache if len(cache) < _CACHED else {}
    cache[key] = value
    return cache
