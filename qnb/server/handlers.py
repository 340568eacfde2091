"""The handlers: authenticated, authorized, bounded, and each answered to the requester alone.

Enters: HTTP requests. Leaves: JSON as the contract has it.
Never: logs anything of a body or an answer; blocks the event loop; answers an error whose text is not ours.
Spec: docs/reference/rest.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from qnb.errors import QnbError
from qnb.server.contract import RefusedError, error_reply, parse_body, problem, refuse
from qnb.server.desk import Desk
from qnb.server.limits import Bucket, Limits

_PAGE, _LARGEST_PAGE = 100, 500


@dataclass(frozen=True, slots=True)
class Parts:
    """What every handler is given."""

    desk: Desk
    limits: Limits
    passphrases: Bucket  # one for all users: who has no cookie is a new user at each request
    pool: Executor
    max_body: int


class QnbHandler(APIHandler):
    """What the handlers share."""

    auth_resource = "qnb"

    def initialize(self, parts: Parts) -> None:
        """Called by tornado."""
        self.parts = parts

    @property
    def user(self) -> str:
        """Who asks, as the server's identity provider says."""
        return str(self.current_user.username)

    def body(self, name: str) -> Any:
        """The request's body, once it is known to be what the contract says."""
        return parse_body(self.request.body, name, self.parts.max_body)

    async def prepare(self) -> None:  # type: ignore[override]  # the base says `Awaitable | None`
        """Called by tornado before the method: who asks too often is told so before a body is read."""
        await super().prepare()
        wait = 0 if self.current_user is None else self.parts.limits.take(self.user)
        if wait:
            raise too_many(wait)

    async def answer(self, act: Callable[[], dict[str, Any]]) -> None:
        """Do something in a thread, and answer with what it gives."""
        loop = asyncio.get_running_loop()
        try:
            value = await loop.run_in_executor(self.parts.pool, act)
        except web.HTTPError:
            raise
        except QnbError as error:
            raise refuse(error) from None
        except Exception as error:  # noqa: BLE001 - its text could quote content
            self.log.error("qnb: %s failed with %s", type(self).__name__, type(error).__name__)  # noqa: TRY400 - so could its traceback
            raise RefusedError(problem("unavailable", "failed", "the server could not do this"), 500) from None
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error has the same body."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, RefusedError):
            found = error.problem
            if error.retry_after is not None:
                self.set_header("Retry-After", str(error.retry_after))
        else:
            found = _foreign_problem(status_code)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(error_reply(found)))


class StatusHandler(QnbHandler):
    """`GET qnb/status`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """`Status`."""
        user = self.user
        await self.answer(lambda: self.parts.desk.status(user))


class UnlockHandler(QnbHandler):
    """`POST qnb/unlock`."""

    @web.authenticated
    @authorized("execute")
    async def post(self) -> None:
        """`UnlockRequest` -> `Identity`."""
        user, passphrase = self.user, self.body("UnlockRequest")["passphrase"]
        bucket = self.parts.passphrases
        wait = bucket.take()
        if wait:
            raise too_many(wait)
        try:
            await self.answer(lambda: self.parts.desk.unlock(user, passphrase))
        except RefusedError as refused:
            if refused.problem["kind"] != "wrong-passphrase":  # nothing was tried
                bucket.give_back()
            raise
        bucket.give_back()


class LockHandler(QnbHandler):
    """`POST qnb/lock`."""

    @web.authenticated
    @authorized("execute")
    async def post(self) -> None:
        """`Empty` -> `Identity`."""
        user, _ = self.user, self.body("Empty")
        await self.answer(lambda: self.parts.desk.lock(user))


class UnsealHandler(QnbHandler):
    """`POST qnb/unseal`."""

    @web.authenticated
    @authorized("execute")
    async def post(self) -> None:
        """`UnsealRequest` -> `Unsealed`."""
        user, item = self.user, self.body("UnsealRequest")
        await self.answer(lambda: self.parts.desk.unseal(user, item))


class UnsealAllHandler(QnbHandler):
    """`POST qnb/unseal-all`."""

    @web.authenticated
    @authorized("execute")
    async def post(self) -> None:
        """`UnsealAllRequest` -> `UnsealAllReply`."""
        user, items = self.user, self.body("UnsealAllRequest")["items"]
        await self.answer(lambda: self.parts.desk.unseal_all(user, items))


class SealHandler(QnbHandler):
    """`POST qnb/seal`."""

    @web.authenticated
    @authorized("write")
    async def post(self) -> None:
        """`SealRequest` -> `Sealed`."""
        request = self.body("SealRequest")
        await self.answer(lambda: self.parts.desk.seal(request))


class VerifyHandler(QnbHandler):
    """`POST qnb/verify`."""

    @web.authenticated
    @authorized("read")
    async def post(self) -> None:
        """`VerifyRequest` -> `VerifyReply`."""
        nb = self.body("VerifyRequest")["notebook"]
        await self.answer(lambda: self.parts.desk.verify(nb))


class EntriesHandler(QnbHandler):
    """`GET qnb/entries`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """`EntriesReply`."""
        notebook = self.get_query_argument("notebook", "")
        if not 0 < len(notebook) <= 1024:
            raise RefusedError(problem("invalid", "not-as-agreed", "`notebook` names the notebook's id"))
        after = self._number("after", -1, -1, 2**53)
        limit = self._number("limit", _PAGE, 1, _LARGEST_PAGE)
        await self.answer(lambda: self.parts.desk.entries(notebook, after, limit))

    def _number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.get_query_argument(name, str(default))
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise RefusedError(problem("invalid", "not-as-agreed", f"`{name}` is a number from {least} to {most}"))
        return number


HANDLERS: dict[str, type[QnbHandler]] = {
    "status": StatusHandler,
    "unlock": UnlockHandler,
    "lock": LockHandler,
    "unseal": UnsealHandler,
    "unseal-all": UnsealAllHandler,
    "seal": SealHandler,
    "verify": VerifyHandler,
    "entries": EntriesHandler,
}


def too_many(wait: int) -> RefusedError:
    """The answer to who asks too often."""
    found = problem("rate-limited", "rate-limited", f"too many requests: try again in {wait} s")
    return RefusedError(found, retry_after=wait)


def _foreign_problem(status: int) -> dict[str, Any]:
    """What Jupyter or tornado refused, in words of ours."""
    if status in (401, 403):
        return problem(
            "forbidden", "forbidden", "the server does not let this request in", "log in, or reload the page"
        )
    if status < 500:
        return problem("invalid", "bad-request", "the server does not understand this request")
    return problem("unavailable", "failed", "the server could not do this")
