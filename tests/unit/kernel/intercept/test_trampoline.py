"""Swapped functions look and behave as before, and get their own code back."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

import pytest
from qiskit.primitives import StatevectorSampler
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer import AerSimulator

from qnb.kernel import intercept
from qnb.kernel.intercept import trampoline


@pytest.fixture
def clean() -> Any:
    yield
    trampoline.unwrap_all()
    trampoline.remove_all()


class Base:
    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"hello {name}{mark}"


class Derived(Base):
    def greet(self, name: str, *, mark: str = "?") -> str:
        return super().greet(name, mark=mark)


def test_swapped_function_keeps_defaults_closure_and_signature(clean):
    """`super()` needs the cell, callers the defaults, tools the signature and the source."""
    seen = []

    def enter(hook: trampoline.Hook, args: Any, kwargs: Any) -> Any:
        seen.append(hook.name)
        return hook.original(*args, **kwargs)

    bound = Derived().greet
    signature, source = inspect.signature(Derived.greet), inspect.getsource(Derived.greet)
    trampoline.place(Derived.greet, enter)
    assert bound("you") == "hello you?"
    assert Derived().greet("you", mark=".") == "hello you."
    assert seen == ["Derived.greet"] * 2
    assert inspect.signature(Derived.greet) == signature
    assert inspect.getsource(Derived.greet) == source
    with pytest.raises(TypeError):
        bound()


def test_locals_of_a_swapped_frame_can_be_looked_at(clean):
    """Tracebacks and debuggers read the locals of every frame, cells included."""

    def enter(hook: trampoline.Hook, args: Any, kwargs: Any) -> Any:
        raise ValueError

    trampoline.place(Derived.greet, enter)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the message does not matter
        Derived().greet("you")
    seen = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert any(local.get("__class__") is Derived for local in seen)


def test_wrapped_attribute_without_code_is_put_back(clean):
    """What has no code is wrapped as an attribute."""

    class Holder:
        run = len

    function = trampoline.wrap(Holder, "run")
    assert function is not None
    assert Holder.run is function
    trampoline.unwrap_all()
    assert vars(Holder)["run"] is len


def test_uninstall_gives_every_function_its_own_code_back(bell):
    """Code, signature and greeting of subclasses are as they were."""
    functions = [AerSimulator.run, StatevectorSampler.run, GenericBackendV2.run]
    before = [(function.__code__, dict(function.__dict__)) for function in functions]

    class Deciding:
        calls = 0

        def begin(self, call: Any) -> Any:
            Deciding.calls += 1
            return self

        def end(self, outcome: Any) -> None:
            """Nothing to keep."""

    intercept.install(Deciding())
    intercept.install(Deciding())
    AerSimulator().run(bell).result()
    assert Deciding.calls == 1
    intercept.uninstall()
    assert [(function.__code__, dict(function.__dict__)) for function in functions] == before
    AerSimulator().run(bell).result()
    assert Deciding.calls == 1
    assert len(intercept.check()) == len(intercept.TARGETS)


def test_targets_are_all_in_place_after_install(session):
    """The posture can list them."""
    rows = dict(intercept.targets())
    assert rows["qiskit_aer.backends.aerbackend.AerBackend.run"]
    assert all(rows.values())
    assert intercept.check() == []


def test_hook_that_was_taken_out_is_named_and_put_back(session, bell):
    """Nobody knows what ran in between, so the name stays; what ran below is noticed all the same."""
    hook = trampoline.hook_of(StatevectorSampler.run)
    StatevectorSampler.run.__code__ = hook.original.__code__
    StatevectorSampler().run([bell]).result()
    assert [call.target for call in session.calls] == ["Statevector.from_instruction"]
    session.clear()
    assert intercept.check() == ["qiskit.primitives.statevector_sampler.StatevectorSampler.run"]
    StatevectorSampler().run([bell]).result()
    assert len(session.calls) == 1
    assert intercept.check() == ["qiskit.primitives.statevector_sampler.StatevectorSampler.run"]
