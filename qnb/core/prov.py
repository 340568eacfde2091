"""The lineage of entries as W3C PROV.

Enters: a `Graph`. Leaves: PROV-JSON, through the `prov` package (the `export` extra).
Never: an assertion that the graph has not.
Spec: W3C PROV-DM; PROV-JSON (W3C member submission of 2013).
"""

from __future__ import annotations

from collections.abc import Callable

from prov.model import ProvDocument

from qnb.core.lineage import Graph, name_part

_NAMESPACE = "urn:qnb:prov:v1:"


def render_prov(graph: Graph) -> str:
    """PROV-JSON of a graph, indented, with a line feed at its end."""
    document = ProvDocument()
    document.add_namespace("qnb", _NAMESPACE)
    document.add_namespace("log", f"urn:qnb:log:{name_part(graph.origin)}:")
    for node in graph.nodes.values():
        facts = {"prov:label": node.title, **{f"qnb:{key}": value for key, value in node.facts.items()}}
        time = node.facts.get("time")
        if node.kind == "activity":
            document.activity(f"log:{node.id}", time, time, facts)
        elif node.kind == "entity":
            document.entity(f"log:{node.id}", facts)
        else:
            document.agent(f"log:{node.id}", facts)
    relate: dict[str, Callable[..., object]] = {
        "used": document.used,
        "generated": document.wasGeneratedBy,
        "informed": document.wasInformedBy,
        "associated": document.wasAssociatedWith,
        "derived": document.wasDerivedFrom,
    }
    for edge in graph.edges:
        relate[edge.kind](f"log:{edge.source}", f"log:{edge.target}")
    return f"{document.serialize(format='json', indent=1)}\n"
