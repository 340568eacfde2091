"""The story of a cell, with a real policy, log and seal; what the SDK would hand over is made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qnb.core.directive import parse_directive
from qnb.core.entry import EntryView, parse_statement
from qnb.core.notebook import parse_bundle
from qnb.core.seal import parse_identities, parse_recipient
from qnb.core.seal.output import MIME, open_output
from qnb.errors import ConfigError, DeniedError, LabelError, QnbError, StorageError
from qnb.kernel.lowering import declassify
from qnb.kernel.session import Session
from qnb.model import Backend, Call, CircuitInfo, Outcome, Retrieval
from qnb.store.authority import Authority
from qnb.store.config import init_home, load_policy
from qnb.store.datasets import make_dataset

AER = Backend("aer_simulator", "qiskit_aer.backends.aer_simulator.AerSimulator")
ELSEWHERE = Backend("patient_7", "somewhere.Else")
BELL = CircuitInfo(b"\1" * 32, b"\2" * 32, 2, 2, 4, {"h": 1, "cx": 1, "measure": 2})
CALL = Call("AerBackend.run", AER, (BELL,), shots=100)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An account's home."""
    init_home(tmp_path / "home", passphrase=None)
    return tmp_path / "home"


@pytest.fixture
def session(home: Path) -> Iterator[Session]:
    """A session whose guard is in place and whose clock stands still."""
    with Authority.open(home) as authority:
        yield Session(authority, check_guard=list, settle=lambda: None, clock=lambda: 0.0)


def open_cell(session: Session, line: str = ""):
    return session.open_cell(line, parse_directive(line) if line else None, cell_id="c")


def entries(session: Session) -> list[EntryView]:
    return [parse_statement(data) for data in session.authority._log.entries()]


def kinds(session: Session) -> list[str]:
    return [view.kind for view in entries(session) if view.kind != "policy"]


def test_unlabelled_cell_has_the_sessions_label(session: Session) -> None:
    """What declares nothing is internal, and stays in clear."""
    cell = open_cell(session)
    assert (str(cell.label), cell.classified, cell.refused) == ("internal", False, None)


def test_declared_label_below_the_sessions_is_raised(session: Session) -> None:
    """A cell cannot declare itself below the session's default."""
    assert str(open_cell(session, "%%qsecure public").label) == "internal"


def test_label_floats_up_until_the_end(session: Session) -> None:
    """Later cells carry the join of all labels run so far, and say which cell raised it."""
    open_cell(session, "%%qsecure restricted//ip")
    second = open_cell(session, "%%qsecure confidential//phi")
    third = open_cell(session)
    assert str(second.label) == "restricted//ip,phi"
    assert (str(third.label), third.carried, third.classified) == ("restricted//ip,phi", 2, True)


def test_refused_cell_does_not_raise_the_kernel(session: Session) -> None:
    """A label that is none refuses the cell and leaves the kernel where it was."""
    cell = open_cell(session, "%%qsecure nonsense")
    assert isinstance(cell.refused, LabelError)
    assert open_cell(session).classified is False


def test_missing_hook_refuses_only_classified_cells(home: Path) -> None:
    """A guard that cannot guard refuses from the classified levels up; plain cells run."""
    with Authority.open(home) as authority:
        session = Session(authority, check_guard=lambda: ["AerBackend.run"], settle=lambda: None)
        assert open_cell(session).refused is None
        refused = open_cell(session, "%%qsecure").refused
        assert refused is not None
        assert refused.code == "guard-removed"


def test_decision_is_recorded_before_the_ticket_is_handed_out(session: Session) -> None:
    """One execution leaves a decision at once and an execution entry when it ends, before the cell does."""
    open_cell(session, "%%qsecure")
    ticket = session.begin(CALL)
    assert kinds(session) == ["decision"]
    ticket.end(Outcome("ok", result=b"\3" * 32, shots=100, seed=7))
    assert kinds(session) == ["decision", "execution"]


def test_loop_shares_a_decision_and_one_entry_for_the_rest(session: Session) -> None:
    """Evaluations of one structure run under one grant; those after the first are recorded together."""
    cell = open_cell(session, "%%qsecure")
    for seed in range(50):
        session.begin(replace(CALL, seed=seed)).end(Outcome("ok", seed=seed))
    assert kinds(session) == ["decision", "execution"]
    session.end_executions(cell)
    assert kinds(session) == ["decision", "execution", "execution"]
    view = entries(session)[-1]
    assert view.evaluations is not None
    assert view.evaluations[:2] == (1, 49)


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, shots=101),
        replace(CALL, backend=replace(AER, name="aer_simulator_statevector")),
        replace(CALL, circuits=(replace(BELL, structure=b"\4" * 32),)),
        replace(CALL, options=b"\5" * 32),
        replace(CALL, noise_model=b"\6" * 32),
    ],
)
def test_another_shape_of_execution_is_decided_anew(session: Session, other: Call) -> None:
    """A grant covers what was judged, and nothing else."""
    open_cell(session, "%%qsecure")
    session.begin(CALL).end(Outcome("ok"))
    session.begin(other).end(Outcome("ok"))
    assert kinds(session).count("decision") == 2


def test_grant_of_one_cell_is_not_used_by_the_next(session: Session) -> None:
    """Each cell is decided for itself."""
    cell = open_cell(session, "%%qsecure")
    session.begin(CALL).end(Outcome("ok"))
    session.end_executions(cell)
    open_cell(session)
    session.begin(CALL).end(Outcome("ok"))
    assert kinds(session).count("decision") == 2


def test_denial_is_recorded_and_says_policy_facts_only(session: Session) -> None:
    """A denial has an entry and a way on, and does not repeat the name that the caller chose."""
    cell = open_cell(session, "%%qsecure restricted --purpose secret_purpose")
    with pytest.raises(DeniedError) as caught:
        session.begin(replace(CALL, backend=ELSEWHERE))
    assert kinds(session) == ["decision"]
    assert cell.denials == [caught.value]
    for text in ("patient_7", "somewhere", "secret_purpose"):
        assert text not in str(caught.value)
    assert "allowed: " in str(caught.value)


def test_late_execution_is_decided_under_the_kernels_label(session: Session) -> None:
    """A thread that outlives its cell is decided at the label that the kernel has come to."""
    cell = open_cell(session, "%%qsecure restricted")
    session.end_executions(cell)
    session.begin(CALL).end(Outcome("ok"))
    assert [view.label for view in entries(session)[-2:]] == ["restricted", "restricted"]
    assert kinds(session) == ["decision", "execution"]


def test_sealed_output_opens_with_the_identity_alone(session: Session, home: Path) -> None:
    """What was sealed comes back with the header that binds it, and the entry names its digest."""
    cell = open_cell(session, "%%qsecure --purpose why")
    outputs = [{"output_type": "stream", "name": "stdout", "text": "canary"}]
    session.end_executions(cell)
    bundle = session.seal_output(cell, outputs, "ok")
    assert "canary" not in str(bundle)
    sealed = parse_bundle(bundle[MIME])
    header, opened = open_output(sealed, parse_identities((home / "identity").read_text()))
    assert opened == outputs
    assert (header.label, header.cell, header.purpose, header.state) == ("confidential", "c", "why", "ok")
    assert entries(session)[-1].ciphertext == sealed.digest.hex()
    assert sealed.receipt is not None
    assert sealed.receipt.index == session.authority.size - 1


def test_output_with_numbers_of_numpy_is_sealed_as_it_would_have_been_sent(session: Session, home: Path) -> None:
    """Jupyter spells them in clear cells, so a sealed one need not be withheld for them."""
    cell = open_cell(session, "%%qsecure")
    data = {"application/json": [np.int64(3), np.float32(0.5), float("nan")]}
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    sealed = parse_bundle(session.seal_output(cell, [output], "running")[MIME])
    _, (opened,) = open_output(sealed, parse_identities((home / "identity").read_text()))
    assert opened["data"] == {"application/json": [3, 0.5, "nan"]}


def test_running_output_has_no_entry(session: Session) -> None:
    """Live updates are sealed, not recorded."""
    cell = open_cell(session, "%%qsecure")
    before = session.authority.size
    assert "entry" not in session.seal_output(cell, [], "running")[MIME]
    assert session.authority.size == before


def test_declassification_is_decided_and_recorded_with_its_reason_committed(session: Session) -> None:
    """Lowering a label leaves a decision and an entry, neither with the reason's text."""
    cell = open_cell(session, "%%qsecure restricted")
    declassify(session, cell, "internal", "slide for the board", b"\7" * 32)
    assert kinds(session) == ["decision", "declassify"]
    assert b"slide" not in b"".join(session.authority._log.entries())


@pytest.mark.parametrize(
    ("label", "reason", "error"),
    [
        ("restricted", "r", LabelError),
        ("confidential", "r", LabelError),  # lower, but sealed: it must not come out in clear
        ("nonsense", "r", LabelError),
        ("internal", " ", ConfigError),
    ],
)
def test_declassification_that_lowers_nothing_or_says_nothing_is_refused(
    session: Session, label: str, reason: str, error: type[QnbError]
) -> None:
    """Bad input is an error before anything is decided."""
    cell = open_cell(session, "%%qsecure restricted")
    with pytest.raises(error):
        declassify(session, cell, label, reason, b"\7" * 32)
    assert kinds(session) == []


def test_job_that_cannot_be_settled_still_ends_the_cell_and_records_the_rest(home: Path) -> None:
    """A failure at the end leaves no cell open under whose grants a thread could go on unrecorded."""

    def settle() -> None:
        raise StorageError("full", "the disk is full", "make room")

    with Authority.open(home) as authority:
        session = Session(authority, check_guard=list, settle=settle, clock=lambda: 0.0)
        cell = open_cell(session, "%%qsecure")
        for _ in range(3):
            session.begin(CALL).end(Outcome("ok"))
        with pytest.raises(StorageError):
            session.end_executions(cell)
        assert cell.state == "ended"
        assert kinds(session) == ["decision", "execution", "execution"]


def test_status_says_policy_facts(session: Session) -> None:
    """The status names the label and who raised it."""
    open_cell(session, "%%qsecure restricted")
    status = session.status()
    assert (status["label"], status["raised_by_cell"], status["sealed"]) == ("restricted", 1, True)


ELSEWHERES_JOB = Retrieval(AER, "job-of-patient-7")


def test_retrieval_is_decided_before_and_recorded_after(session: Session) -> None:
    """As an execution is, with the job committed to."""
    open_cell(session, "%%qsecure")
    ticket = session.retrieve(ELSEWHERES_JOB)
    assert kinds(session) == ["decision"]
    ticket.end(Outcome("ok", result=b"\3" * 32))
    decision, retrieval = entries(session)[-2:]
    assert (decision.action, retrieval.kind, retrieval.status) == ("retrieve", "retrieval", "ok")
    assert retrieval.backend == "aer_simulator"
    assert "patient" not in str(retrieval.predicate)


def test_retrieval_that_cannot_be_recorded_withholds_the_cell(session: Session, monkeypatch) -> None:
    """The results are withheld, and so is the output of the cell that asked for them."""
    cell = open_cell(session, "%%qsecure")
    ticket = session.retrieve(ELSEWHERES_JOB)

    def full(*_: object) -> None:
        raise StorageError("full", "the disk is full", "make room")

    monkeypatch.setattr(session.authority, "record_retrieval", full)
    with pytest.raises(StorageError):
        ticket.end(Outcome("ok"))
    with pytest.raises(StorageError):
        session.end_executions(cell)


def test_results_from_an_unlisted_place_are_denied_from_confidential_up(session: Session) -> None:
    """Where nobody has said whose machine it is, nothing confidential can have run."""
    open_cell(session)
    session.retrieve(Retrieval(ELSEWHERE, None)).end(Outcome("ok"))
    open_cell(session, "%%qsecure")
    with pytest.raises(DeniedError):
        session.retrieve(Retrieval(ELSEWHERE, None))


def test_status_names_what_the_guard_does_not_reach(home: Path) -> None:
    """Loaded packages that can execute circuits are part of the posture."""
    with Authority.open(home) as authority:
        session = Session(authority, check_guard=list, settle=lambda: None, unguarded=lambda: ["cirq"])
        assert session.status()["guard_does_not_reach"] == ["cirq"]


def test_calibration_is_in_the_record(session: Session) -> None:
    """Its time and its digest, as the backend object held them."""
    calibrated = replace(AER, calibration_time="2026-11-25T00:00:00+00:00", calibration=b"\7" * 32)
    open_cell(session, "%%qsecure")
    session.begin(replace(CALL, backend=calibrated)).end(Outcome("ok"))
    assert entries(session)[-1].predicate["backend"]["calibration"] == "07" * 32


def test_cell_under_a_dataset_key_is_sealed_to_it_alone(home: Path) -> None:
    """`--to` with such a key takes the place of the level's own recipients; beside others it refuses the cell."""
    key = parse_recipient(make_dataset(home, "trial").recipient)
    own = next(name for name in load_policy(home).data.recipients if name != "trial")
    with Authority.open(home) as authority:
        session = Session(authority, check_guard=list, settle=lambda: None)
        cell = open_cell(session, "%%qsecure restricted --to trial")
        assert (cell.refused, cell.recipients) == (None, (key,))
        assert entries(session)[-1].action == "share"
        refused = open_cell(session, f"%%qsecure restricted --to trial --to {own}").refused
        assert refused is not None
        assert refused.code == "dataset-key-alone"
