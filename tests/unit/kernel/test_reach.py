"""What a walk over objects finds, what it says it could not see, and what it never calls."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from qiskit import QuantumCircuit

from qnb.kernel.reach import Budget, is_code, search
from qnb.kernel.snapshot import Snapshot

NAMESPACE: dict[str, object] = {"__name__": "a notebook"}


def finds(root: object, target: object) -> bool:
    found = search([root], {id(target): None}, NAMESPACE, Budget(seconds=30))
    assert not found.overflow
    return found.marked == [id(target)]


class Holder:
    """A class of these tests, so of nobody's library."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        raise AssertionError("a walk compares nothing")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        raise AssertionError("a walk prints nothing")


class Slotted:
    __slots__ = ("__weakref__", "value")

    def __init__(self, value):
        self.value = value


def _closure(value):
    return lambda: value


def _generator(value):
    yield value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: [v],
        lambda v: ({"k": v},),
        lambda v: {"k": [[v]]}.items(),
        Holder,
        Slotted,
        lambda v: Holder(Slotted(v)),
        lambda v: deque([v]),
        lambda v: functools.partial(print, v),
        _closure,
        _generator,
        lambda v: lambda x=v: x,
        lambda v: iter([v]),
        lambda v: v.append,
        lambda v: SimpleNamespace(a=v),
        lambda v: np.array([v, None], dtype=object),
        lambda v: map(str, [v]),
        lambda v: [1.0] * 100 + [v],
        lambda v: BaseException(v, v),
        lambda v: property(_closure(v)),
    ],
)
def test_walk_finds_what_is_held(wrap) -> None:
    """Wherever Python lets one thing hold another."""
    target = [1]
    assert finds(wrap(target), target)
    assert not finds(wrap([1]), target)


def test_walk_follows_weak_references_and_views() -> None:
    """The collector does not."""
    target = Slotted(1)
    assert finds(weakref.ref(target), target)
    array = np.zeros(8)
    assert finds(array[2:][1:], array)
    assert finds(memoryview(array), array)


def test_walk_ends_at_libraries_and_says_when_it_meets_the_namespace() -> None:
    """Everything holds on to modules; only a handle on all variables counts."""
    target = [1]
    found = search([np, print, len], {id(target): None}, NAMESPACE, Budget())
    assert (found.marked, found.everything) == ([], False)
    assert search([[NAMESPACE]], {}, NAMESPACE, Budget()).everything
    assert search([NAMESPACE.get], {}, NAMESPACE, Budget()).everything


def test_walk_that_runs_out_says_so() -> None:
    """Of objects or of time."""
    large = [[i] for i in range(20_000)]
    assert search([large], {}, NAMESPACE, Budget(objects=1000)).overflow
    ticks = iter(range(10_000))
    assert search([large], {}, NAMESPACE, Budget(seconds=3, clock=lambda: next(ticks))).overflow


def _put(box, value):
    box[0] = value


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, 2], lambda v: _put(v, 3)),
        ([1.5], lambda v: _put(v, v[0] + 1)),
        ({"k": 1}, lambda v: v.update(k=2)),
        ({1}, lambda v: v.add(2)),
        (deque([1]), lambda v: v.append(2)),
        (np.zeros(3), lambda v: _put(v, 1)),
        (Holder(1), lambda v: setattr(v, "value", 2)),
        (Slotted(1), lambda v: setattr(v, "value", 2)),
        ([[[1]]], lambda v: v[0][0].append(2)),
        (bytearray(b"a"), lambda v: v.extend(b"b")),
        (QuantumCircuit(1), lambda v: v.rx(0.1, 0)),
        (SimpleNamespace(a=[]), lambda v: v.a.append(1)),
    ],
)
def test_snapshot_tells_a_change(value, change) -> None:
    """And is quiet when there was none."""
    snapshot = Snapshot({"name": value}, NAMESPACE, Budget(seconds=30))
    assert snapshot.changed()[0] == set()
    change(value)
    assert snapshot.changed()[0] == {"name"}


def test_snapshot_names_the_object_inside_that_changed() -> None:
    """So that another name for it is known, too."""
    inner: list[int] = []
    snapshot = Snapshot({"outer": {"k": inner}}, NAMESPACE, Budget(seconds=30))
    inner.append(1)
    names, objects = snapshot.changed()
    assert names == {"outer"}
    assert [found is inner for found in objects] == [True]


def test_object_that_shows_nothing_of_its_inside_counts_as_changed() -> None:
    """So does what is too large to be looked at."""
    rng = np.random.default_rng(1)
    assert Snapshot({"rng": rng}, NAMESPACE, Budget(seconds=30)).changed()[0] == {"rng"}
    large = [[i] for i in range(20_000)]
    assert Snapshot({"large": large}, NAMESPACE, Budget(objects=1000)).changed()[0] == {"large"}


def test_code_of_libraries_is_no_data() -> None:
    """Classes and functions of the notebook are looked into."""
    assert all(is_code(value) for value in (np, np.add, QuantumCircuit, print, functools.lru_cache))
    assert not any(is_code(value) for value in ([], [].append, np.zeros(1)))
