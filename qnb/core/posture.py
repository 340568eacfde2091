"""The posture: what is known about an account, as findings with remedies.

Enters: facts that were observed, None where they could not be. Leaves: findings, worst first. Never: a finding about
something that nobody looked at, a secret or a labelled name in a fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qnb.model import Finding

_SEVERITIES = ("high", "medium", "low", "info")
_LITTLE_SPACE = 16 << 20  # bytes: a day of small entries, not one of large loops


@dataclass(frozen=True, slots=True)
class WitnessFacts:
    """What is known of the second party that keeps a log's heads.

    Attributes:
        folder: that heads are published to; None when no witness was ever set up.
        names: of those that cosigned.
        behind: entries of the log that no cosigned head covers; None when nobody cosigned yet.
        error: what the folder says against the log, None when nothing.
        unreachable: why the folder cannot be read, None when it can.
    """

    folder: str | None = None
    names: tuple[str, ...] = ()
    behind: int | None = None
    error: str | None = None
    unreachable: str | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What could be observed of an account's state.

    Attributes:
        home: path of QNB_HOME.
        home_mode, identity_mode, log_key_mode: permission bits; None when there is no such file of this account's own.
        network_filesystem: its type when the home lies on one.
        identity: `missing`, `plain`, `passphrase`, `keyring`, `mounted`, or None when it cannot be read.
        identity_named: whether the policy names its recipient; None when either is not known.
        retired_plain: identities that a rotation kept and that lie in clear.
        left: dataset keys -> how many that are no members any more may have their file.
        shredded: names of keys that were destroyed -> when.
        returned: names of those of them whose file is back.
        policy_error: why the policy cannot be used, None when it can.
        policy_packaged: True when the default inside the package is in force and no folder of the account's own.
        readers: classified level -> number of recipients its outputs are sealed to.
        recovery: whether the policy has a recovery group with somebody in it.
        log_error: why the log cannot be read, None when it can.
        entries: entries in the log.
        log_hint: what to do about `log_error`.
        log_writable: whether this account can write the log, None when there is none.
        disk_free: bytes left on the disk of the home.
        open_executions: allowed executions without a recorded end.
        left_open: those of them whose kernel is gone; None where that cannot be told.
        witness: what is known of the log's witness.
        credentials: where provider credentials stand that any code of the account can read (variable or file names).
    """

    home: str
    home_mode: int | None = None
    identity_mode: int | None = None
    log_key_mode: int | None = None
    network_filesystem: str | None = None
    identity: str | None = None
    identity_named: bool | None = None
    retired_plain: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    shredded: Mapping[str, str] = field(default_factory=dict)
    returned: tuple[str, ...] = ()
    policy_error: str | None = None
    policy_packaged: bool | None = None
    readers: Mapping[str, int] | None = None
    recovery: bool | None = None
    log_error: str | None = None
    log_hint: str | None = None
    log_writable: bool | None = None
    disk_free: int | None = None
    entries: int | None = None
    open_executions: int | None = None
    left_open: int | None = None
    witness: WitnessFacts | None = None
    credentials: tuple[str, ...] = ()


def assess_account(facts: AccountFacts) -> list[Finding]:
    """Say what follows from the facts of an account, worst first."""
    found = [
        *_assess_home(facts),
        *_assess_keys(facts),
        *_assess_readers(facts),
        *_assess_datasets(facts),
        *_assess_policy(facts),
        *_assess_log(facts),
        *_assess_zones(facts),
    ]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def assess_guard(missing: Iterable[str], unguarded: Iterable[str]) -> list[Finding]:
    """Say what follows from how a kernel is guarded.

    Args:
        missing: qualified names of methods that should be guarded and are not.
        unguarded: names of loaded packages that can execute circuits and that nothing guards.
    """
    found = [
        Finding(
            "guard-removed",
            "high",
            f"`{name}` is not guarded: what runs by it is neither decided nor recorded, and no classified cell runs",
            "restart the kernel and load qnb again; delete an attribute that hides a method of its class",
            {"name": name},
        )
        for name in missing
    ]
    found += [
        Finding(
            "package-not-guarded",
            "medium",
            f"`{name}` is loaded, and what it executes is neither decided nor recorded",
            "run circuits with Qiskit, or do not load it into a kernel with classified work",
            {"name": name},
        )
        for name in unguarded
    ]
    return found


def holds(findings: list[Finding]) -> bool:
    """Whether nothing of high or medium severity was found."""
    return all(finding.severity in ("low", "info") for finding in findings)


def _assess_home(facts: AccountFacts) -> Iterator[Finding]:
    if facts.network_filesystem is not None:
        yield Finding(
            "home-on-network",
            "high",
            f"the home lies on a network file system ({facts.network_filesystem}), where the log can be torn",
            "set QNB_HOME to a folder on a local disk",
        )
    for name, mode, allowed in (
        ("", facts.home_mode, 0o700),
        ("identity", facts.identity_mode, 0o600),
        ("log.key", facts.log_key_mode, 0o600),
    ):
        if mode is not None and mode & ~allowed:
            path = f"{facts.home}/{name}".rstrip("/")
            yield Finding(
                "open-to-others",
                "high",
                f"`{path}` is open to other accounts (mode {mode:04o})",
                f"chmod {allowed:o} '{path}'",
                {"path": path, "mode": f"{mode:04o}"},
            )


def _assess_keys(facts: AccountFacts) -> Iterator[Finding]:
    if facts.identity == "missing":
        yield Finding(
            "no-identity", "medium", "this account has no identity and cannot open sealed outputs", "run `qnb init`"
        )
    elif facts.identity == "plain":
        yield Finding(
            "identity-unprotected",
            "medium",
            "the identity is protected by its file mode alone: whoever copies the file can open everything",
            "`qnb keys lock` puts it under a passphrase",
        )
    if facts.identity != "plain" and facts.retired_plain:
        yield Finding(
            "identity-unprotected",
            "medium",
            f"{facts.retired_plain} identities kept from before a rotation lie in clear and open what is not rewrapped",
            "`qnb keys lock` puts them under a passphrase",
            {"count": facts.retired_plain},
        )
    if facts.identity_named is False:
        yield Finding(
            "identity-not-named",
            "low",
            "the policy does not name this account's recipient: nothing is sealed for it",
            "have a data owner add it: `qnb keys show --recipient`, `qnb keys add NAME RECIPIENT --group owners`",
        )


def _assess_readers(facts: AccountFacts) -> Iterator[Finding]:
    if facts.readers is not None:
        for level, count in facts.readers.items():
            if count == 0:
                yield Finding(
                    "no-recipient",
                    "high",
                    f"nobody is named who could open `{level}` outputs, so no `{level}` cell runs",
                    "run `qnb init`, or name recipients in the policy",
                    {"level": level},
                )
    if facts.recovery is False:
        yield Finding(
            "no-recovery",
            "medium",
            "no recovery recipient: with the identity lost, everything sealed is lost",
            "`qnb keys backup identity.svg`, and name that of a key in a safe: "
            "`qnb keys add recovery-key RECIPIENT --group recovery`",
        )


def _assess_datasets(facts: AccountFacts) -> Iterator[Finding]:
    for name, count in facts.left.items():
        yield Finding(
            "dataset-key-held",
            "medium",
            f"{count} recipients that left may still hold the dataset key `{name}` and open what is sealed under it",
            f"`qnb keys rotate {name}`, give its members the new file, and rewrap",
            {"key": name, "count": count},
        )
    for name, time in facts.shredded.items():
        if name in facts.returned:
            yield Finding(
                "shredded-key-back",
                "high",
                f"the key `{name}`, shredded at {time}, is back: what was erased could be opened with its file",
                f"find out where it came from, then `qnb keys shred {name}`",
                {"key": name, "time": time},
            )
        else:
            yield Finding(
                "key-shredded",
                "info",
                f"the key `{name}` was shredded at {time}: what was sealed under it is erased here",
                "destroy its copies in backups and in other homes too",
                {"key": name, "time": time},
            )


def _assess_policy(facts: AccountFacts) -> Iterator[Finding]:
    if facts.policy_error is not None:
        yield Finding(
            "policy-unusable",
            "high",
            f"the policy cannot be used, so no circuit runs: {facts.policy_error}",
            "`qnb policy check` names the place",
        )
    elif facts.policy_packaged:
        yield Finding("policy-packaged", "low", "the default policy of the package is in force", "run `qnb init`")


def _assess_log(facts: AccountFacts) -> Iterator[Finding]:
    if facts.log_error is not None:
        yield Finding(
            "log-unusable",
            "high",
            f"the log cannot be read, so no circuit runs: {facts.log_error}",
            facts.log_hint or "keep the file as it is for the auditor, and check the disk and its permissions",
        )
    if facts.log_writable is False:
        yield Finding(
            "log-read-only",
            "high",
            "the log cannot be written by this account, so no circuit runs",
            "check the owner and the mode of the home and of log.db, and whether the disk is mounted read-only",
        )
    if facts.disk_free is not None and facts.disk_free < _LITTLE_SPACE:
        yield Finding(
            "disk-full",
            "high",
            f"the disk of the home has {facts.disk_free >> 20} MiB left; when it is full, no circuit runs",
            "free space; nothing that was acknowledged is lost",
            {"free": facts.disk_free},
        )
    yield from _assess_open(facts)
    if facts.witness is not None:
        yield from _assess_witness(facts.witness)


def _assess_open(facts: AccountFacts) -> Iterator[Finding]:
    found = facts.open_executions or 0
    left = found if facts.left_open is None else facts.left_open
    if left:
        why = "still running, or their kernel died" if facts.left_open is None else "the kernel that ran them is gone"
        yield Finding(
            "executions-open",
            "low",
            f"{left} allowed executions have no recorded end: {why}",
            "`qnb log list --kind decision` shows them as open; whether they ran to their end, nobody recorded",
            {"count": left},
        )
    if found > left:
        yield Finding(
            "executions-running",
            "info",
            f"{found - left} allowed executions are under way in a kernel that lives",
            None,
            {"count": found - left},
        )


def _assess_witness(witness: WitnessFacts) -> Iterator[Finding]:
    if witness.folder is None:
        yield Finding(
            "no-witness",
            "low",
            "nobody else keeps the log's heads: whoever holds its key could write another log and nobody would notice",
            "`qnb log witness FOLDER` publishes them to a folder of somebody else, who runs `qnb witness FOLDER`",
        )
        return
    facts = {"folder": witness.folder, "behind": witness.behind}
    if witness.error is not None:
        yield Finding(
            "log-went-back", "high", witness.error, "keep a copy of the log, and look for the newer one", facts
        )
    elif witness.unreachable is not None:
        yield Finding(
            "witness-unreachable",
            "low",
            f"the witness's folder cannot be read: {witness.unreachable}",
            "mount it, or name another with `qnb log witness FOLDER`",
            facts,
        )
    if witness.behind is None:
        yield Finding(
            "witness-silent",
            "low",
            "heads of the log are published, and no witness has cosigned one yet",
            "on the other side run `qnb witness FOLDER`, then here `qnb log witness FOLDER` again",
            facts,
        )
    elif witness.behind:
        yield Finding(
            "witness-behind",
            "low",
            f"the witness {', '.join(witness.names)} is {witness.behind} entries behind",
            "`qnb log witness FOLDER` publishes the head of now",
            facts,
        )
    else:
        yield Finding(
            "witnessed", "info", f"the witness {', '.join(witness.names)} cosigned all of the log", None, facts
        )


def _assess_zones(facts: AccountFacts) -> Iterator[Finding]:
    for place in facts.credentials:
        yield Finding(
            "credential-in-reach",
            "medium",
            f"a provider credential in `{place}` can be read by any code of this account",
            "keep it with a gateway or in a keyring, outside the notebook's account",
            {"place": place},
        )
    yield Finding(
        "authority-in-kernel",
        "info",
        "decisions are made and signed inside the kernel: this stops accidents and keeps evidence, it is no boundary",
        "keep credentials and the log's key away from code that is not trusted",
    )
