"""How often somebody may ask: token buckets.

Enters: who asks, the time. Leaves: whether they may, or how long to wait. Never: grows with the number of askers.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_ASKERS = 1024


class Bucket:
    """Holds up to `burst` tokens and gains `rate` of them a second."""

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._tokens, self._at = burst, clock()

    def take(self) -> int:
        """Take a token: 0, or the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return math.ceil((1 - self._tokens) / self._rate)

    def give_back(self) -> None:
        """Put a token back: the attempt did not count."""
        self._tokens = min(self._burst, self._tokens + 1)


class Limits:
    """A bucket for each user, and one of five times the size for all together.

    A request with the server's token and no cookie comes from a new user each time; the common bucket holds those.
    """

    def __init__(self, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._clock = burst, rate, clock
        self._all = Bucket(5 * burst, 5 * rate, clock)
        self._users: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, user: str) -> int:
        """Take a token of a user: 0, or the seconds until there is one."""
        bucket = self._users.get(user)
        if bucket is None:
            bucket = self._users[user] = Bucket(self._burst, self._rate, self._clock)
        self._users.move_to_end(user)
        while len(self._users) > _ASKERS:
            self._users.popitem(last=False)
        return bucket.take() or self._all.take()
