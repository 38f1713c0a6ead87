"""A bucket for each client, and a bound on the buckets in memory."""

from __future__ import annotations

from serving.api.rate_limit import MAX_CLIENTS, RateLimit


def test_an_evicted_bucket_gives_nobody_more_than_a_rested_one() -> None:
    limit = RateLimit(5)
    assert [limit.allows("eager") for _ in range(11)] == [True] * 10 + [False]
    for number in range(MAX_CLIENTS - 1):
        limit.allows(f"other {number}")
        if number % 1000 == 0:
            limit.allows("eager")  # who goes on stays where it is, however many others come
    assert not limit.allows("eager")
    for number in range(MAX_CLIENTS):
        limit.allows(f"another {number}")
    assert limit.allows("eager")  # as after resting: the buckets kept are the newest
