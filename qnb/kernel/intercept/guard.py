"""The story of a guarded call: read it, ask, run the copies, follow the result.

Enters: a call of a guarded method. Leaves: what the method would have given, after it was decided and recorded.
Never: runs anything of a call that was not allowed; judges a call inside another one again.
"""

from __future__ import annotations

from typing import Any, Protocol

from qnb.kernel.intercept import jobs, leaving
from qnb.kernel.intercept.targets import Place
from qnb.kernel.intercept.token import Token, inside, run_inside
from qnb.kernel.intercept.trampoline import Hook
from qnb.model import Call, Retrieval

_AER_RUN = ("qiskit_aer.backends.aerbackend", "AerBackend.run")


class Session(Protocol):
    """What the guard asks."""

    def begin(self, call: Call) -> jobs.Ticket:
        """Decide, durably, whether `call` may run.

        Raises:
            DeniedError: it may not.
            QnbError: no decision could be made or recorded.
        """

    def retrieve(self, retrieval: Retrieval) -> jobs.Ticket:
        """Decide, durably, whether the results of a job that nobody saw submitted may be fetched.

        Raises:
            DeniedError: they may not.
            QnbError: no decision could be made or recorded.
        """


class Guard:
    """Stands between callers and the methods of the table while it has a session."""

    def __init__(self) -> None:
        self.session: Session | None = None

    def __call__(self, place: Place, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Guard one call of the method that `hook` stands in for.

        Raises:
            DeniedError: the policy says no; nothing has run.
            QnbError: the call could not be judged, decided or recorded.
        """
        session = self.session
        reader = place.target.reader
        ours = place.static or _is_ours(args, place.base)
        if session is not None and reader == "result":
            return self._result(session if ours else None, hook, args, kwargs)
        if session is None or not ours:
            return hook.original(*args, **kwargs)
        if reader == "submission":
            jobs.note_submission(args[0])
            return hook.original(*args, **kwargs)
        token = inside()
        if token is not None:
            return _run(hook, args, kwargs, token)
        from qnb.kernel.intercept.readers import read  # imports the SDK, which whoever calls its method has loaded

        subject, rest = (None, args) if place.static else (args[0], args[1:])
        judged = read(reader, hook, subject, rest, kwargs)
        if judged is None:
            return hook.original(*args, **kwargs)
        ticket = session.begin(judged.call)
        keep = getattr(ticket, "keep", None)  # a ticket that came from another process keeps nothing
        if keep is not None:
            keep(judged.circuits)
        token = Token(judged.pins)
        follower = jobs.Follower(ticket, token)
        try:
            judged, follower.names = leaving.neutralise(judged, ticket)
            value = run_inside(token, _run, hook, judged.args, judged.kwargs, token)
        except BaseException as error:
            follower.failed(error)
            raise
        return jobs.follow(value, follower)

    @staticmethod
    def _result(session: Session | None, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a job: recorded as the end of what was seen submitted, else as a retrieval.

        Without a session the object is none of the SDK's jobs, and only followed where a guarded call gave it out.

        Raises:
            DeniedError: it may not be retrieved.
            QnbError: it could not be decided or recorded, and is withheld.
        """
        follower = jobs.follower_of(args)
        if follower is None and session is not None and inside() is None and not jobs.was_submitted_here(args[0]):
            from qnb.kernel.intercept.calls import describe_job

            follower = jobs.retrieved(args[0], session.retrieve(describe_job(args[0])))
        if follower is None:
            return hook.original(*args, **kwargs)
        return follower.read(args[0], hook.original, args, kwargs)


def _is_ours(args: tuple[Any, ...], base: type) -> bool:
    """Whether the method was called on something below the base; a mixin's method serves others too."""
    if not args:
        return False
    return isinstance(args[0], base) or (isinstance(args[0], type) and issubclass(args[0], base))


def _run(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], token: Token) -> Any:
    """Run the original; Aer's on a stand-in whose options nobody can change before its worker reads them."""
    if (hook.original.__module__, hook.name) != _AER_RUN:
        return hook.original(*args, **kwargs)
    from qnb.kernel.intercept.calls import pinned

    backend = args[0]
    stand_in = token.pins.get(id(backend)) or pinned(backend)
    job = hook.original(stand_in, *args[1:], **kwargs)
    if getattr(job, "_backend", None) is stand_in:
        job._backend = backend  # noqa: SLF001 - `job.backend()` is the caller's own
    return job
