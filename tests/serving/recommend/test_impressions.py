"""The log of impressions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from serving.api.auth import Auth, Keys
from serving.events.store import EventStore
from serving.recommend.impressions import ImpressionLog
from serving.recommend.types import Shopper


def test_impressions_are_written_signed_and_in_the_order_of_time(tmp_path: Path) -> None:
    auth = Auth(Keys(), b"secret")
    store = EventStore(f"sqlite:///{tmp_path}/events.db")
    log = ImpressionLog(store, auth.impression_id)
    ada = Shopper("ada", None, "user:ada", "client")
    first = log.log_items(ada, ["a", "b"], [2.0, 1.0], "3", "hybrid")
    robot = Shopper(None, None, None, "client", logged=False)
    unlogged = log.log_items(robot, ["a"], [1.0], "3", "popular")
    log.log_items(ada, [], [], "3", "rerank")  # nothing is shown, so nothing was seen
    second = log.log(ada, '["c"]', "[1.5]", "[0.25]", "3", "hybrid")
    store.close()
    with sqlite3.connect(tmp_path / "events.db") as connection:
        rows = connection.execute(
            "SELECT impression_id, profile, item_ids, scores, propensities, model_version, source "
            "FROM impressions ORDER BY row_id"
        ).fetchall()
    assert [row[0] for row in rows] == [first, second]
    assert rows[0][1:] == ("user:ada", '["a","b"]', "[2.0,1.0]", "[1.0,1.0]", "3", "hybrid")
    assert json.loads(rows[1][4]) == [0.25]
    assert first[:12] <= unlogged[:12] <= second[:12]
    assert auth.is_impression_of(first, ["user:ada"])
    assert not auth.is_impression_of(first, ["client:client"])
    assert auth.is_impression_of(unlogged, ["client:client"])
