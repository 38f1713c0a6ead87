"""1,400 events of one address were retrained on and promoted; 80 made a product popular."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import poisoning
from components.data.dataset import Interactions, load_prepared
from components.data.feedback import over_limits
from components.recommenders.models.popularity import Popularity
from components.settings import Settings


@pytest.mark.parametrize("events", [80, 124])
def test_one_address_does_not_reach_the_popular_shelf(
    small_shop: tuple[Path, Settings], events: int
) -> None:
    root, settings = small_shop
    prepared = load_prepared(root / "data/prepared")
    x = prepared.interactions
    attack = poisoning.shelf_attack(prepared, events, addresses=1)
    item = attack["item_id"].iloc[0]
    code = int(pd.Index(prepared.catalogue.ids).get_loc(item))

    def rank(rows: pd.DataFrame) -> int:
        n = len(rows)
        times = rows["timestamp"].astype("datetime64[s, UTC]").astype("int64")
        everything = Interactions.from_arrays(
            pd.Series([*x.users, *range(x.n_users, x.n_users + n)]).to_numpy(),
            pd.Series([*x.items, *[code] * n]).to_numpy(),
            pd.Series([*x.times, *times]).to_numpy(),
            n_items=x.n_items,
        )
        model = Popularity(settings.train.popularity).fit(everything, prepared.catalogue)
        return int((model.popularity > model.popularity[code]).sum()) + 1

    shelf = 20
    assert rank(attack) <= shelf  # as it was: without limits
    kept = attack.drop(index=over_limits(attack, settings.validate_).index)
    assert len(kept) == settings.validate_.max_client_item_day
    assert rank(kept) > 5 * shelf


@pytest.mark.slow
def test_made_up_users_promote_no_version(tmp_path: Path) -> None:
    settings = poisoning.small_shop(tmp_path)
    clean = poisoning.prepare(settings, tmp_path, None)
    poisoning.fit_both(settings, tmp_path)
    champion = tmp_path / "champion"
    shutil.copytree(tmp_path / "models/hybrid", champion)
    many = poisoning.promotion_attack(clean, addresses=200)
    before = poisoning.promotion(settings, tmp_path, champion, many, limits=False)
    assert before.promoted
    assert before.judged.low > 0
    assert before.truth.difference <= 0
    after = poisoning.promotion(settings, tmp_path, champion, many, limits=True)
    assert not after.promoted
    assert after.judged.users < before.judged.users
    one = poisoning.promotion_attack(clean)
    limited = poisoning.promotion(settings, tmp_path, champion, one, limits=True)
    assert not limited.promoted
    assert limited.kept == 3 * settings.validate_.max_client_item_day
    assert limited.pages < 0.01
