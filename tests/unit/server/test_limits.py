"""Token buckets, by a clock of the test's own."""

from __future__ import annotations

from qnb.server.limits import Bucket, Limits


class Clock:
    """Stands still until told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_bucket_gives_its_burst_and_then_its_rate() -> None:
    """And says how long to wait in between; it does not fill beyond its burst."""
    clock = Clock()
    bucket = Bucket(2, 0.1, clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 10]
    clock.now += 10
    assert [bucket.take() for _ in range(2)] == [0, 10]
    clock.now += 1000
    assert [bucket.take() for _ in range(3)] == [0, 0, 10]
    bucket.give_back()
    assert bucket.take() == 0


def test_user_who_asks_too_often_takes_nothing_from_others() -> None:
    """But all together are bounded too, and the table of users is."""
    clock = Clock()
    limits = Limits(2, 1, clock)
    assert [limits.take("ada") for _ in range(50)][:3] == [0, 0, 1]
    assert limits.take("bob") == 0
    assert sum(limits.take(f"user {number}") == 0 for number in range(5000)) == 7
    assert len(limits._users) <= 1024
