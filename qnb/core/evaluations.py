"""The evaluations that share one decision: a leaf for each, and one root for each stretch that is recorded.

Enters: calls and outcomes of one grant, in order.
Leaves: leaf bytes (JSON lines), their count, Merkle root and statuses for the `execution` entry.
Never: keeps more than the leaves of the stretch at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from qnb.core.digester import Digester, canonical
from qnb.core.facts import describe_outcome
from qnb.core.merkle import Frontier, leaf_hash
from qnb.model import Call, Outcome

_WORST_LAST = ("ok", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Evaluations:
    """A stretch of a grant, as its `execution` entry says it.

    Attributes:
        first: number of the first evaluation, from 0 at the decision.
        count: how many.
        root: RFC 6962 root over their leaves.
        statuses: status -> how many.
    """

    first: int
    count: int
    root: bytes
    statuses: Mapping[str, int]


def encode_evaluation(index: int, call: Call, outcome: Outcome, digester: Digester) -> bytes:
    """The leaf of one evaluation: what can differ between evaluations of one grant, as canonical JSON.

    Args:
        index: number of the evaluation, from 0 at the decision.
        call: what ran.
        outcome: how it ended.
        digester: keyed at classified levels.
    """
    return canonical(
        {
            "index": index,
            "circuits": [digester.digest_set("circuit", circuit.fingerprint) for circuit in call.circuits],
            "parameters": digester.optional("parameters", call.parameters),
            "observables": digester.optional("observables", call.observables),
            "shots": call.shots,
            "seed": call.seed,
            **describe_outcome(outcome, digester),
        }
    )


class Batch:
    """Evaluations of one grant between two entries.

    Args:
        first: number of the first evaluation, from 0 at the decision.
        digester: keyed at classified levels.

    Attributes:
        call: the first call, None while empty.
        lines: the leaves so far, to be kept beside the entry; empty for a stretch of one, whose entry says it all.
    """

    __slots__ = ("_digester", "_outcomes", "_tree", "call", "first", "lines")

    def __init__(self, first: int, digester: Digester) -> None:
        self.first = first
        self.call: Call | None = None
        self.lines: list[bytes] = []
        self._digester = digester
        self._tree = Frontier()
        self._outcomes: list[Outcome] = []

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, call: Call, outcome: Outcome) -> None:
        """Add one evaluation."""
        line = encode_evaluation(self.first + len(self._outcomes), call, outcome, self._digester)
        self._tree.append(leaf_hash(line))
        self.lines.append(line)
        self._outcomes.append(outcome)
        if self.call is None:
            self.call = call

    def evaluations(self) -> Evaluations:
        """What the entry says of the stretch."""
        statuses = Counter(outcome.status for outcome in self._outcomes)
        return Evaluations(self.first, len(self._outcomes), self._tree.root(), statuses)

    def outcome(self) -> Outcome:
        """The one outcome, or of several: the worst status, what they agree on, the first error, all seconds."""
        outcomes = self._outcomes
        if len(outcomes) == 1:
            return outcomes[0]
        shots, seeds = {o.shots for o in outcomes}, {o.seed for o in outcomes}
        seconds = [o.seconds for o in outcomes if o.seconds is not None]
        return Outcome(
            status=max((o.status for o in outcomes), key=_WORST_LAST.index),
            shots=shots.pop() if len(shots) == 1 else None,
            seed=seeds.pop() if len(seeds) == 1 else None,
            error=next((o.error for o in outcomes if o.error is not None), None),
            seconds=sum(seconds) if len(seconds) == len(outcomes) else None,
        )
