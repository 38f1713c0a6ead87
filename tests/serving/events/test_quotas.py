"""Impressions are bounded by the shopper, the client, and for all without a key together."""

from __future__ import annotations

import pytest

from serving.events import quotas
from serving.events.quotas import FeedbackQuotas, ImpressionQuotas, ShopperQuotas


def allowed(made: ImpressionQuotas, asked: list[tuple[str, str, str | None]]) -> int:
    return sum(made.allows(*one) for one in asked)


@pytest.fixture(autouse=True)
def _one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas.time, "monotonic", lambda: 600.0)


def test_invented_sessions_of_one_client_share_its_quota() -> None:
    made = ImpressionQuotas(100, 1_000, has_key=False)
    asked = [("none", "client", f"session:{n}") for n in range(500)]
    assert allowed(made, asked) == 100
    assert allowed(made, [("none", "another", "session:1")] * 500) == 100


def test_many_clients_without_a_key_share_one_where_a_key_is_set() -> None:
    asked = [("none", f"client{n}", None) for n in range(5_000)]
    assert allowed(ImpressionQuotas(100, 1_000, has_key=True), asked) == 1_000
    assert allowed(ImpressionQuotas(100, 1_000, has_key=False), asked) == 5_000


def test_the_shops_own_requests_are_bounded_by_the_shopper() -> None:
    made = ImpressionQuotas(100, 1_000, has_key=True)
    assert allowed(made, [("none", f"c{n}", None) for n in range(2_000)]) == 1_000
    assert allowed(made, [("shop", "key", f"user:{n}") for n in range(5_000)]) == 5_000
    assert allowed(made, [("shop", "key", "user:7")] * 500) == 99
    assert allowed(made, [("session", "address", "session:a")] * 500) == 100
    assert allowed(made, [("shop", "key", None)] * 500) == 500


def test_a_new_minute_begins_again_and_zero_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ImpressionQuotas(100, 0, has_key=True)
    assert allowed(made, [("none", "client", None)] * 150) == 100
    monkeypatch.setattr(quotas.time, "monotonic", lambda: 660.0)
    assert allowed(made, [("none", "client", None)] * 150) == 100
    assert allowed(ImpressionQuotas(0, 0, True), [("none", "client", None)] * 5_000) == 5_000


def test_no_more_keys_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_KEYS", 50)
    made = ImpressionQuotas(10, 0, has_key=True)
    assert allowed(made, [("shop", "", f"session:{n}") for n in range(500)]) == 60


def test_many_sessions_of_one_client_share_its_quota_with_and_without_a_shopper() -> None:
    made = ImpressionQuotas(100, 0, has_key=True)
    assert allowed(made, [("session", "address", f"session:{n}") for n in range(500)]) == 100
    # The session's token names another's user: the request is nobody's.
    assert allowed(made, [("session", "another", None)] * 500) == 100


def test_feedback_of_a_client_is_bounded_by_the_day_and_purchases_keep_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = FeedbackQuotas(100)
    assert sum(made.allows("a", 0, 10) for _ in range(50)) == 10
    assert sum(made.allows("a", 1, 0) for _ in range(500)) == 100
    assert made.allows("b", 1, 1)
    monkeypatch.setattr(quotas.time, "monotonic", lambda: 600.0 + quotas.DAY)
    assert made.allows("a", 1, 1)
    assert all(FeedbackQuotas(0).allows("a", 1000, 1000) for _ in range(10))


def test_an_address_brings_few_shoppers_into_an_experiment_and_those_stay() -> None:
    made = ShopperQuotas(20)
    seen = [made.allows("a", f"session:{n}") for n in range(100)]
    assert seen == [True] * 20 + [False] * 80
    assert made.allows("a", "session:3")
    assert not made.allows("a", "session:50")  # also when it comes again
    assert made.allows("b", "session:50")
