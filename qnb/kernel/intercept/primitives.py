"""Reading calls of V2 primitives: pubs of copies, and the options that count when one runs.

Enters: `run(pubs, …)`. Leaves: `Judged`.
Never: runs a reference primitive itself: its options are read in a worker, so a stand-in with options of its own runs.
"""
# ruff: noqa: SLF001 - primitives tell little about themselves in public

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Mapping
from numbers import Real
from typing import Any

from qnb.core.circuits import digest_observables, digest_parameters
from qnb.kernel.intercept.calls import (
    Judged,
    backend_of,
    backend_options,
    common,
    describe_all,
    describe_backend,
    flattened,
    held,
    integer,
    is_aer,
    is_reference,
    options_of,
    pinned,
    plain_options,
    shallow,
)
from qnb.kernel.intercept.copies import Copier
from qnb.model import Call

_MOST = 64  # primitives whose settings are kept


def read_primitive(kind: str, name: str, primitive: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """`run(pubs, …)` of a V2 primitive; `kind` is `sampler` or `estimator`.

    Raises:
        ExecutionError: a circuit could not be read, so the call cannot be judged.
    """
    copier = Copier()
    kwargs = {key: value if key == "pubs" else copier.value(value) for key, value in kwargs.items()}
    given = args[0] if args else kwargs.pop("pubs", ())
    reference = is_reference(primitive)
    if not reference:  # a primitive of anybody's may look for what it was given, and not for what that means
        given = copier.value(list(given))
    coerce = copier.sampler_pub if kind == "sampler" else copier.estimator_pub
    pubs = [coerce(pub, kwargs.get("shots" if kind == "sampler" else "precision")) for pub in given]
    infos, orders = describe_all([pub.circuit for pub in pubs], copier)
    backend = backend_of(primitive)
    runner, pins = _runner(primitive, backend)
    options, facts = _settings(runner, primitive, backend)
    shots = [pub.shots for pub in pubs] if kind == "sampler" else []
    precisions = [pub.precision for pub in pubs] if kind == "estimator" else []
    call = Call(
        target=name,
        backend=describe_backend(primitive if backend is None else backend),
        circuits=infos,
        parameters=digest_parameters([pub.parameter_values for pub in pubs], orders),
        observables=digest_observables([pub.observables for pub in pubs]) if kind == "estimator" else None,
        precision=_smallest(precisions, _default(runner, options, "precision")) if kind == "estimator" else None,
        **{
            **facts,
            "shots": _largest(shots, _default(runner, options, "shots")) if kind == "sampler" else None,
            "seed": facts["seed"] if facts["seed"] is not None else integer(getattr(runner, "_seed", None)),
        },
    )
    handed = (pubs if reference else given, *map(copier.value, args[1:]))
    circuits = [pub.circuit for pub in pubs]
    return Judged(call, handed if runner is None else (runner, *handed), kwargs, pins, circuits)


def _runner(primitive: Any, backend: Any) -> tuple[Any, dict[int, Any]]:
    """What runs in place of a reference primitive: the same, with options and a backend of its own."""
    if not is_reference(primitive):
        return primitive, {}
    runner = shallow(primitive)
    if hasattr(runner, "_options"):
        runner._options = _own_options(runner._options)
    return runner, ({id(backend): pinned(backend)} if is_aer(backend) else {})


def _own_options(options: Any) -> Any:
    """A copy of an options object of a reference primitive, deep in its mappings and no deeper."""
    if options is None or isinstance(options, Mapping):
        return Copier().value(options)
    clone = shallow(options)
    copier = Copier()
    for name, value in vars(options).items():
        if isinstance(value, (dict, list)):
            setattr(clone, name, copier.value(value))
    return clone


@dataclasses.dataclass(slots=True)
class _Settings:
    """What the options of a primitive and of its backend came to, and what they were."""

    primitive: weakref.ref[Any]
    backend: Any
    given: dict[str, Any]
    chosen: dict[str, Any]
    types: list[type]
    options: dict[str, Any]
    facts: dict[str, Any]


_settled: dict[int, _Settings] = {}
_PLAIN = (str, int, float, bool, type(None))


def _settings(runner: Any, primitive: Any, backend: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a primitive, and what they say together with those of its backend.

    A loop asks for them again and again: they are worked out anew when one of them is another value than before. That
    is only known of plain values; with others among them (a noise model) nothing is kept.
    """
    held_options = options_of(runner)
    given = held_options if isinstance(held_options, dict) else getattr(held_options, "__dict__", {})
    chosen = getattr(held(backend, "_options"), "_fields", {})
    known = _settled.get(id(primitive))
    if (
        known is not None
        and known.primitive() is primitive
        and known.backend is backend
        and known.given == given
        and known.chosen == chosen
        and known.types == _types(given, chosen)
    ):
        return known.options, known.facts
    options = plain_options(held_options)
    facts = common(flattened(options) | backend_options(backend))
    _settled.pop(id(primitive), None)
    if _is_plain(given) and _is_plain(chosen):
        if len(_settled) >= _MOST:
            _settled.clear()
        copied = (Copier().value(dict(given)), Copier().value(dict(chosen)), _types(given, chosen))
        identity = id(primitive)
        with contextlib.suppress(TypeError):  # a primitive that nothing can refer to weakly
            mark = weakref.ref(primitive, lambda _: _settled.pop(identity, None))
            _settled[identity] = _Settings(mark, backend, *copied, options, facts)
    return options, facts


def _types(given: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[type]:
    """One and true are equal, and not the same option."""
    return [*map(type, given.values()), *map(type, chosen.values())]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN) or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))


def _default(primitive: Any, options: Mapping[str, Any], what: str) -> Any:
    attribute = getattr(primitive, f"_default_{what}", None)
    return options.get(f"default_{what}") if attribute is None else attribute


def _largest(shots: list[int | None], default: Any) -> int | None:
    used = [integer(default if item is None else item) for item in shots]
    return max((item for item in used if item is not None), default=None)


def _smallest(precisions: list[float | None], default: Any) -> float | None:
    used = [default if item is None else item for item in precisions]
    return min((float(item) for item in used if isinstance(item, Real)), default=None)
