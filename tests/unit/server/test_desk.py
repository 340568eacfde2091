"""What the server opens with besides the identity itself."""

from __future__ import annotations

from typing import Any

import pytest

from qnb.core.seal import parse_recipient
from qnb.core.seal.output import MIME
from qnb.errors import NoIdentityMatchError
from qnb.server.desk import Desk
from qnb.server.identity import IdentityKeeper
from qnb.store.outputs import seal_outputs
from qnb.store.service import Service


def test_dataset_key_opens_in_the_server_until_it_is_shredded(ada: Any) -> None:
    """What is sealed under it alone opens through the identity; afterwards the reader is told that it is erased."""
    ada.run("keys", "add", "trial", "--dataset", "--for", "owners")
    service = Service(ada.home)
    desk = Desk(service, IdentityKeeper(ada.home / "identity", 60))
    authority = service.authority()
    (recipient,) = authority.policy.recipients(("trial",))
    context = authority.context(authority.policy.scheme.parse("restricted"), notebook="n", cell="c", sequence=1)
    outputs = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    bundle = seal_outputs(authority, context, [parse_recipient(recipient)], outputs, "ok")[MIME]
    item = {"bundle": bundle, "notebook": "n", "cell": "c", "source": None}
    assert desk.unseal("ada", item)["outputs"] == outputs
    ada.run("keys", "shred", "trial", "--yes")
    with pytest.raises(NoIdentityMatchError) as erased:
        desk.unseal("ada", item)
    assert erased.value.code == "key-shredded"
    service.close()
