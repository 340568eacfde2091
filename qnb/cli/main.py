"""`qnb`: the command line.

Each command's module is imported only when it is asked for, so that `qnb --help` stays quick. Exit codes: 0 held,
1 did not hold (denied, verification failed, findings), 2 usage or configuration.
"""

from __future__ import annotations

import json
import sys

import click

from qnb import __version__
from qnb.cli.lazy import LazyGroup
from qnb.errors import ConfigError, LabelError, PolicyError, QnbError, StorageError

_USAGE = (ConfigError, LabelError, PolicyError, StorageError)

# command -> module:attribute, and its line in `qnb --help` (importing a module only to ask would cost the quick start)
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("qnb.cli.init:init", "make the identity, the log and the policy of this account"),
    "execute": ("qnb.cli.execute:execute", "run a notebook guarded, outputs sealed"),
    "unseal": ("qnb.cli.seal:unseal", "open a sealed notebook or file"),
    "seal": ("qnb.cli.seal:seal", "seal a file for the recipients of a label"),
    "verify": ("qnb.cli.verify:verify", "check the log, a notebook's sealed outputs, or a proof"),
    "log": ("qnb.cli.log:log", "list, show, prove, export and witness the entries"),
    "witness": ("qnb.cli.witness:witness_command", "keep another log's heads, and cosign them"),
    "keys": ("qnb.cli.keys:keys", "who can open what: recipients, dataset keys, your identity"),
    "policy": ("qnb.cli.policy:policy", "show, check and explain the policy"),
    "doctor": ("qnb.cli.doctor:doctor", "the posture of this account, with remedies"),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="qnb")
def cli() -> None:
    """Decided executions, sealed outputs and signed provenance for quantum notebooks.

    Example: qnb execute analysis.ipynb -o sealed.ipynb
    """


def report_error(error: QnbError, *, as_json: bool) -> int:
    """Print an error the way every command does and return its exit code."""
    if as_json:
        click.echo(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
    else:
        click.echo(f"error: {error.message}", err=True)
        if error.hint is not None:
            click.echo(f"hint: {error.hint}", err=True)
    return 2 if isinstance(error, _USAGE) else 1


def main() -> None:
    """Console entry point."""
    try:
        cli.main(standalone_mode=False)
    except QnbError as error:
        sys.exit(report_error(error, as_json="--json" in sys.argv))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("aborted", err=True)
        sys.exit(1)
