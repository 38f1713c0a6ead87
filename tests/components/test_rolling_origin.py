"""Rolling origin: nothing after a cut is known before it, orders are whole, figures are right."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import newcomers
from benchmarks.rolling_origin.__main__ import main, parts_of
from benchmarks.rolling_origin.cuts import open_shop, with_repeats
from benchmarks.rolling_origin.measure import (
    FREQUENCY,
    HYBRID,
    Limits,
    first_orders,
    fitted_calibrator,
    ratio,
)
from components.data.dataset import DAY, Catalogue, Interactions, Prepared
from components.settings import Settings

WINDOW = 14
CUTS = 2
START = pd.Timestamp("2024-01-01", tz="UTC")


def lines(n_users: int = 60, weeks: int = 14) -> pd.DataFrame:
    """Return the purchases of customers who buy the same two products of 40 in every week, and one
    at random."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        own = (user % 20, 20 + user % 20)
        for week in range(weeks):
            moment = START + pd.Timedelta(days=7 * week + int(random.integers(0, 7)), hours=9)
            rows += [
                (f"u{user}", f"i{item}", moment, f"o{user}-{week}", 2.0, 1.0 + item)
                for item in (*own, int(random.integers(0, 40)))
            ]
    names = ["user_id", "item_id", "timestamp", "order_id", "quantity", "price"]
    return pd.DataFrame(rows, columns=names).drop_duplicates(["order_id", "item_id"])


@pytest.fixture(scope="module")
def folder(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with interactions.parquet, and params.yaml with fast models."""
    made = tmp_path_factory.mktemp("weekly")
    lines().to_parquet(made / "interactions.parquet")
    raw = settings.model_dump(mode="json", by_alias=True)
    raw["preprocess"] |= {"test_days": WINDOW, "validation_days": WINDOW}
    raw["train"] |= {"candidates": ["popularity", "item_neighbours"], "fine_tuned": []}
    raw["rank"] |= {"trees": 10, "min_leaf": 5}
    (made / "params.yaml").write_text(yaml.safe_dump(raw))
    return made


@pytest.mark.slow
def test_tables_of_a_cut_end_with_its_window(folder: Path, tmp_path: Path) -> None:
    shop = open_shop(folder, tmp_path)
    stops = shop.stops(CUTS)
    assert stops[1] - stops[0] == WINDOW * DAY
    assert stops[1] == shop.end
    prepared = shop.prepared(stops[0])
    x = prepared.interactions
    assert x.times.max() < prepared.end <= stops[0]
    assert prepared.end - prepared.test_start == WINDOW * DAY
    assert len(x) == (lines()["timestamp"] < pd.Timestamp(stops[0], unit="s", tz="UTC")).sum()
    task = first_orders(prepared, shop.root(stops[0]))
    assert task is not None
    assert (task.histories.times < prepared.test_start).all()
    after = lines().sort_values("timestamp", kind="stable")
    seconds = after["timestamp"].dt.as_unit("s").astype("int64")
    after = after[(seconds >= prepared.test_start) & (seconds < prepared.end)]
    first = after.groupby("user_id")["order_id"].transform("first")
    wanted = after[after["order_id"] == first].groupby("user_id")["item_id"].agg(set)
    ids = prepared.catalogue.ids
    for user, row in zip(
        prepared.users["user_id"].to_numpy()[task.users], task.targets, strict=True
    ):
        assert set(ids[row.indices]) == wanted[user]


@pytest.mark.slow
def test_habits_are_found_and_a_second_run_computes_nothing(folder: Path, tmp_path: Path) -> None:
    shop = open_shop(folder, tmp_path)
    found = parts_of(shop, CUTS, "both", Limits(), "isotonic")
    assert [part.mode for part in found] == ["without", "with"]
    for part in found:
        for record in part.records:
            models = record["models"]
            assert len(models[HYBRID]["weeks"]) == WINDOW / 7
            curve = models[HYBRID]["calibration"]["curve"]
            assert all(0 <= value <= 1 for value in curve[0] + curve[1])
    habits = found[1].records[0]["models"]
    assert habits[FREQUENCY]["ndcg"]["mean"] > 2 * habits["popularity"]["ndcg"]["mean"]
    assert habits[FREQUENCY]["basket"]["recall"]["mean"] > 0.6  # two of three products
    assert habits[FREQUENCY]["revenue"]["mean"] > 2 * habits["popularity"]["revenue"]["mean"]
    assert habits["repeat"]["calibration"]["error"] < 0.1
    assert habits[FREQUENCY]["calibration"]["skill"]["low"] > 0
    again = replace(shop, work=replace(shop.work, compute=False))
    same = parts_of(again, CUTS, "both", Limits(), "isotonic")
    assert [part.records for part in same] == [part.records for part in found]


@pytest.mark.slow
def test_the_command_writes_page_and_figure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["rolling_origin", str(folder), "--cuts", "1", "--repeats", "with"]
    arguments += ["--users", "40", "--calibrator", "platt", "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path)])
    main()
    page = tmp_path / f"rolling_origin_{folder.name}.md"
    text = page.read_text()
    assert "at most: 40 of a window" in text
    assert "| top frequency with recency |" in text
    assert page.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.slow
def test_new_customers_get_popularitys_lists(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lines()
    begin = table["user_id"].str[1:].astype(int) // 4  # four new customers a week
    table = table[table["timestamp"] >= START + pd.to_timedelta(7 * begin, unit="D")]
    table.to_parquet(tmp_path / "interactions.parquet")
    shutil.copy(folder / "params.yaml", tmp_path)
    arguments = ["newcomers", str(tmp_path), "--cuts", "1", "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path / "page.md")])
    newcomers.main()
    text = (tmp_path / "page.md").read_text()
    rows = {row.split(" | ")[0]: row.split(" | ") for row in text.splitlines() if " | " in row}
    assert rows["| new"][1] == "8"
    assert rows["| new"][3] == rows["| new"][4]  # the hybrid's and popularity's
    assert rows["| returning"][2] == rows["| returning"][3]  # the ranker's and the hybrid's


@pytest.mark.slow
def test_a_smaller_shop_has_whole_customers(folder: Path, tmp_path: Path) -> None:
    shop = open_shop(folder, tmp_path, customers=7)
    prepared = shop.prepared(shop.end)
    assert len(prepared.users) == 7
    whole = lines()
    whole = whole[whole["user_id"].isin(prepared.users["user_id"])]
    assert len(prepared.interactions) == len(whole)
    assert set(prepared.catalogue.ids) == set(whole["item_id"])
    assert shop.work.folder != open_shop(folder, tmp_path).work.folder


def test_a_folder_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="neither"):
        open_shop(tmp_path, tmp_path / "work")
    frame = pd.DataFrame({"user_id": ["a"], "item_id": ["b"], "position": [1]})
    frame.to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(SystemExit, match="no column timestamp"):
        open_shop(tmp_path, tmp_path / "work")


def test_repeat_is_a_candidate_where_lists_have_repeat_purchases(settings: Settings) -> None:
    with_them, without = with_repeats(settings, True), with_repeats(settings, False)
    assert "repeat" in with_them.train.names
    assert not with_them.train.exclude_seen
    assert "repeat" not in without.train.names
    assert without.train.exclude_seen


def test_orders_need_order_ids(tmp_path: Path) -> None:
    times = np.array([1, 20]) * DAY
    x = Interactions.from_arrays(np.zeros(2, int), np.array([0, 1]), times)
    catalogue = Catalogue(pd.DataFrame({"item_id": ["a", "b"]}))
    users = pd.DataFrame({"user_id": ["u"]})
    prepared = Prepared(x, catalogue, users, 5 * DAY, 10 * DAY, 21 * DAY)
    (tmp_path / "data/valid").mkdir(parents=True)
    table = pd.DataFrame(
        {
            "user_id": ["u", "u"],
            "item_id": ["a", "b"],
            "event": "purchase",
            "timestamp": pd.to_datetime(times, unit="s", utc=True),
            "order_id": pd.Series([None, None], dtype=object),
        }
    )
    table.to_parquet(tmp_path / "data/valid/interactions.parquet")
    assert first_orders(prepared, tmp_path) is None
    table.assign(order_id=["1", "2"]).to_parquet(tmp_path / "data/valid/interactions.parquet")
    task = first_orders(prepared, tmp_path)
    assert task is not None
    assert task.targets.toarray().tolist() == [[0, 1]]
    assert task.histories.items.tolist() == [0]


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_calibrators_find_the_probability_of_a_score(kind: str) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=20_000) * 30
    truth = 1 / (1 + np.exp(-(scores / 30 - 2)))
    predict = fitted_calibrator(scores, random.random(20_000) < truth, kind)  # type: ignore[arg-type]
    grid = np.array([-30.0, 0.0, 30.0])
    assert predict(grid) == pytest.approx(1 / (1 + np.exp(-(grid / 30 - 2))), abs=0.05)


def test_the_ratio_of_paired_means() -> None:
    random = np.random.default_rng(0)
    second = random.random(500)
    found = ratio(1.5 * second, second)
    assert found["low"] == pytest.approx(1.5)
    assert found["high"] == pytest.approx(1.5)
    assert found["p"] < 1e-6
    noisy = ratio(second + random.normal(size=500), second)
    assert noisy["low"] < noisy["ratio"] < noisy["high"]
