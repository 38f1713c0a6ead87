"""One client and one user count for no more than the limits, in every model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.dataset import Interactions, load_prepared
from components.data.schema import INTERACTIONS, USERS
from components.data.split import run
from components.recommenders.models.popularity import Popularity
from components.recommenders.two_stage.features import item_statistics
from components.settings import Settings

FIRST = pd.Timestamp("2010-01-01", tz="UTC")


def prepared_interactions(
    small_shop: tuple[Path, Settings], root: Path, rows: pd.DataFrame
) -> tuple[Interactions, pd.DataFrame, pd.DataFrame]:
    """Return the interactions of the shop with further valid rows, the users and the items."""
    source, settings = small_shop
    (root / "data/valid").mkdir(parents=True)
    (root / "data/valid/items.parquet").symlink_to(source / "data/valid/items.parquet")
    for name, schema, more in (
        ("interactions", INTERACTIONS, rows),
        ("users", USERS, pd.DataFrame({"user_id": rows["user_id"].unique()})),
    ):
        table = pa.Table.from_pandas(
            more.reindex(columns=schema.names), schema=schema, preserve_index=False
        )
        own = pq.read_table(source / f"data/valid/{name}.parquet")
        pq.write_table(pa.concat_tables([own, table]), root / f"data/valid/{name}.parquet")
    run(settings, root)
    prepared = load_prepared(root / "data/prepared")
    return prepared.interactions, prepared.users, prepared.catalogue.table


def purchases(item: str, users: list[str], clients: list[str], authentication: str) -> pd.DataFrame:
    """Return a purchase of each user on the item, a day apart."""
    return pd.DataFrame(
        {
            "user_id": users,
            "item_id": item,
            "event": "purchase",
            "quantity": np.float32(1),
            "timestamp": [FIRST + pd.Timedelta(days=n) for n in range(len(users))],
            "client": clients,
            "authentication": authentication,
        }
    )


@pytest.fixture(scope="module")
def item(small_shop: tuple[Path, Settings]) -> str:
    items = pd.read_parquet(small_shop[0] / "data/valid/interactions.parquet")["item_id"]
    return str(items.value_counts().index[500])


def test_a_client_counts_on_a_product_as_three_events_whatever_names_it_uses(
    small_shop: tuple[Path, Settings], tmp_path: Path, item: str
) -> None:
    names = [f"session:{n}" for n in range(40)]
    rows = purchases(item, names, ["one"] * 40, "session")
    x, users, items = prepared_interactions(small_shop, tmp_path, rows)
    code = int(pd.Index(items["item_id"]).get_loc(item))
    false = np.flatnonzero(users["user_id"].isin(names))
    mine = np.isin(x.users, false)
    assert mine.sum() == 40
    assert x.weights is not None
    assert x.weights[mine].sum() == 3
    assert x.weights[~mine].min() == 1
    newest = np.argsort(-x.times[mine])[:3]
    assert (x.weights[mine][newest] == 1).all()
    # In each model: what is counted, and what the matrices of the others have.
    honest = x.where(~mine)
    assert (x.matrix()[:, code] > 0).sum() == (honest.matrix()[:, code] > 0).sum() + 3
    assert np.isin(x.counted().users, false).sum() == 3
    n_items = len(items)
    counts = [np.expm1(item_statistics(one, n_items)[code, 0]) for one in (x, honest)]
    assert counts[0] == pytest.approx(counts[1] + 3, rel=1e-4)


def test_a_user_counts_on_a_product_as_three_events_and_the_shops_own_all_count(
    small_shop: tuple[Path, Settings], tmp_path: Path, item: str
) -> None:
    clients = [f"address {n}" for n in range(20)]
    rows = pd.concat(
        [
            purchases(item, ["session:eager"] * 20, clients, "session"),
            purchases(item, ["known to the shop"] * 20, ["the shop"] * 20, "shop"),
        ]
    )
    x, users, items = prepared_interactions(small_shop, tmp_path, rows)
    names = users["user_id"].to_numpy()[x.users]
    assert x.weights is not None
    assert x.weights[names == "session:eager"].sum() == 3
    assert x.weights[names == "known to the shop"].sum() == 20
    settings = small_shop[1].train.popularity.model_copy(update={"half_life_days": 1e9})
    catalogue = load_prepared(tmp_path / "data/prepared").catalogue
    model = Popularity(settings).fit(x, catalogue)
    code = int(pd.Index(items["item_id"]).get_loc(item))
    assert model.popularity[code] == pytest.approx((x.items == code).sum() - 17)
