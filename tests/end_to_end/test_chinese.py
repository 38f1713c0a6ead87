"""A Chinese shop, from ``bowerbird init`` over its files to search, similar and served lists.

With the multilingual encoder: its packages are those of ``requirements/models.txt``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml

from tests import chinese_shop
from tests.end_to_end.conftest import House
from tests.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
TRADITIONAL = str.maketrans("壶铁带滤网叶罐杯", "壺鐵帶濾網葉罐杯")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The shop's folder after ``bowerbird run``."""
    root = tmp_path_factory.mktemp("chinese")
    chinese_shop.write(root / "data")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BOWERBIRD_")},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "BENTOML_HOME": str(root / "bentoml"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    made = House(root, environment).run(
        *("bowerbird", "init", "mine", "--currency", "CNY", "--timezone", "Asia/Shanghai"),
        *("--interactions", "data/行为.csv", "--items", "data/商品.csv"),
        *("--reviews", "data/评价.csv"),
    )
    assert "100 % zh" in made.stdout
    house = House(root / "mine", environment)
    file = house.root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    assert params["pretrain"]["encoder"] == "multilingual-e5-small"
    params["pretrain"] |= {"steps": 2, "eval_every": 2, "batch_size": 8}
    params["finetune"] |= {"head_steps": 20}
    params["train"]["sequential"] |= {"epochs": 2, "dimensions": 32}
    params["register"] |= {"min_users": 10}
    params["monitor"] |= {"window_days": 5}  # 120 days are few windows of a week
    params["serve"] |= {"port": free_port()}
    params["flows"] |= {"prefect_port": free_port(), "mlflow_port": free_port()}
    file.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True))
    (house.root / "run.log").write_text(house.run("bowerbird", "run").stdout)
    return house


@pytest.fixture(scope="module")
def client(shop: House) -> Iterator[httpx.Client]:
    with shop.served() as client:
        yield client


def test_no_row_is_bad_and_categories_are_the_shops(shop: House) -> None:
    report = json.loads((shop.root / "reports/validation.json").read_text())
    assert all(of["kept"] == of["rows"] for of in report.values() if "rows" in of)
    items = pd.read_parquet(shop.root / "data/prepared/items.parquet")
    assert set(items["main_category"]) == set(chinese_shop.KINDS)
    assert not items["categories_inferred"].any()


def test_the_corpus_is_chinese_and_its_words_are_whole(shop: House) -> None:
    languages = np.load(shop.root / "data/corpus/languages.npy")
    assert (languages == "zh").mean() > 0.98
    starts = np.load(shop.root / "data/corpus/starts.npy")
    assert 0.3 < starts.mean() < 0.95  # words of several tokens, and not one word a text


def test_the_candidates_learned_taste_from_words_and_purchases(shop: House) -> None:
    table = pd.read_csv(shop.root / "reports/evaluation.csv").set_index("model")["ndcg@10"]
    assert table["hybrid"] > 1.5 * table["popularity"]
    assert table["tfidf"] > 1.5 * table["popularity"]


def titles(client: httpx.Client, path: str, **body: Any) -> list[str]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json()["items"]]


@pytest.mark.parametrize("query", ["茶壶", "茶壺", "紫砂茶壶", "ＴＹＰＥ-Ｃ充电线", "雨傘"])
def test_search_finds_words_in_either_script(client: httpx.Client, query: str) -> None:
    found = titles(client, "/search", query=query, k=5)
    kind = {"茶": "茶壶", "紫": "茶壶", "Ｔ": "充电线", "雨": "雨伞"}[query[0]]
    assert len(found) == 5
    assert all(kind in title for title in found), found


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("teapot", ("茶壶", "手冲壶", "茶")),
        ("umbrella", ("雨伞",)),
        ("Regenschirm", ("雨伞",)),
        ("scarf", ("围巾",)),
    ],
)
def test_a_query_of_another_language_finds_products(
    client: httpx.Client, query: str, kinds: tuple[str, ...]
) -> None:
    found = titles(client, "/search", query=query, k=10)
    assert sum(any(kind in title for kind in kinds) for title in found) >= 3, found


def test_similar_products_are_of_the_kind(shop: House, client: httpx.Client) -> None:
    items = pd.read_parquet(shop.root / "data/prepared/items.parquet")
    teapots = items[items["title"].str.contains("茶壶")]
    found = titles(client, "/similar", item_ids=[teapots["item_id"].iloc[0]], k=5)
    assert sum("茶" in title for title in found) >= 3, found


def test_a_shopper_gets_the_kinds_that_they_like(shop: House, client: httpx.Client) -> None:
    events = pd.read_parquet(shop.root / "data/valid/interactions.parquet")
    items = pd.read_parquet(shop.root / "data/prepared/items.parquet").set_index("item_id")
    best = events["user_id"].value_counts().index[0]
    liked = items["main_category"][events.loc[events["user_id"] == best, "item_id"]]
    answer = client.post("/recommend", json={"user_id": best, "k": 10}).json()["items"]
    assert all(item["currency"] == "CNY" for item in answer)
    of_answer = items["main_category"][[item["item_id"] for item in answer]]
    favourite = liked.value_counts().index[:2]
    assert of_answer.isin(favourite).sum() >= 4
    assert any(item["reason"] for item in answer)


def test_a_need_in_chinese_is_met_and_delivery_is_no_product(client: httpx.Client) -> None:
    said = client.post("/conversation", json={"message": "有没有马克杯,不超过60元"}).json()
    assert said["state"]["language"] == "zh"
    assert said["state"]["max_price"] == 60
    assert said["items"]
    assert all("杯" in item["title"] and item["price"] <= 60 for item in said["items"])
    about = {"message": "第二个详细介绍一下", "state": said["state"]}
    told = client.post("/conversation", json=about).json()
    assert [item["item_id"] for item in told["items"]] == [said["items"][1]["item_id"]]
    asked = client.post("/conversation", json={"message": "寄到上海要几天"}).json()
    assert asked["items"] == []
