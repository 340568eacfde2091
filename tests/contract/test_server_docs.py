"""What the pages on the server say is what the extension does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from traitlets.config import Config

from qnb.server.app import QnbServer
from qnb.server.contract import _STATUS, schema
from qnb.server.handlers import HANDLERS

DOCS = Path(__file__).parents[2] / "docs"
REST = (DOCS / "reference" / "rest.md").read_text()


def test_settings_on_the_page_are_the_settings_and_their_defaults() -> None:
    """The block is run as a configuration file, and changes nothing."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "how-to" / "jupyterlab.md").read_text(), re.MULTILINE | re.DOTALL
    )
    config = Config()
    for block in blocks:
        exec(block, {"c": config})
    own = {name for name, trait in QnbServer.class_own_traits(config=True).items() if trait.this_class is QnbServer}
    assert set(config.QnbServer) == own
    for name, value in config.QnbServer.items():
        assert QnbServer.class_traits()[name].default() == value, name


def test_table_of_requests_is_the_table_of_handlers() -> None:
    """Each with its method and the action that an authorizer is asked."""
    rows = re.findall(r"^\| `(GET|POST) qnb/([\w-]+)` \| `(\w+)` \|([^|]*)\| `(\w+)` \|", REST, re.MULTILINE)
    assert {name for _, name, _, _, _ in rows} == set(HANDLERS)
    for method, name, action, body, answer in rows:
        handler: Any = HANDLERS[name]
        function = vars(handler)[method.lower()]
        assert action in asked(function), name
        assert answer in schema()["$defs"]
        assert answer in function.__doc__
        named = re.search(r"`(\w+Request)`", body)
        assert named is None or (named[1] in function.__doc__ and named[1] in schema()["$defs"])


def asked(function: Any) -> set[object]:
    """What the `authorized` decorator around a handler's method was given, or would take from the HTTP method."""
    cells = {}
    while function is not None:
        names = function.__code__.co_freevars
        cells |= {name: cell.cell_contents for name, cell in zip(names, function.__closure__ or (), strict=True)}
        function = getattr(function, "__wrapped__", None)
    return {cells.get("action") or "read"}


def test_table_of_errors_is_the_contract() -> None:
    """Every kind with the statuses that it comes with."""
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d, ]+) \|", REST, re.MULTILINE))
    assert set(rows) == set(schema()["$defs"]["Problem"]["properties"]["kind"]["enum"]) == set(_STATUS)
    for kind, statuses in rows.items():
        assert str(_STATUS[kind]) in statuses, kind


def test_notice_of_the_contract_is_the_event(tmp_path: Path) -> None:
    """The bus and the front end's types name the same fields and kinds."""
    import yaml

    from qnb.server.notices import SCHEMA_ID, SCHEMA_PATH

    event, notice = yaml.safe_load(SCHEMA_PATH.read_text()), schema()["$defs"]["Notice"]
    assert event["$id"] == SCHEMA_ID
    assert event["required"] == notice["required"]
    assert event["properties"]["kind"]["enum"] == notice["properties"]["kind"]["enum"]
