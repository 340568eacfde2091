"""How entries belong together: decision, execution, result, sealed output, opening, and who stood behind each.

Enters: entries as parsed. Leaves: which of them belong to one run of a cell, and a graph in the terms of W3C PROV.
Never: a relation that no entry states; content: an entity is named by the digest that the entry holds, which is keyed
from the classified levels up.
Spec: W3C PROV-DM, sections 5.1 to 5.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from qnb.core.entry import EntryView


@dataclass(frozen=True, slots=True)
class Node:
    """A node: `kind` is activity, entity or agent; `facts` are what the entry says, nulls left out."""

    id: str
    kind: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation, from the later to the earlier as PROV draws it: used, generated, informed, associated, derived.

    `generated` goes from the entity to the activity.
    """

    kind: str
    source: str
    target: str


@dataclass(slots=True)
class Graph:
    """Nodes by id and the relations between them, in the order of the log."""

    origin: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def relate(self, kind: str, source: Node, target: Node) -> None:
        """Add a relation, and its ends where they are new."""
        for node in (source, target):
            self.nodes.setdefault(node.id, node)
        edge = Edge(kind, source.id, target.id)
        if edge not in self.edges[-64:]:  # an entity can be named twice in one entry
            self.edges.append(edge)


def name_part(text: str) -> str:
    """A text as part of a qualified name: letters, digits, point, hyphen and underscore as they are, else %XX."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda m: "".join(f"%{b:02X}" for b in m[0].encode("utf-8", "replace")), text)


def belongs(index: int, view: EntryView, to_index: int, to: EntryView) -> bool:
    """Whether an entry is part of the story of another: the same run of a cell, an answer, or the same ciphertext."""
    same_run = to.sequence is not None and (view.session, view.sequence) == (to.session, to.sequence)
    answers = view.decision == to_index or to.decision == index
    ciphertext = view.ciphertext is not None and view.ciphertext == to.ciphertext
    return index == to_index or same_run or answers or ciphertext


def trace(entries: Iterable[tuple[int, EntryView]], origin: str) -> Graph:
    """The graph of entries.

    Args:
        entries: index and entry, by index; those that they refer to and that are not among them are named only.
        origin: of the log.
    """
    graph = Graph(origin)
    executions: dict[tuple[str, int | None], list[tuple[Node, Node | None]]] = {}
    for index, view in entries:
        activity = _activity(index, view)
        graph.nodes[activity.id] = activity
        graph.relate("associated", activity, Node(f"agent/{name_part(view.principal)}", "agent", view.principal))
        if view.decision is not None:
            graph.relate("informed", activity, _named(view.decision))
        result = _relate_content(graph, activity, view)
        run = (view.session, view.sequence)
        if view.kind == "execution":
            executions.setdefault(run, []).append((activity, result))
        if view.kind == "seal" and view.sequence is not None:
            sealed = _entity("ciphertext", view.ciphertext)
            for execution, given in executions.pop(run, ()):
                graph.relate("informed", activity, execution)
                if given is not None and sealed is not None:
                    graph.relate("derived", sealed, given)
    return graph


def _relate_content(graph: Graph, activity: Node, view: EntryView) -> Node | None:
    """What an entry used and what came of it; gives its result."""
    makes = view.kind in ("seal", "policy", "key")
    for name, digest in view.subjects:
        subject = _entity(name.partition("/")[0], digest)
        if subject is not None and makes:
            graph.relate("generated", subject, activity)
        elif subject is not None:
            graph.relate("used", activity, subject)
    if view.kind == "decision":
        for content, named in (("source", _digest(view.source)), ("policy", view.policy)):
            used = _entity(content, named)
            if used is not None:
                graph.relate("used", activity, used)
    if view.kind == "policy":
        policy, previous = _entity("policy", view.policy), _entity("policy", _digest(view.predicate.get("previous")))
        if policy is not None and previous is not None:
            graph.relate("derived", policy, previous)
    result = _entity("result", _digest(view.predicate.get("result")))
    if result is not None:
        graph.relate("generated", result, activity)
    return result


def _activity(index: int, view: EntryView) -> Node:
    facts = {
        "kind": view.kind,
        "time": view.time,
        "label": view.label,
        "action": view.action,
        "decision": None if view.allow is None else "allow" if view.allow else "deny",
        "status": view.status or view.state,
        "backend": view.backend,
        "zone": view.zone,
        "session": view.session,
        "notebook": view.notebook,
        "cell": view.cell,
        "sequence": None if view.sequence is None else str(view.sequence),
    }
    what = f"{facts['decision']}: {view.action}" if view.kind == "decision" else view.kind
    return Node(f"entry/{index}", "activity", f"{index} {what}", {k: v for k, v in facts.items() if v is not None})


def _named(index: int) -> Node:
    return Node(f"entry/{index}", "activity", str(index))


def _entity(content: str, digest: str | None) -> Node | None:
    return None if digest is None else Node(f"{content}/{digest}", "entity", f"{content} {digest[:8]}…")


def _digest(value: object) -> str | None:
    if isinstance(value, dict):
        for algorithm in ("sha256", "hmac-sha256"):
            if isinstance(value.get(algorithm), str):
                return str(value[algorithm])
    return None
