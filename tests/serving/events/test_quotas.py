"""Impressions are bounded by the shopper, the client, and for all without a key together."""

from __future__ import annotations

import pytest

from serving.events import quotas
from serving.events.quotas import ImpressionQuotas


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
    assert allowed(made, [("session", "token", "session:a")] * 500) == 100
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
    assert allowed(made, [("session", "", f"session:{n}") for n in range(500)]) == 60
