"""`qnb.toml`: the data of a policy. Rules are Cedar's (`qnb.core.policy_rules`); here are only names and numbers.

Enters: the bytes of `qnb.toml`.
Leaves: `PolicyFile`, frozen, every reference resolved.
Never: guesses, defaults a missing safeguard, or passes over an unknown key: a misspelt safeguard that is ignored would
be one that is off. Higher levels are held to be at least as strict as lower ones, because joining labels
raises the level and must never lower the guard.
Spec: docs/reference/policy.md.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from qnb.core.labels import Scheme, suggest
from qnb.core.seal import parse_recipient
from qnb.errors import LabelError, PolicyError, RecipientError
from qnb.model import Handling, Label

FILE = "qnb.toml"
UNKNOWN_ZONE = "unknown"
OS_USER = "@os-user"
REQUIREMENTS = ("purpose", "private-job")
FLOWS = ("high-water", "tracked")
NAMES = ("neutral", "as-given")
RAISES = ("allow", "refuse")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_RECIPIENT = re.compile(r"age1pq1[02-9ac-hj-np-z]{58,4096}")  # Bech32 charset
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Zone:
    """Where a backend is.

    Attributes:
        external: run by somebody else, what is sent there leaves the organisation.
        hides_names: names in circuits are replaced by neutral ones before they are sent there.
    """

    name: str
    description: str
    external: bool
    hides_names: bool


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One row of `[[backends]]`.

    Attributes:
        cls: fnmatch pattern on the qualified class path; alone decides the zone of an execution.
        names: fnmatch patterns on the names such backends go by: for questions asked by name, and to know which names
            may be shown. They never decide where an execution goes.
        zone: the zone of these backends.
        about: what a person calls them.
    """

    cls: str
    names: tuple[str, ...]
    zone: str
    about: str


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What `qnb.toml` says. `groups` holds recipient names and recipient strings, as written.

    `datasets`: name of a recipient whose identity is a file of its own -> groups and recipients that it is sealed for.
    """

    scheme: Scheme
    handling: Mapping[str, Handling]
    zones: Mapping[str, Zone]
    backends: tuple[BackendRow, ...]
    roles: Mapping[str, tuple[str, ...]]
    recipients: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]
    datasets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def is_recipient(text: str) -> bool:
    """Whether a text has the form of a post-quantum age recipient (`age1pq1…`); its checksum is not read here."""
    return _RECIPIENT.fullmatch(text) is not None


def parse_policy_file(data: bytes) -> PolicyFile:
    """Read `qnb.toml`, strictly.

    Raises:
        PolicyError: not UTF-8, not TOML, an unknown or missing key, a wrong type, a reference to nothing, a level less
            strict than a lower one. The message gives the file and the key path.
    """
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PolicyError("policy-syntax", f"{FILE}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyError("policy-syntax", f"{FILE}: not valid TOML: {str(error).lower()}") from None
    root = _Table("", document)
    if root.integer("version") != 1:
        raise root.error("version", "this qnb reads version 1", "install the qnb that wrote this policy")
    scheme = _scheme(root.table("labels"))
    zones = _zones(root.table("zones"))
    recipients = _recipients(root.table("recipients"))
    groups = _groups(root.table("groups"), recipients)
    datasets = _datasets(root, recipients, groups)
    handling = _handling(root.table("levels"), scheme, zones, recipients, groups)
    backends = tuple(_backend(row, zones) for row in root.rows("backends"))
    roles = _roles(root.table("roles"))
    root.close()
    return PolicyFile(scheme, handling, zones, backends, roles, recipients, groups, datasets)


class _Table:
    """A TOML table whose keys are taken one by one; what is left over at `close` is an error."""

    def __init__(self, path: str, value: object) -> None:
        self.path = path
        if not isinstance(value, dict):
            raise _invalid(path, "must be a table")
        self._values: dict[str, object] = dict(value)
        self._known: list[str] = []

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, message: str, hint: str | None = None) -> PolicyError:
        return _invalid(self.at(key), message, hint)

    @property
    def keys(self) -> list[str]:
        """Keys not taken yet."""
        return list(self._values)

    def take(self, key: str, kind: str, read: Callable[[object], _T | None]) -> _T:
        self._known.append(key)
        if key not in self._values:
            raise self.error(key, "is missing", f"add it: {kind}")
        value = read(self._values.pop(key))
        if value is None:
            raise self.error(key, f"must be {kind}")
        return value

    def text(self, key: str) -> str:
        return self.take(key, "a text", lambda v: v if isinstance(v, str) and v.strip() else None)

    def flag(self, key: str) -> bool:
        return self.take(key, "true or false", lambda v: v if isinstance(v, bool) else None)

    def integer(self, key: str) -> int:
        return self.take(key, "a whole number", lambda v: v if type(v) is int else None)

    def texts(self, key: str) -> tuple[str, ...]:
        def read(value: object) -> tuple[str, ...] | None:
            if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
                return tuple(value)
            return None

        texts = self.take(key, "a list of texts", read)
        if len(set(texts)) != len(texts):
            raise self.error(key, "names something twice")
        return texts

    def table(self, key: str) -> _Table:
        return _Table(self.at(key), self.take(key, "a table", lambda v: v if isinstance(v, dict) else None))

    def rows(self, key: str) -> list[_Table]:
        rows = self.take(key, f"a list of tables, `[[{key}]]`", lambda v: v if isinstance(v, list) else None)
        return [_Table(f"{self.at(key)}[{index}]", row) for index, row in enumerate(rows)]

    def has(self, key: str) -> bool:
        self._known.append(key)
        return key in self._values

    def close(self) -> None:
        for key in self._values:
            near = suggest(key, self._known)
            known = ", ".join(sorted(set(self._known)))
            raise self.error(
                key, "is not a key of the policy", f"did you mean `{near}`?" if near else f"keys here: {known}"
            )


def _invalid(path: str, message: str, hint: str | None = None) -> PolicyError:
    return PolicyError("policy-invalid", f"{FILE}: `{path}` {message}", hint)


def _resolve(table: _Table, key: str, names: Iterable[str], known: Iterable[str], kind: str) -> None:
    """Every name is known.

    Raises:
        PolicyError: the first that is not.
    """
    listed = tuple(known)
    for name in names:
        if name not in listed:
            near = suggest(name, listed)
            hint = f"did you mean `{near}`?" if near else f"known: {', '.join(listed) or 'none'}"
            raise table.error(key, f"names the {kind} `{name}`, which the policy does not have", hint)


def _check_name(table: _Table, key: str, pattern: re.Pattern[str] = _NAME) -> None:
    if pattern.fullmatch(key) is None:
        allowed = "a-z, 0-9 and -, a letter first" if pattern is _NAME else "letters, digits and . _ @ + -"
        raise table.error(key, "is not a name", f"names are made of {allowed}")


def _scheme(table: _Table) -> Scheme:
    levels = table.texts("levels")
    for level in levels:
        if _NAME.fullmatch(level) is None:
            raise table.error("levels", f"holds `{level}`, which is not a name", "a-z, 0-9 and -, a letter first")
    described = table.table("categories")
    categories: dict[str, str] = {}
    for key in described.keys:
        _check_name(described, key)
        categories[key] = described.text(key)
    marks = {key: table.text(key) for key in ("session", "cell")}
    table.close()
    if not levels:
        raise table.error("levels", "is empty", "name at least one level, lowest first")
    bare = Scheme(levels, categories, Label(levels[0]), Label(levels[0]))
    labels: dict[str, Label] = {}
    for key, text in marks.items():
        try:
            labels[key] = bare.parse(text)
        except LabelError as error:
            raise table.error(key, f"does not hold a label: {error.message}", error.hint) from None
    if not bare.dominates(labels["cell"], labels["session"]):
        raise table.error("cell", "is lower than the session's label", "a bare `%%qsecure` may only raise a cell")
    return Scheme(levels, categories, labels["session"], labels["cell"])


def _zones(table: _Table) -> dict[str, Zone]:
    zones = {
        UNKNOWN_ZONE: Zone(UNKNOWN_ZONE, "backends that no row of the policy lists", external=True, hides_names=True),
    }
    for key in table.keys:
        _check_name(table, key)
        if key == UNKNOWN_ZONE:
            raise table.error(key, "is a zone that always exists: backends that no row lists", "remove the table")
        zone = table.table(key)
        description, external = zone.text("description"), zone.flag("external")
        names = zone.text("names") if zone.has("names") else ("neutral" if external else "as-given")
        if names not in NAMES:
            raise zone.error("names", "is not a way to treat names", f"one of {', '.join(NAMES)}")
        zones[key] = Zone(key, description, external, hides_names=names == "neutral")
        zone.close()
    return zones


def _recipients(table: _Table) -> dict[str, str]:
    recipients: dict[str, str] = {}
    for key in table.keys:
        _check_name(table, key, _PERSON)
        if key.startswith("age1"):
            raise table.error(key, "is a name that reads as a recipient", "give it the name of its owner")
        recipients[key] = table.text(key)
        _check_recipient(table, key, recipients[key])
    return recipients


def _groups(table: _Table, recipients: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for key in table.keys:
        _check_name(table, key)
        if key in recipients:
            raise table.error(key, "is both a group and a recipient", "give one of them another name")
        members = table.texts(key)
        for member in members:
            if member.startswith("age1"):
                _check_recipient(table, key, member)
        _resolve(table, key, (name for name in members if not is_recipient(name)), recipients, "recipient")
        groups[key] = members
    return groups


def _datasets(
    root: _Table, recipients: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`[datasets]`, which may be left out."""
    datasets: dict[str, tuple[str, ...]] = {}
    if not root.has("datasets"):
        return datasets
    table = root.table("datasets")
    _resolve(table, "", table.keys, recipients, "recipient")
    for key in table.keys:
        datasets[key] = table.texts(key)
        _resolve(table, key, datasets[key], (*groups, *recipients), "group or recipient")
        if not datasets[key]:
            raise table.error(key, "has no members", "name a group, or `qnb keys remove` the key")
    return datasets


def _check_recipient(table: _Table, key: str, text: str) -> None:
    """A post-quantum recipient, checksum included: one that cannot be sealed to would be found out after a run."""
    try:
        parse_recipient(text)
    except RecipientError:
        valid = False
    else:
        valid = is_recipient(text)  # age refuses to mix its kinds, and the others are not post-quantum
    if not valid:
        raise table.error(
            key, "holds what is not a post-quantum age recipient", "`qnb keys show` prints an account's: `age1pq1…`"
        )


def _handling(
    table: _Table,
    scheme: Scheme,
    zones: Mapping[str, Zone],
    recipients: Mapping[str, str],
    groups: Mapping[str, tuple[str, ...]],
) -> dict[str, Handling]:
    _resolve(table, "", table.keys, scheme.levels, "level")
    levels: dict[str, Handling] = {}
    for level in scheme.levels:
        row = table.table(level)
        flow = row.text("flow")
        if flow not in FLOWS:
            raise row.error("flow", "is not a flow rule", f"one of {', '.join(FLOWS)}")
        raised = row.text("raise") if row.has("raise") else "allow"
        if raised not in RAISES:
            raise row.error("raise", "is not a rule for raising", f"one of {', '.join(RAISES)}; left out: allow")
        days = row.integer("retention-days") if row.has("retention-days") else None
        if days is not None and days < 1:
            raise row.error("retention-days", "must be at least 1", "leave the key out to keep without a limit")
        grant = row.integer("grant")
        if not 1 <= grant <= 1_000_000:
            raise row.error("grant", "must be between 1 and 1000000")
        names = {key: row.texts(key) for key in ("recipients", "zones", "requires")}
        _resolve(row, "recipients", names["recipients"], (*groups, *recipients), "group or recipient")
        _resolve(row, "zones", names["zones"], zones, "zone")
        _resolve(row, "requires", names["requires"], REQUIREMENTS, "requirement")
        seal = row.flag("seal")
        if seal and not names["recipients"]:
            raise row.error("recipients", "is empty, and outputs of this level are sealed", "name a group")
        row.close()
        rules = (names["recipients"], names["zones"], frozenset(names["requires"]), flow, days, grant)
        levels[level] = Handling(level, seal, *rules, declared=raised == "refuse")
    _check_order(table, [levels[level] for level in scheme.levels])
    return levels


def _check_order(table: _Table, levels: list[Handling]) -> None:
    """Each level is at least as strict as the one below it."""
    for low, high in itertools.pairwise(levels):
        key = f"{high.level}."
        if low.seal and not high.seal:
            raise table.error(f"{key}seal", f"is off, but `{low.level}` below it seals", "seal every higher level too")
        extra = [zone for zone in high.zones if zone not in low.zones]
        if extra:
            raise table.error(
                f"{key}zones",
                f"allows `{extra[0]}`, which `{low.level}` below it does not",
                "a higher level may only narrow the zones",
            )
        rules = (
            ("flow", low.flow == "high-water", high.flow, "high-water"),
            ("raise", low.declared, "refuse" if high.declared else "allow", "refuse"),
        )
        for name, strict, said, rule in rules:
            if strict and said != rule:
                raise table.error(f"{key}{name}", f"is not `{rule}`, as `{low.level}` below it is", "repeat it here")
        missing = sorted(low.requires - high.requires)
        if missing:
            raise table.error(
                f"{key}requires", f"lacks `{missing[0]}`, which `{low.level}` below it requires", "repeat it here"
            )


def _backend(row: _Table, zones: Mapping[str, Zone]) -> BackendRow:
    # A name is whatever the caller chose; only the class ties a backend to code that is known to run somewhere. So each
    # row needs one, rooted in a package: `*AerSimulator` would also match a class that a notebook defines.
    cls = row.text("class")
    if _PACKAGE.match(cls) is None or cls.startswith("__main__."):
        raise row.error(
            "class",
            f"`{cls}` is not rooted in a package",
            "begin with the package, as in `qiskit_aer.*`: anybody can define a class of that name in a notebook",
        )
    zone = row.text("zone")
    _resolve(row, "zone", [zone], zones, "zone")
    if zone == UNKNOWN_ZONE:
        raise row.error("zone", f"is `{UNKNOWN_ZONE}`, where backends are that no row lists", "remove the row")
    names = row.texts("names") if row.has("names") else ()
    if "*" in names:
        raise row.error("names", "holds `*`, which says nothing", "leave `names` out")
    about = row.text("about")
    row.close()
    return BackendRow(cls, names, zone, about)


def _roles(table: _Table) -> dict[str, tuple[str, ...]]:
    roles: dict[str, tuple[str, ...]] = {}
    for key in table.keys:
        _check_name(table, key)
        roles[key] = table.texts(key)
        for member in roles[key]:
            if not member.isprintable() or (member.startswith("@") and member != OS_USER):
                raise table.error(key, f"holds `{member}`, which is no account", f"account names, or `{OS_USER}`")
    return roles
