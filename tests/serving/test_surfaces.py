"""Surfaces of ``POST /recommend`` and ``POST /page``, by a real server over a real shop's model."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from components.recommenders.shelves.statistics import ShelfStatistics
from components.settings import Settings
from serving.recommend.engine import Engine

SURFACES = "{cheap: {source: popular, max_price: 2}, slow: {source: rising, fallback: [similar]}}"


@pytest.fixture(scope="module")
def root(trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's folder, where page 2 of a list must be requested within a minute."""
    root = tmp_path_factory.mktemp("surfaces")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, root / "models" / name)
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    return root


@pytest.fixture(scope="module")
def shop(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    with in_thread(root, {"BOWERBIRD_SERVE__SURFACES": SURFACES}).serving() as client:
        yield client


@pytest.fixture(scope="module")
def statistics(root: Path) -> ShelfStatistics:
    return ShelfStatistics.load(root / "models/hybrid/shelves")


def ask(shop: httpx.Client, **body: Any) -> Any:
    response = shop.post("/recommend", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def send(shop: httpx.Client, user: str, item: str, event: str, **more: Any) -> None:
    body = {"user_id": user, "item_id": item, "event": event, **more}
    assert shop.post("/feedback", json=body).status_code == 200


def ids(answer: Any) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def best_seller(engine: Engine) -> str:
    return engine.ids[engine.by_popularity[0]]


def test_bought_together_has_support_and_lift(
    shop: httpx.Client, engine: Engine, statistics: ShelfStatistics
) -> None:
    item = best_seller(engine)
    answer = ask(shop, surface="bought_together", page_items=[item], k=5)
    assert not answer["fallback"]
    assert answer["sources"] == {"together": 5}
    assert answer["title"] == "Often bought together"
    partners = statistics.pairs.of_item(engine.ids.index(item), 3, 1)
    by_id = dict(zip((engine.ids[one] for one in partners.items), partners.support, strict=True))
    for one in answer["items"]:
        assert one["evidence"]["support"] == by_id[one["item_id"]] >= 3
        assert one["evidence"]["lift"] > 1
        assert one["reason"].startswith("bought together")


def test_products_nobody_bought_together_fall_back(shop: httpx.Client, engine: Engine) -> None:
    lonely = next(
        engine.ids[code]
        for code in engine.by_popularity[::-1]
        if engine.sold[code] and engine.available[code]
    )
    answer = ask(shop, surface="bought_together", page_items=[lonely], k=5)
    assert answer["fallback"]
    assert "together" not in answer["sources"]
    assert answer["title"] in ("Goes with it", "Similar products")
    assert answer["items"]


def test_basket_is_completed_without_its_products(shop: httpx.Client, engine: Engine) -> None:
    basket = [engine.ids[code] for code in engine.by_popularity[:3]]
    answer = ask(shop, surface="basket", page_items=basket, k=8)
    assert answer["sources"]["together"] >= 5
    assert len(ids(answer)) == 8
    assert not set(ids(answer)) & set(basket)


def test_complements_are_of_other_categories_than_similar_products(
    shop: httpx.Client, engine: Engine
) -> None:
    item = best_seller(engine)
    own = engine.categories[engine.ids.index(item)][-1]
    goes_with = ask(shop, surface="goes_with", page_items=[item], k=8)
    assert goes_with["sources"] == {"goes_with": 8}
    assert all(one["categories"][-1:] != [own] for one in goes_with["items"])
    like = ask(shop, surface="product", page_items=[item], k=8)
    assert set(like["sources"]) == {"similar"}
    assert ids(like) != ids(goes_with)


def test_buy_again_by_the_customers_own_interval(shop: httpx.Client, root: Path) -> None:
    profiles = pd.read_parquet(root / "models/profiles/profiles.parquet")
    profiles["day"] = profiles["timestamp"].dt.floor("D")
    days = profiles.drop_duplicates(["user_id", "item_id", "day"])
    # Of fewer events than serve.max_history, with many repeated purchases.
    few = profiles["user_id"].value_counts().loc[lambda n: n < 450].index
    repeated = days[days.duplicated(["user_id", "item_id"]) & days["user_id"].isin(few)]
    user = repeated["user_id"].value_counts().index[0]
    own = days[days["user_id"] == user].groupby("item_id")["day"]
    answer = ask(shop, user_id=user, surface="buy_again", k=20)
    assert answer["sources"] == {"due": 20}
    assert answer["title"] == "Buy again"
    for one in answer["items"]:
        bought = own.get_group(one["item_id"]).sort_values()
        assert one["evidence"]["bought"] == len(bought)
        if len(bought) > 2:
            # Gaps of times, not of days: a day is what two purchases are told apart by.
            gaps = bought.diff().dt.days.dropna()
            assert one["evidence"]["interval_days"] == pytest.approx(gaps.median(), abs=1.0)
        due = one["evidence"]["days_since"] / one["evidence"]["interval_days"]
        assert one["evidence"]["due"] == pytest.approx(due, abs=0.02)


def test_buy_again_counts_only_purchases(shop: httpx.Client, engine: Engine) -> None:
    seen, bought = (engine.ids[code] for code in engine.by_popularity[10:12])
    send(shop, "surfaces-1", seen, "view")
    empty = ask(shop, user_id="surfaces-1", surface="buy_again", k=5)
    assert empty["fallback"]
    assert empty["sources"] == {"popular": 5}
    assert empty["title"] == "Popular now"
    send(shop, "surfaces-1", bought, "purchase")
    answer = ask(shop, user_id="surfaces-1", surface="buy_again", k=5)
    assert ids(answer) == [bought]  # nothing fills a shelf whose title would be untrue


def test_recently_viewed_newest_first(shop: httpx.Client, engine: Engine) -> None:
    first, second, bought = (engine.ids[code] for code in engine.by_popularity[20:23])
    for item, event in ((first, "view"), (second, "click"), (bought, "purchase"), (first, "view")):
        send(shop, "surfaces-2", item, event)
        time.sleep(1.1)  # histories have seconds
    answer = ask(shop, user_id="surfaces-2", surface="recently_viewed", k=5)
    assert ids(answer) == [first, second]
    assert not answer["fallback"]
    on_page = ask(shop, user_id="surfaces-2", surface="recently_viewed", page_items=[first], k=5)
    assert ids(on_page) == [second]


def test_without_a_view_there_is_no_shelf_of_viewed_products(shop: httpx.Client) -> None:
    answer = ask(shop, user_id="surfaces-8", surface="recently_viewed", k=5)
    assert (answer["items"], answer["source"], answer["sources"]) == ([], "none", {})
    assert not answer["fallback"]
    assert answer["title"] == "Recently viewed"


def test_trending_is_tested(
    shop: httpx.Client, engine: Engine, statistics: ShelfStatistics
) -> None:
    answer = ask(shop, surface="trending", k=50)
    found = statistics.trends.rising(np.asarray(engine.available))
    if len(found.items):
        assert ids(answer) == [engine.ids[code] for code in found.items]
        assert all(one["evidence"]["growth"] > 1 for one in answer["items"])
    else:
        assert answer["fallback"]
    nowhere = ask(shop, surface="trending", country="Atlantis", k=50)
    assert ids(nowhere) == ids(answer)


def test_new_for_you_has_products_added_since(shop: httpx.Client) -> None:
    item = {"item_id": "SURFACE-NEW", "title": "RED HANGING HEART LANTERN", "price": 3.0}
    token = shop.get("/operator/token").json()["token"]
    put = shop.put("/items", json={"items": [item]}, headers={"X-CSRF-Token": token})
    assert put.status_code == 200, put.text
    answer = ask(shop, surface="new_for_you", k=100, min_price=2.99, max_price=3.01)
    assert not answer["fallback"]
    assert "SURFACE-NEW" in ids(answer)
    assert set(answer["sources"]) == {"new"}


def test_a_surface_of_the_shop_has_its_own_filters(shop: httpx.Client) -> None:
    answer = ask(shop, surface="cheap", k=10)
    assert len(answer["items"]) == 10
    assert all(one["price"] <= 2 for one in answer["items"])
    assert answer["title"] == ""
    dearer = ask(shop, surface="cheap", k=10, max_price=4)
    assert any(one["price"] > 2 for one in dearer["items"])


def test_unknown_surface_is_refused_with_the_known_ones(shop: httpx.Client) -> None:
    response = shop.post("/recommend", json={"surface": "attic"})
    assert response.status_code == 422
    assert "bought_together" in response.json()["error"]
    assert shop.post("/recommend", json={"surface": "Attic!"}).status_code == 422


def test_one_request_for_several_shelves(shop: httpx.Client, engine: Engine) -> None:
    item = best_seller(engine)
    shelves = [
        {"surface": "bought_together", "page_items": [item], "k": 4},
        {"surface": "product", "page_items": [item], "k": 8},
        {"surface": "goes_with", "page_items": [item], "k": 8},
        {"surface": "home", "k": 8},
        {"surface": "cheap", "k": 8},
    ]
    answer = shop.post("/page", json={"user_id": "surfaces-3", "shelves": shelves})
    assert answer.status_code == 200, answer.text
    found = answer.json()["shelves"]
    assert [one["surface"] for one in found] == [one["surface"] for one in shelves]
    every = [one for shelf in found for one in ids(shelf)]
    assert len(every) == len(set(every)) == 36
    assert item not in every
    assert len({shelf["impression_id"] for shelf in found}) == 5
    for wrong, field in (
        ({"surface": "attic"}, "surface"),
        ({"surface": "home", "filter": "price <"}, "filter"),
        ({"surface": "home", "attributes": {"weight": "heavy"}}, "attributes.weight"),
    ):
        refused = shop.post("/page", json={"shelves": [*shelves, wrong]})
        assert refused.status_code == 422
        assert refused.json()["fields"][0]["field"] == f"shelves.5.{field}"
    assert shop.post("/page", json={"shelves": []}).status_code == 422
    assert shop.post("/page", json={"shelves": shelves * 5}).status_code == 422


def test_a_cursor_neither_repeats_nor_skips(shop: httpx.Client, engine: Engine) -> None:
    """The shopper looks, buys and hides between the pages of a category."""
    names = dict(engine.category_names())
    category = next(name for name, n in names.items() if 60 < n < 200)
    codes = np.flatnonzero(
        [category in map(str.casefold, one) for one in engine.categories] & engine.available
    )
    all_of_it = {engine.ids[code] for code in codes}
    body = {"user_id": "surfaces-4", "surface": "category", "category": category, "k": 20}
    shown: list[str] = []
    hidden = ""
    cursor = ""
    while cursor is not None:
        answer = ask(shop, **body, cursor=cursor)
        shown += ids(answer)
        if not hidden:
            others = sorted(all_of_it - set(shown))
            for item in others[:5]:
                send(shop, "surfaces-4", item, "click")
            send(shop, "surfaces-4", others[-1], "purchase")
            hidden = others[-2]
            send(shop, "surfaces-4", hidden, "hide")
        cursor = answer["next"]
    assert len(shown) == len(set(shown))
    assert set(shown) == all_of_it - {hidden}
    assert "next" not in ask(shop, **body)  # no cursor was requested


def test_a_cursor_is_of_one_list_and_shopper(shop: httpx.Client) -> None:
    body = {"user_id": "surfaces-5", "surface": "home", "k": 5}
    cursor = ask(shop, **body, cursor="")["next"]
    for other in (
        {**body, "user_id": "surfaces-6"},
        {**body, "max_price": 3},
        {**body, "surface": "trending"},
    ):
        refused = shop.post("/recommend", json={**other, "cursor": cursor})
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("the cursor is not of this list")
    for broken in ("x", cursor[:-8], "é" * 40, "A" * 99_999):
        assert shop.post("/recommend", json={**body, "cursor": broken}).status_code == 422


def test_impressions_have_their_surface(shop: httpx.Client, root: Path) -> None:
    answer = ask(shop, user_id="surfaces-7", surface="trending", k=3)
    plain = ask(shop, user_id="surfaces-7", k=3)
    product = {"page": "product", "page_items": ids(plain)[:1]}
    on_page = ask(shop, user_id="surfaces-7", k=3, **product)
    wanted = {
        answer["impression_id"]: "trending",
        plain["impression_id"]: "home",
        on_page["impression_id"]: "product",
    }
    ranked = shop.post("/rerank", json={"item_ids": ids(plain), "surface": "search"}).json()
    wanted[ranked["impression_id"]] = "search"
    for _ in range(50):
        with closing(sqlite3.connect(root / "var/events/events.db")) as database:
            found = dict(database.execute("SELECT impression_id, surface FROM impressions"))
        if wanted.items() <= found.items():
            return
        time.sleep(0.1)
    pytest.fail(f"{wanted} not in {found}")
