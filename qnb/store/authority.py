"""The authority: it decides, signs and appends, and nothing is appended but through it.

Enters: requests, and what was observed of their ends. Leaves: decisions and receipts, durable before they are returned.
Never: content (digests and committed texts only), an allow that could not be recorded.

Today it lives in the process that asks, which is a finding of the posture. Everything that crosses its surface is plain
data, so that it can move behind a local agent or a gateway.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qnb.core.checkpoint import Signer
from qnb.core.digester import Digester, Json
from qnb.core.evaluations import Batch
from qnb.core.kept import vouched
from qnb.core.policy import Policy, digest_policy, parse_policy
from qnb.core.rotation import rotation_statement
from qnb.core.seal import Recipient, seal
from qnb.core.statement import (
    Context,
    Statement,
    decision_statement,
    declassify_statement,
    encode,
    execution_statement,
    key_statement,
    policy_statement,
    retrieval_statement,
    seal_statement,
    share_statement,
    unseal_statement,
)
from qnb.errors import DeniedError, PolicyError
from qnb.model import Call, Decision, Label, Outcome, Principal, Receipt, Request, Retrieval
from qnb.store.config import load_policy, principal
from qnb.store.leases import Lease, hold_key
from qnb.store.log import Log
from qnb.store.log_key import load_signer
from qnb.store.names import save_names
from qnb.store.versions import observe_versions


class Authority:
    """Decide, record, head.

    Args:
        policy: in force for the life of this object.
        log: open for writing.
        signer: the log's keys.
        who: the principal that everything is decided for.
        clock: seconds since the epoch.
        home: where maps of names are kept; None: nowhere.
    """

    def __init__(
        self,
        policy: Policy,
        log: Log,
        signer: Signer,
        who: Principal,
        clock: Callable[[], float] = time.time,
        home: Path | None = None,
    ) -> None:
        self.policy = policy
        self.principal = who
        self.run = uuid.uuid4().hex
        self._log = log
        self._clock = clock
        self._home = home
        self._lease: Lease | None = None
        self._signer = signer
        self._digesters = {True: Digester(signer.digest_key), False: Digester(None)}
        self._note_policy()

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open the authority of an account.

        Raises:
            ConfigError: there is no log key; `qnb init` makes one.
            PolicyError, StorageError: the policy or the log cannot be used.
        """
        policy = load_policy(home)
        lease = hold_key(home)
        try:
            signer = load_signer(home)
            authority = cls(policy, Log.open(home / "log.db", signer), signer, principal(), home=home)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        authority._lease = lease
        return authority

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the log; everything acknowledged is durable already."""
        self._log.close()
        if self._lease is not None:
            self._lease.release()

    # --- decide ------------------------------------------------------------------------------------------------------

    def decide(
        self, request: Request, context: Context | None = None, call: Call | None = None, subject: bytes | None = None
    ) -> Decision:
        """Answer a request; the answer is a durable entry before it is returned.

        Args:
            request: the question.
            context: where it comes from; None for a command of this process.
            call: the execution that is asked for.
            subject: SHA-256 of the ciphertext it is about; of the file to load, of which a keyed digest is written.

        Raises:
            PolicyError: no decision could be made.
            StorageError: it could not be recorded; nothing may be done about it.
        """
        context = context or self.context(request.label)
        decision = self.policy.decide(request)
        statement = decision_statement(context, decision, request, call, self._digester(request.label), subject)
        return replace(decision, entry=self._append(statement))

    def require(
        self, request: Request, context: Context | None = None, call: Call | None = None, subject: bytes | None = None
    ) -> Decision:
        """As `decide`, but a no is raised.

        Raises:
            DeniedError: the policy says no; its text is the decision in a few lines.
            PolicyError, StorageError: as `decide`.
        """
        decision = self.decide(request, context, call, subject)
        if not decision.allow:
            raise denied(decision)
        return decision

    def require_change(self, request: Request, toml: bytes, files: tuple[bytes, bytes, bytes]) -> Decision:
        """As `require`, about a policy that is not in force yet and differs in who is named.

        Whether somebody may be named cannot be asked of a policy that does not name them.

        Args:
            request: the question.
            toml: `qnb.toml` as it would be.
            files: `qnb.toml`, `policy.cedar` and `policy.cedarschema` as they are.

        Raises:
            DeniedError, StorageError: as `require`.
            PolicyError: the policy would not hold, or it is another one that is in force.
        """
        proposed = parse_policy(toml, *files[1:])
        if digest_policy(*files) != self.policy.digest or proposed.data.roles != self.policy.data.roles:
            raise PolicyError("policy-changed", "the policy was changed meanwhile", "try again")
        decision = proposed.decide(request)
        context, digester = self.context(request.label), self._digester(request.label)
        decision = replace(decision, entry=self._append(decision_statement(context, decision, request, None, digester)))
        if not decision.allow:
            raise denied(decision)
        return decision

    # --- record ------------------------------------------------------------------------------------------------------

    def batch(self, label: Label, first: int) -> Batch:
        """An empty stretch of evaluations of a grant, starting at number `first`."""
        return Batch(first, self._digester(label))

    def record_execution(self, context: Context, decision: Decision, batch: Batch) -> int:
        """Record how a stretch of evaluations ended, and keep their leaves beside the entry."""
        call = batch.call
        if call is None:
            raise ValueError("an empty stretch is not recorded")
        statement = execution_statement(
            context, call, decision, batch.outcome(), self._digester(context.label), batch.evaluations()
        )
        return self._append(statement, batch.lines if len(batch) > 1 else None)

    def record_retrieval(self, context: Context, decision: Decision, retrieval: Retrieval, outcome: Outcome) -> int:
        """Record what came of fetching the results of a job."""
        digester = self._digester(context.label)
        return self._append(
            retrieval_statement(context, decision, outcome, digester, job=retrieval.job, backend=retrieval.backend)
        )

    def record_seal(
        self,
        context: Context,
        ciphertext: bytes,
        state: str | None,
        recipients: Iterable[str],
        *,
        decision: int | None = None,
        path: str | None = None,
    ) -> Receipt:
        """Record a sealing (SHA-256 of the ciphertext, fingerprints) and sign the head over it in one step."""
        statement = seal_statement(
            context, ciphertext, state, recipients, self._digester(context.label), decision=decision, path=path
        )
        return self._log.append_checkpointed(encode(statement), int(self._clock()))

    def keep_names(
        self, context: Context, decision: Decision, ciphertext: bytes, recipients: Iterable[str]
    ) -> Path | None:
        """Keep the sealed map of a job's names, durable and recorded, before the job leaves; where it is."""
        if self._home is None:
            return None
        path = save_names(self._home, decision.entry, ciphertext)
        self.record_seal(context, sha256(ciphertext).digest(), None, recipients, path=str(path))
        return path

    def record_share(
        self, context: Context, ciphertext: bytes, recipients: Iterable[str], *, decision: Decision, path: str | None
    ) -> int:
        """Record that something was sealed to recipients beyond the label's own."""
        digester = self._digester(context.label)
        return self._append(
            share_statement(context, ciphertext, recipients, digester, decision=decision.entry, path=path)
        )

    def record_unseal(
        self, context: Context, ciphertext: bytes, *, decision: Decision, status: str, path: str | None
    ) -> int:
        """Record that something was opened, or that opening it failed."""
        digester = self._digester(context.label)
        return self._append(
            unseal_statement(context, ciphertext, digester, decision=decision.entry, status=status, path=path)
        )

    def record_declassify(
        self, context: Context, content: bytes | None, target: Label, reason: str, *, decision: Decision
    ) -> int:
        """Record that content (its SHA-256; None for no single one) was lowered to `target`."""
        digester = self._digester(context.label)
        return self._append(declassify_statement(context, content, target, reason, digester, decision=decision))

    def vouch(self, notebook: str | None, cell: str | None, shown: Json) -> Json:
        """A mark on what qnb itself shows in clear below a classified cell, by which it is known again: an HMAC."""
        return self._digesters[True].commit("answer", [notebook, cell, shown])

    def record_key(self, event: str, public: str, *, session: str | None = None, **facts: Any) -> int:
        """Record a change of keys.

        Args:
            event: as `key_statement`.
            public: as `key_statement`.
            session: of the decision that it answers; None: the run of this process.
            facts: as `key_statement` takes by name.
        """
        context = self.context(self.policy.scheme.session, session=session)
        return self._append(key_statement(context, event, public, self._digester(context.label), **facts))

    def save_circuits(
        self, label: Label, decision: int, circuits: Sequence[tuple[int, bytes]], recipients: Sequence[Recipient]
    ) -> None:
        """Keep circuits (place in the call, QPY) beside their decision, sealed. They are no part of the record."""
        digester = self._digester(label)
        sealed = [(place, seal(vouched(data, digester), recipients)) for place, data in circuits]
        self._log.save_circuits(decision, sealed)

    def rotate_key(self, new: Signer) -> int:
        """Record that `new` takes over, under the last head that the old keys sign; afterwards this object is done."""
        context = self.context(self.policy.scheme.session)
        statement = rotation_statement(context, self._signer.vkeys, new.vkeys, self._digester(context.label))
        return self._log.append_checkpointed(encode(statement), int(self._clock())).index

    # --- head --------------------------------------------------------------------------------------------------------

    def head(self) -> str:
        """A checkpoint over everything recorded so far, signed now."""
        return self._log.head(int(self._clock()))

    @property
    def origin(self) -> str:
        """The log's origin line."""
        return self._log.origin

    @property
    def size(self) -> int:
        """Entries in the log."""
        return self._log.size

    # --- what every entry says ---------------------------------------------------------------------------------------

    def context(
        self,
        label: Label,
        *,
        session: str | None = None,
        notebook: str | None = None,
        cell: str | None = None,
        sequence: int | None = None,
        source: bytes | None = None,
    ) -> Context:
        """Who, where and when, now. Without a session it is the run of this process."""
        return Context(
            principal=self.principal,
            session=session or self.run,
            notebook=notebook,
            cell=cell,
            sequence=sequence,
            source=source,
            label=label,
            time=rfc3339(self._clock()),
            versions=observe_versions(),
        )

    def digester(self, label: Label) -> Digester:
        """Names content at that label."""
        return self._digester(label)

    def _digester(self, label: Label) -> Digester:
        return self._digesters[self.policy.handling(label).seal]

    def _append(self, statement: Statement, evaluations: list[bytes] | None = None) -> int:
        return self._log.append([encode(statement)], evaluations=evaluations)[0]

    def _note_policy(self) -> None:
        previous = self._log.policy()
        if previous != self.policy.digest:
            context = self.context(self.policy.scheme.session)
            self._append(policy_statement(context, self.policy.digest, previous, self._digester(context.label)))


def denied(decision: Decision) -> DeniedError:
    """A denial as an error: policy facts only, in a few lines."""
    where = "" if decision.zone is None else f" on {decision.backend or 'a backend that the policy does not list'}"
    lines = [f"denied: {decision.action} at `{decision.label}`{where}"]
    for reason in decision.reasons:
        lines.append(f"  because {reason.text} (policy `{reason.policy}`)")
        if reason.hint is not None:
            lines.append(f"  {reason.hint}")
    lines += [f"  allowed: {alternative}" for alternative in decision.alternatives]
    lines.append(f"  recorded as entry {decision.entry}")
    return DeniedError("denied", "\n".join(lines), decision=decision)


def rfc3339(seconds: float) -> str:
    """RFC 3339 UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
