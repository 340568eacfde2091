"""`qnb log prove` and `qnb log export`: entries for somebody who has not the log.

Enters: indices. Leaves: proofs, in-toto attestations, W3C PROV. Never: what an entry only holds a digest of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from qnb.core.bundle import format_proof
from qnb.core.checkpoint import Signer, parse_checkpoint
from qnb.core.dsse import sign_envelope
from qnb.core.entry import EntryView, parse_statement
from qnb.core.lineage import Graph, trace
from qnb.core.picture import render_graph
from qnb.errors import ConfigError, QnbError
from qnb.store.config import home
from qnb.store.files import write_atomic
from qnb.store.log import Log
from qnb.store.log_key import open_signing
from qnb.store.verifying import load_vkeys
from qnb.store.witness import noted_witness

_OUT = click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@_OUT
@click.option("--json", "as_json", is_flag=True, help="Print the proof, which is JSON in any case, on one line.")
def prove(*, index: int, output: Path | None, as_json: bool) -> None:
    """Write the proof of entry INDEX: its statement, where it stands, and the signed head over it.

    Whoever has the log's public keys (log.vkey) verifies it offline: `qnb verify FILE --key log.vkey`. A head is signed
    now if none covers the entry yet; one that a witness cosigned is taken where it does.

    Example: qnb log prove 12 -o entry-12.json
    """
    with open_signing(home()) as (signer, log):
        parse_statement(log.entry(index))  # before a head is signed for it
        note = _cosigned_head(log, index) or log.head(int(time.time()))
        ring = load_vkeys(home(), log) or signer.vkeys
        value = format_proof(log.receipt(index, note), ring.at(parse_checkpoint(note).size), log.rotations())
    _write(json.dumps(value, indent=None if as_json else 1) + "\n", output)
    if output is not None and not as_json:
        click.echo(f"proof of entry {index}: {output}")


@click.command()
@click.argument("indices", nargs=-1, type=click.IntRange(min=0), metavar="[INDEX]...")
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(["intoto", "prov", "svg"]),
    help="in-toto attestations (DSSE, one a line), W3C PROV-JSON, or a picture of the same graph.",
)
@_OUT
@click.option("--json", "as_json", is_flag=True, help="With -o: say what was written as one JSON object.")
def export(*, indices: tuple[int, ...], format_: str, output: Path | None, as_json: bool) -> None:
    """Export entries: all of them, or those at INDEX...

    Attestations are signed with the log's key, Ed25519 and ML-DSA-44: `qnb verify FILE --key log.vkey`. PROV needs the
    `export` extra (pip install 'qnb[export]'); the picture needs nothing. What is classified stays a keyed digest.

    Example: qnb log export --format prov -o provenance.json
    """
    if format_ == "intoto":
        with open_signing(home()) as (signer, log):
            count, text = _exported(log, indices, lambda entries: "".join(_attest(entries, signer)))
    else:
        render = render_graph if format_ == "svg" else _prov
        with Log.open(home() / "log.db", readonly=True) as log:
            count, text = _exported(log, indices, lambda entries: render(trace(_views(entries), log.origin)))
    _write(text, output)
    if output is not None:
        said = {"format": format_, "entries": count, "file": str(output)}
        click.echo(json.dumps(said) if as_json else f"{count} entries as {format_}: {output}")


def _exported(
    log: Log, indices: tuple[int, ...], render: Callable[[Iterator[tuple[int, bytes]]], str]
) -> tuple[int, str]:
    if indices:
        chosen = sorted(set(indices))
        return len(chosen), render((index, log.entry(index)) for index in chosen)
    return log.size, render(enumerate(log.entries()))


def _cosigned_head(log: Log, index: int) -> str | None:
    """The last head that this account's witness cosigned, if it covers the entry."""
    noted = noted_witness(home())
    size = None if noted is None else noted.cosigned
    return None if size is None or size <= index else log.checkpoint_of(size)


def _attest(entries: Iterator[tuple[int, bytes]], signer: Signer) -> Iterator[str]:
    for index, entry in entries:
        try:
            parse_statement(entry)
        except QnbError as error:  # what is not ours is not attested
            raise ConfigError("not-a-statement", f"entry {index}: {error.message}", "`qnb verify` says more") from None
        yield json.dumps(sign_envelope(entry, signer)) + "\n"


def _views(entries: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, EntryView]]:
    for index, entry in entries:
        try:
            yield index, parse_statement(entry)
        except QnbError:  # `qnb verify` names it
            continue


def _prov(graph: Graph) -> str:
    try:
        from qnb.core.prov import render_prov
    except ImportError:
        raise ConfigError(
            "no-prov", "PROV needs the `prov` package, which is not installed", "pip install 'qnb[export]'"
        ) from None
    return render_prov(graph)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomic(output, text.encode("utf-8", "surrogatepass"), mode=0o644)
