"""A bad version, promoted on purpose, is gone by itself: a real server, registry and shoppers.

Each shopper clicks where the list has something that they are known to buy. The server is killed in
the middle.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import registry
from components.alerts import open_alerts
from components.data.item_table import read_item_table, write_item_table
from components.evaluation import report
from components.manifest import write_manifest
from components.rollout import read_rollout
from components.settings import Settings
from components.timeline import read_timeline
from tests.serving.shoppers import Shoppers

API, OPERATOR = {"x-api-key": "the shop's"}, {"x-api-key": "the owner's"}


@pytest.fixture
def shop(trained: tuple[Path, Settings], tmp_path: Path) -> Path:
    """A root whose registry has a good champion, 1, and a version 2 that mixes the products up."""
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, tmp_path / name)
    shutil.copy(source / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "reports").mkdir()
    evaluate = settings.evaluate.model_copy(update={"bootstrap_samples": 20})
    superior = settings.register_.model_copy(update={"rule": "superior"})
    settings = settings.model_copy(update={"evaluate": evaluate, "register_": superior})
    report.run(settings, tmp_path)
    registry.run(settings, tmp_path)
    folder = tmp_path / "models/served"
    table = read_item_table(folder)
    mixed = table.iloc[np.random.default_rng(0).permutation(len(table))].reset_index(drop=True)
    write_item_table(mixed, folder)
    write_manifest(folder)
    registry.run(settings, tmp_path)
    return tmp_path


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise TimeoutError


@pytest.mark.slow
def test_a_bad_version_hurts_in_its_canary_and_is_gone_by_itself(
    shop: Path, serve: Callable[..., Any]
) -> None:
    shoppers = Shoppers(shop, API)
    users = list(shoppers.likes)
    assert len(users) > 300
    server = serve(
        shop,
        {
            "BOWERBIRD_API_KEY": API["x-api-key"],
            "BOWERBIRD_OPERATOR_KEY": OPERATOR["x-api-key"],
            "BOWERBIRD_SERVE__CANARY": "{share: 0.3, min_shoppers: 100000}",
        },
    ).start()

    def canary() -> dict[str, Any]:
        with server.client() as client:
            return client.get("/status", headers=API).json()["canary"]

    with server.client() as client:
        shoppers.visit(client, users[:40])
        assert set(shoppers.seen.values()) == {"1"}
        wanted = client.post("/operator/promote", json={"version": "2"}, headers=OPERATOR)
        assert wanted.status_code == 202, wanted.text
        until(lambda: canary()["version"] == "2", 180)

        def is_served() -> bool:
            shoppers.visit(client, users[:40])
            return "2" in shoppers.seen.values()

        until(is_served)
        shoppers.visit(client, users[:40])
        assert set(shoppers.seen.values()) == {"1", "2"}
    started, before = canary()["started"], dict(shoppers.seen)

    server.stop(kill=True)
    server.start()
    assert canary()["started"] == started
    assert canary()["version"] == "2"
    with server.client() as client:
        shoppers.visit(client, users[:40])
        assert shoppers.seen == before  # the same shoppers are in it
        ended = False
        for start in range(40, len(users), 20):
            shoppers.visit(client, users[start : start + 20])
            ended = canary()["version"] is None
            if ended:
                break
        if not ended:
            until(lambda: canary()["version"] is None)
        hurt = [user for user, version in shoppers.seen.items() if version == "2"]
        assert len(hurt) < 0.4 * len(users)

        def is_gone() -> bool:
            shoppers.visit(client, hurt)
            return {shoppers.seen[user] for user in hurt} == {"1"}

        until(is_gone)
        (decision, *_) = canary()["decisions"]
        assert (decision["version"], decision["result"]) == ("2", "rolled back")
        assert "shoppers convert less" in decision["reason"]
        assert client.get("/model").json()["version"] == "1"
    assert shoppers.failed == []
    pointer = shop / "var/serving/champion.json"
    until(lambda: json.loads(pointer.read_text())["version"] == "1", 180)
    until(lambda: read_rollout(shop).rejected is None)
    until(lambda: open_alerts(shop) == ())
    happened = [one.kind for one in read_timeline(shop) if one.by in ("operator", "endpoint")]
    assert happened == [
        "promotion",
        "canary-started",
        "canary-rolled-back",
        "alert-opened",
        "rollback",
        "alert-resolved",
    ]
