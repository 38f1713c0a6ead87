"""Profiles: the model's knowledge and the stored events as one history."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Interactions
from components.data.event_kinds import EventKinds
from components.recommenders.models.als import RatingFactorisation
from components.recommenders.models.sasrec.model import Sequential
from components.settings import Preprocess
from components.settings import RatingFactorisation as RatingSettings
from serving.columns import Ids
from serving.events.event_erasure import erase
from serving.events.store import EventStore
from serving.profiles.history import stack
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.recommend.types import Request
from tests.components.recommenders.models.sasrec.ring import SMALL

ITEMS = Ids.of(["a", "b", "c", "d"])
KINDS = EventKinds.of(Preprocess())
END = 1_700_000_000


def base() -> BaseProfiles:
    rows = [("anna", "a", END - 50), ("ben", "b", END - 20), ("anna", "c", END), ("x", "??", END)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return BaseProfiles(
        frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s", utc=True)), ITEMS
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(f"sqlite:///{tmp_path}/events.db")
    yield store
    store.close()


def add(store: EventStore, item: str, seconds: int, **other: Any) -> None:
    row = {"user_id": "anna", "item_id": item, "event": "click", **other}
    identity = f"{item}{seconds}{other}"
    store.submit([{**row, "event_id": identity, "timestamp": seconds * 1_000_000}]).result(10)


def profiles_of(store: EventStore, max_history: int = 100) -> Profiles:
    return Profiles(base(), LiveProfiles(store, max_history, KINDS), ITEMS, max_history)


def codes(profiles: Profiles, user: str | None = "anna", recent: tuple[str, ...] = ()) -> list[int]:
    profiles.live.refresh()
    profile = f"user:{user}" if user else None
    return profiles.history(user, profile, profiles.codes(recent)).items.tolist()


def test_the_models_profile_is_sorted_and_in_codes(store: EventStore) -> None:
    profiles = profiles_of(store)
    assert codes(profiles) == [0, 2]
    assert codes(profiles, "nobody") == []
    assert profiles.history("nobody", None).now == END


def test_an_event_counts_in_the_next_history_wherever_it_came_in(
    store: EventStore, tmp_path: Path
) -> None:
    profiles = profiles_of(store)
    assert codes(profiles) == [0, 2]
    add(store, "d", END + 10)
    assert codes(profiles) == [0, 2, 3]
    other_worker = EventStore(f"sqlite:///{tmp_path}/events.db")
    add(other_worker, "b", END + 20)
    assert codes(profiles) == [0, 2, 3, 1]
    assert profiles.history("anna", "user:anna").now == END + 20
    other_worker.close()


def test_late_events_are_put_in_their_place(store: EventStore) -> None:
    profiles = profiles_of(store)
    codes(profiles)
    add(store, "d", END + 30)
    add(store, "b", END - 30)
    assert codes(profiles) == [0, 1, 2, 3]
    assert codes(profiles_of(store)) == [0, 1, 2, 3]  # read again: the same


def test_times_before_1970_and_after_2038_keep_their_order(store: EventStore) -> None:
    profiles = profiles_of(store)
    add(store, "d", 2**31 + 5)
    add(store, "b", -5)
    assert codes(profiles) == [1, 0, 2, 3]
    assert profiles.history("anna", "user:anna").times[[0, -1]].tolist() == [-5, 2**31 + 5]


def test_an_event_the_model_was_trained_with_counts_once(store: EventStore) -> None:
    add(store, "c", END, event="purchase")
    assert codes(profiles_of(store)) == [0, 2]


def test_unknown_items_are_left_out_and_known_ones_are_not_shifted(store: EventStore) -> None:
    add(store, "gone", END + 1)
    add(store, "b", END + 2, event="purchase")
    profiles = profiles_of(store)
    assert codes(profiles, recent=("zz", "d")) == [0, 2, 1, 3]
    assert profiles.history("anna", "user:anna").kinds == {1: "purchase"}


def test_only_the_newest_are_kept_and_what_older_ones_exclude(store: EventStore) -> None:
    profiles = profiles_of(store, max_history=3)
    for step in range(6):
        add(store, "abcd"[step % 4], END + step + 1, event="purchase" if step < 4 else "view")
        codes(profiles)
    for known in (profiles, profiles_of(store, max_history=3)):  # in memory, and read now
        anna = known.history("anna", "user:anna")
        assert (anna.items[-3:].tolist(), anna.length) == ([3, 0, 1], 3)
        assert anna.strengths is not None
        assert not anna.strengths[:-3].any()
        assert set(anna.excluded.tolist()) == {0, 1, 2, 3}


def test_of_a_long_history_memory_holds_one_event_of_each_item(store: EventStore) -> None:
    profiles = profiles_of(store, max_history=3)
    profiles.history("anna", "user:anna")
    for step in range(60):
        add(store, "ab"[step % 2], END + step, event=("purchase", "view")[step // 2 % 2])
        profiles.live.refresh()
    held = profiles.live.get("user:anna")
    assert len(held.items) <= 3 + 2
    assert {"a", "b"} <= {
        item for item, kind in zip(held.items, held.events, strict=True) if kind == "purchase"
    }


def test_an_erased_profile_is_empty_until_something_new(store: EventStore) -> None:
    profiles = profiles_of(store)
    add(store, "d", END + 1)
    assert codes(profiles) == [0, 2, 3]
    erase(store, "user:anna")
    profiles.live.refresh_erasures()
    assert codes(profiles) == []
    assert codes(profiles, "ben") == [1]
    add(store, "b", 4_000_000_000)
    assert codes(profiles) == [1]


def test_an_erased_user_leaves_memory_and_the_file(store: EventStore, tmp_path: Path) -> None:
    file = tmp_path / "profiles.parquet"
    rows = [("anna", "a", END), ("ben", "b", END), ("anna", "c", 4_000_000_000)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    times = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame.assign(timestamp=times).to_parquet(file)
    profiles = profiles_of(store)
    erase(store, "user:anna")
    profiles.live.refresh_erasures()
    profiles.base.forget(profiles.live.erased_at)
    assert list(profiles.base.users) == ["", "ben"]
    assert len(profiles.base) == 1
    assert profiles.base.events.items.tolist() == [0, 0, 1]
    loaded = BaseProfiles.load(file, ITEMS, profiles.live.erased_at)
    assert loaded.get("anna").items.tolist() == [2]  # what came after the erasure
    assert pd.read_parquet(file)["item_id"].tolist() == ["b", "c"]


def test_an_erased_session_leaves_memory_and_the_file(tmp_path: Path) -> None:
    rows = [("session:s1", "a", END), ("session:s2", "b", END), ("anna", "c", END)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    file = tmp_path / "profiles.parquet"
    frame.to_parquet(file)
    erased = {"session:s1": (END + 1) * 1_000_000}
    loaded = BaseProfiles.load(file, ITEMS, erased.get)
    assert [len(loaded.get(user).items) for user in ("session:s1", "session:s2")] == [0, 1]
    assert set(pd.read_parquet(file)["user_id"]) == {"session:s2", "anna"}
    erased["session:s2"] = (END + 1) * 1_000_000
    loaded.forget(erased.get)
    assert len(loaded.get("session:s2").items) == 0
    assert len(loaded.get("anna").items) == 1


def test_a_model_without_histories_is_served_to_nobody_it_knows(store: EventStore) -> None:
    base = BaseProfiles.empty(ITEMS, END)
    profiles = Profiles(base, LiveProfiles(store, 10, KINDS), ITEMS, 10)
    assert (len(base), codes(profiles)) == (0, [])
    assert profiles.history("anna", "user:anna").now == END


def test_sessions_have_histories_of_their_own(store: EventStore) -> None:
    profiles = profiles_of(store)
    add(store, "d", END + 1, user_id=None, session_id="anna")
    assert codes(profiles) == [0, 2]
    assert profiles.history(None, "session:anna").items.tolist() == [3]


def test_a_batch_is_what_the_recommenders_take(store: EventStore) -> None:
    profiles = profiles_of(store)
    batch = stack(
        [
            profiles.history("anna", None),
            profiles.history(None, None),
            profiles.history("ben", None),
        ]
    )
    assert batch.offsets.tolist() == [0, 2, 2, 3]
    assert batch.items.tolist() == [0, 2, 1]
    assert (batch.times <= np.repeat(batch.now, batch.lengths())).all()


def test_live_ratings_reach_the_model(store: EventStore) -> None:
    """Ratings of the training data and of live events, in one batch with unrated histories."""
    rows = [("anna", "a", END - 50, 5.0), ("anna", "c", END, np.nan), ("ben", "b", END, np.nan)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])
    times = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    known = BaseProfiles(frame.assign(timestamp=times), ITEMS)
    profiles = Profiles(known, LiveProfiles(store, 100, KINDS), ITEMS, 100)
    codes(profiles)
    add(store, "d", END + 1, event="rating", rating=2.0)  # added to a profile in memory
    add(store, "b", END + 2)
    codes(profiles)
    anna = profiles.history("anna", "user:anna", profiles.codes(["a"]))
    assert anna.items.tolist() == [0, 2, 3, 1, 0]
    np.testing.assert_array_equal(anna.ratings, [5, np.nan, 2, np.nan, np.nan])
    read_again = Profiles(known, LiveProfiles(store, 100, KINDS), ITEMS, 100)
    np.testing.assert_array_equal(
        read_again.history("anna", "user:anna").ratings, [5, np.nan, 2, np.nan]
    )
    ben = profiles.history("ben", "user:ben")
    assert ben.ratings is None
    batch = stack([ben, anna])
    np.testing.assert_array_equal(batch.ratings, [np.nan, 5, np.nan, 2, np.nan, np.nan])
    assert stack([ben]).ratings is None
    request = pickle.loads(pickle.dumps(Request(anna, 5)))  # as the ranking process gets it
    np.testing.assert_array_equal(request.history.ratings, anna.ratings)
    assert pickle.loads(pickle.dumps(Request(ben, 5))).history.ratings is None

    train = Interactions.from_arrays(np.arange(8) % 4, np.arange(8) // 2, np.arange(8), 4, 4)
    train = replace(train, ratings=np.array([5, 1, 4, 2, 5, 1, 2, 4], dtype=np.float32))
    model = RatingFactorisation(RatingSettings(factors=1, regularisation=0.1))
    model.fit(train, Catalogue(pd.DataFrame({"item_id": ITEMS})))
    personal, unrated = model.score(stack([anna, ben]))
    assert not np.allclose(personal, unrated)


def test_a_rating_that_the_model_was_trained_with_counts_once(store: EventStore) -> None:
    add(store, "c", END, event="rating", rating=3.0)
    history = profiles_of(store).history("anna", "user:anna")
    assert history.items.tolist() == [0, 2]
    np.testing.assert_array_equal(history.ratings, [np.nan, 3])


def test_a_file_with_ratings_is_read_with_them_and_one_without_is_not_missed(
    tmp_path: Path,
) -> None:
    rows = [("anna", "a", END, 4.0), ("ben", "b", END, np.nan)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])
    frame = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s", utc=True))
    frame.to_parquet(tmp_path / "rated.parquet")
    frame.drop(columns="rating").to_parquet(tmp_path / "plain.parquet")
    rated = BaseProfiles.load(tmp_path / "rated.parquet", ITEMS)
    assert rated.get("anna").ratings.tolist() == [4]  # type: ignore[union-attr]
    assert rated.get("ben").ratings is None
    assert BaseProfiles.load(tmp_path / "plain.parquet", ITEMS).get("anna").ratings is None


def test_who_is_alone_knows_own_events_at_once_and_others_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.events.history_reader.CHECK_INTERVAL", 0.5)
    store = EventStore(f"sqlite:///{tmp_path}/events.db", single_process=True)
    other = EventStore(f"sqlite:///{tmp_path}/events.db")
    profiles = profiles_of(store)
    assert codes(profiles) == [0, 2]
    for step in range(20):
        add(store, "d", END + step)
        assert len(codes(profiles)) == 3 + step
    add(other, "b", END + 30)
    until = time.monotonic() + 10
    while codes(profiles)[-1] != 1 and time.monotonic() < until:
        time.sleep(0.05)
    assert codes(profiles)[-1] == 1
    store.close()
    other.close()


def test_views_purchases_and_dislikes_count_differently(store: EventStore) -> None:
    """The newest event of the training data, c, is a purchase; then come those of the endpoint."""
    add(store, "b", END + 1, event="view")
    add(store, "d", END + 2, event="purchase")
    add(store, "a", END + 3, event="dislike")
    profiles = profiles_of(store)
    anna = profiles.history("anna", "user:anna", profiles.codes(("b",)))
    assert anna.items.tolist() == [0, 2, 1, 3, 0, 1]
    np.testing.assert_allclose(anna.strengths, [1, 1, 0.3, 1, -1, 1])  # type: ignore[arg-type]
    assert anna.excluding is not None
    assert anna.excluding.tolist() == [True, True, False, True, False, True]
    assert anna.disliked.tolist() == [0]
    assert set(anna.excluded.tolist()) == {0, 1, 2, 3}
    assert anna.liked.tolist() == [2, 1, 3, 1]  # a was bought, then disliked
    request = pickle.loads(pickle.dumps(Request(anna, 5)))
    np.testing.assert_array_equal(request.history.strengths, anna.strengths)
    np.testing.assert_array_equal(request.history.excluding, anna.excluding)
    ben = profiles.history("ben", "user:ben")
    assert ben.strengths is ben.excluding is None
    batch = stack([ben, anna])
    np.testing.assert_allclose(batch.strengths, [1, 1, 1, 0.3, 1, -1, 1])  # type: ignore[arg-type]


def test_the_sequence_model_sees_kinds_of_events_as_in_training(store: EventStore) -> None:
    """The same events, from the training data and from the endpoint: the same query."""
    random = np.random.default_rng(0)
    users = np.append(np.repeat(np.arange(1, 30), 5), [0, 0, 0, 0])
    items = np.append(random.integers(0, 4, 145), [0, 2, 1, 3])  # of anna: a, c, b, d
    times = np.append(np.tile(np.arange(5), 29), [END - 50, END, END + 1, END + 2])
    strengths = np.append(random.choice([0.3, 0.6, 1], 145), [1, 1, 0.3, 0.6]).astype(np.float32)
    order = np.lexsort((times, users))
    x = Interactions.from_arrays(users, items, times, n_items=4)
    x = replace(x, strengths=strengths[order])
    vectors = random.standard_normal((4, 6)).astype(np.float32)
    catalogue = Catalogue(pd.DataFrame({"item_id": ITEMS}), vectors)
    settings = SMALL.model_copy(update={"epochs": 3, "kinds": True})
    model = Sequential(settings).fit(x, catalogue)
    expected = model.queries(x.histories([0], END + 9))
    add(store, "b", END + 1, event="view")
    add(store, "d", END + 2, event="cart")
    anna = stack([profiles_of(store).history("anna", "user:anna")])
    assert np.array_equal(model.queries(anna), expected)
    as_purchases = replace(anna, strengths=None)
    assert np.abs(model.queries(as_purchases) - expected).max() > 0.05


@pytest.mark.parametrize(("strengths", "named"), [(None, 1.0), ([1.0, 0.3, 1.0], 0.3)])
def test_items_of_a_request_are_views_where_training_knew_views(
    strengths: list[float] | None, named: float, store: EventStore
) -> None:
    rows = [("anna", "a", END - 50), ("anna", "b", END - 20), ("anna", "c", END)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    if strengths is not None:
        frame["strength"] = np.array(strengths, dtype=np.float32)
    live = LiveProfiles(store, 100, KINDS)
    profiles = Profiles(BaseProfiles(frame, ITEMS), live, ITEMS, 100)
    found = profiles.history("anna", "user:anna", profiles.codes(["d", "?"]))
    assert found.items.tolist() == [0, 1, 2, 3]
    expected = [*(strengths or [1.0, 1.0, 1.0]), named]
    assert found.whole("strengths").tolist() == pytest.approx(expected)
    assert found.whole("excluding").all()


def test_the_histories_file_has_strengths_where_not_all_are_purchases(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["anna", "anna", "ben"],
            "item_id": ["a", "b", "c"],
            "timestamp": pd.to_datetime([END, END + 1, END], unit="s", utc=True),
            "strength": np.array([0.3, -1, 1], dtype=np.float32),
            "excluding": [False, True, True],
        }
    )
    frame.to_parquet(tmp_path / "profiles.parquet")
    loaded = BaseProfiles.load(tmp_path / "profiles.parquet", ITEMS)
    anna = loaded.get("anna")
    np.testing.assert_allclose(anna.strengths, [0.3, -1])  # type: ignore[arg-type]
    assert anna.excluding is not None
    assert anna.excluding.tolist() == [False, True]


def test_a_dislike_stays_when_the_history_is_cut(store: EventStore) -> None:
    add(store, "a", END + 1, event="dislike")
    for second in range(2, 8):
        add(store, "b", END + second, event="view")
    profiles = profiles_of(store, max_history=3)
    anna = profiles.history("anna", "user:anna")
    assert anna.disliked.tolist() == [0]
    assert anna.newest(2).disliked.tolist() == [0]
    assert anna.newest(2).liked.tolist() == [1, 1]
    assert anna.length == 4


def test_a_dislike_of_the_same_second_is_kept(store: EventStore) -> None:
    add(store, "c", END, event="rating", rating=1.0)  # the training data have its purchase
    anna = profiles_of(store).history("anna", "user:anna")
    assert 2 in anna.disliked


def test_a_live_event_leaves_those_of_the_training_as_they_are(store: EventStore) -> None:
    """A view and a purchase of one second are two events, as in training; one of both is one."""
    frame = pd.DataFrame(
        {
            "user_id": "anna",
            "item_id": ["a", "a"],
            "timestamp": pd.to_datetime([END, END], unit="s", utc=True),
            "strength": np.array([0.3, 1], dtype=np.float32),
            "excluding": [False, True],
        }
    )
    profiles = Profiles(BaseProfiles(frame, ITEMS), LiveProfiles(store, 10, KINDS), ITEMS, 10)
    assert profiles.history("anna", None).items.tolist() == [0, 0]
    add(store, "a", END, event="purchase")
    add(store, "b", END + 1, event="view")
    profiles.live.refresh()
    anna = profiles.history("anna", "user:anna")
    assert anna.items.tolist() == [0, 0, 1]
    np.testing.assert_allclose(anna.strengths, [0.3, 1, 0.3])  # type: ignore[arg-type]
    assert anna.excluding is not None
    assert anna.excluding.tolist() == [False, True, False]
