"""The extension application: settings, and how the parts hang together.

Enters: the server it is loaded into. Leaves: handlers, the save guard, an event schema.
Never: an identity before somebody unlocked it; a server whose saves are not guarded because something later failed: the
guard comes first.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from tornado.ioloop import PeriodicCallback
from traitlets import Float, Int, List, Unicode, default

from qnb.errors import QnbError
from qnb.server.desk import Desk
from qnb.server.guard import SaveGuard
from qnb.server.handlers import HANDLERS, Parts
from qnb.server.identity import IdentityKeeper
from qnb.server.limits import Bucket, Limits
from qnb.server.notices import SCHEMA_ID, SCHEMA_PATH, Notices
from qnb.store.config import home, hub_user
from qnb.store.guarding import NotebookGuard
from qnb.store.service import Service

_SWEEP_MILLISECONDS = 5000


class QnbServer(ExtensionApp):
    """qnb in a Jupyter server: opens sealed outputs for its user, and lets no classified output be saved in clear."""

    name = "qnb"
    description = "Sealed outputs in JupyterLab: opening, sealing, verification and the save guard."

    idle_seconds = Float(
        900.0, min=0.0, help="Seconds without an opening after which an unlocked identity is forgotten; 0: never."
    ).tag(config=True)
    openers = List(
        Unicode(),
        help="Names of the users who may open with this account's identity. Empty: whoever the server lets in. On "
        "JupyterHub the default is the server's owner.",
    ).tag(config=True)
    signers = List(
        Unicode(),
        help="Public keys of other logs whose entries are believed: files (a colleague's log.vkey), or keys.",
    ).tag(config=True)
    request_burst = Int(60, min=1, help="Requests that a user may make at once.").tag(config=True)
    requests_per_second = Float(10.0, min=0.001, help="Requests a second that a user may make on end.").tag(config=True)
    passphrase_burst = Int(5, min=1, help="Wrong passphrases that may be tried at once, by all users.").tag(config=True)
    passphrases_per_minute = Float(
        3.0, min=0.001, help="Wrong passphrases a minute that may be tried on end, by all users."
    ).tag(config=True)
    max_body_bytes = Int(64 << 20, min=1024, help="Bytes that a request may have.").tag(config=True)

    @default("openers")
    def _default_openers(self) -> list[str]:
        owner = hub_user()
        return [] if owner is None else [owner]

    def initialize_settings(self) -> None:
        """Called by jupyter_server: guard first, everything else after it."""
        server: Any = self.serverapp
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="qnb")
        notices = Notices(self._emit, self.log)
        self._service = Service(home(), notices.first_use)
        self._keeper = IdentityKeeper(home() / "identity", self.idle_seconds)
        self._sweeper = PeriodicCallback(self._keeper.sweep, _SWEEP_MILLISECONDS)
        SaveGuard(NotebookGuard(self._service), notices, self._pool).install(server.contents_manager)
        server.event_logger.register_event_schema(SCHEMA_PATH)
        threading.Thread(target=self._read_log, name="qnb-record", daemon=True).start()
        if self.idle_seconds:
            server.io_loop.add_callback(self._sweeper.start)

    def initialize_handlers(self) -> None:
        """Called by jupyter_server."""
        parts = Parts(
            desk=Desk(self._service, self._keeper, self.openers, self.signers),
            limits=Limits(self.request_burst, self.requests_per_second),
            passphrases=Bucket(self.passphrase_burst, self.passphrases_per_minute / 60),
            pool=self._pool,
            max_body=self.max_body_bytes,
        )
        self.handlers.extend((rf"/qnb/{name}", handler, {"parts": parts}) for name, handler in HANDLERS.items())

    async def stop_extension(self) -> None:
        """Called by jupyter_server at its end."""
        self._sweeper.stop()
        self._pool.shutdown(wait=True)
        self._service.close()

    def _emit(self, notice: dict[str, Any]) -> None:
        server: Any = self.serverapp
        server.io_loop.add_callback(lambda: server.event_logger.emit(schema_id=SCHEMA_ID, data=notice))

    def _read_log(self) -> None:
        """Read the log once ahead of the first save; whatever is wrong with it, that save says."""
        try:
            with self._service.lock:
                record = self._service.record()
                if record is not None:
                    record.refresh()
        except QnbError as error:
            self.log.warning("qnb: the log cannot be read (%s)", error.code)
