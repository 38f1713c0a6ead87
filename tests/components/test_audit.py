"""The audit of the leave-one-out figures finds planted leaks, and none where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.audit import __main__ as audit
from benchmarks.audit import independent, order, rankers, targets, texts
from benchmarks.audit.rankers import Table
from benchmarks.audit.shop import Shop
from benchmarks.leave_one_out import chosen_settings, figures, read
from components.data.dataset import Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import leave_one_out_task
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import load_settings

MEMBERS = ("item_neighbours", "tfidf", "popularity")
REPOSITORY = Path(__file__).resolve().parents[2]
N_USERS, N_ITEMS, KINDS = 240, 60, 6


def folder_of(root: Path, name: str = "made") -> Path:
    """Write a shop in which users stay with the items of one kind, which their titles name."""
    random = np.random.default_rng(0)
    folder = root / name
    folder.mkdir(parents=True)
    code = random.permutation(N_ITEMS)  # ids that say nothing of kind or time
    rows = []
    for user in range(N_USERS):
        liked = np.flatnonzero(np.arange(N_ITEMS) % KINDS == user % KINDS)
        chosen = random.choice(liked, 6, replace=False)
        other = random.integers(0, N_ITEMS)
        items = chosen if other in chosen else np.insert(chosen, random.integers(0, 5), other)
        rows += [(f"u{user:03}", f"i{code[item]:02}", place) for place, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    frame.to_parquet(folder / "interactions.parquet")
    titles = pd.DataFrame(
        {
            "item_id": [f"i{code[item]:02}" for item in range(N_ITEMS)],
            "title": [f"kind{item % KINDS} number{item}" for item in range(N_ITEMS)],
        }
    ).sort_values("item_id")
    titles.to_parquet(folder / "items.parquet", index=False)
    vectors = Path("var/benchmarks") / name / "vectors.npy"  # of the current folder
    vectors.parent.mkdir(parents=True)
    np.save(vectors, np.eye(N_ITEMS, dtype=np.float32))
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        x, catalogue = read(folder_of(root))
        settings = chosen_settings(load_settings(REPOSITORY / "params.yaml"))
    rank = settings.rank.model_copy(update={"trees": 40, "min_leaf": 20})
    settings = settings.model_copy(update={"rank": rank})
    return Shop(x, catalogue, settings, MEMBERS, root / "models")


@pytest.fixture(scope="module")
def other(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop with other targets."""
    x = targets.redrawn(shop.x, 1)
    place = tmp_path_factory.mktemp("redrawn")
    return replace(shop, x=x, place=place)


def test_other_targets_are_new_to_their_users(shop: Shop) -> None:
    last = shop.x.offsets[1:] - 1
    before, after = shop.x.items, targets.redrawn(shop.x, 1).items
    assert (before[last] != after[last]).all()
    assert np.array_equal(np.delete(before, last), np.delete(after, last))
    for user in range(N_USERS):
        assert after[last[user]] not in before[shop.x.offsets[user] : last[user]]


def test_targets_of_users_with_all_items_cannot_be_drawn_again() -> None:
    same = np.tile(np.arange(3), 4)
    x = Interactions.from_arrays(np.repeat(np.arange(4), 3), same, np.arange(12))
    with pytest.raises(ValueError, match="cannot be drawn"):
        targets.redrawn(x, 0)


def test_chance_is_the_mean_over_many_draws(shop: Shop) -> None:
    _, task = shop.test
    ids = np.argsort(np.random.default_rng(3).random((N_USERS, N_ITEMS)), axis=1)[:, :10]
    expected = targets.Chance.of(ids, task, np.full(N_ITEMS, 1 / N_ITEMS))
    found = [
        ndcg(ids, leave_one_out_task(targets.redrawn(shop.x, seed))[1].targets).mean()
        for seed in range(40)
    ]
    spread = np.sqrt(expected.variances.sum()) / N_USERS
    assert abs(np.mean(found) - expected.means.mean()) < 4 * spread / np.sqrt(40)
    assert np.std(found) == pytest.approx(spread, rel=0.4)


def test_nothing_reads_the_targets(shop: Shop, other: Shop) -> None:
    changed, rows = targets.check(shop.learned(), other.learned())
    assert changed == []
    assert {row["model"] for row in rows} == {"hybrid", *MEMBERS}
    assert not any(row["leak"] for row in rows)
    assert rows[0]["model"] == "hybrid"
    assert rows[0]["own"] > 2 * rows[0]["ndcg@10"]


class ReadsLaterSales(Shop):
    """Its item statistics, features of the ranker, count test items."""

    def hybrid(self, form: str, ranker=None) -> Hybrid:
        model = Hybrid(self.settings.rank, self.models(form), ranker, self.settings.seed)
        return model.fit(self.x, self.catalogue)


def test_a_ranker_fed_from_the_test_window_is_found(shop: Shop, other: Shop) -> None:
    leaking = [
        ReadsLaterSales(one.x, one.catalogue, one.settings, one.members, one.place)
        for one in (shop, other)
    ]
    changed, _ = targets.check(*(one.learned() for one in leaking))
    assert set(changed) == {"item statistics", "ranker"}


def test_a_model_that_reads_the_targets_is_found(shop: Shop, other: Shop) -> None:
    def reads(one: Shop) -> targets.Learned:
        honest = one.learned()
        ids = honest.lists["popularity"].copy()
        seen = honest.task.targets.indices
        ids[::3, 4] = seen[::3]  # in fifth place, of a third of the users
        return replace(honest, lists={"reader": ids})

    _, rows = targets.check(reads(shop), reads(other))
    assert [row["leak"] for row in rows] == [True]


def test_models_are_taken_over_only_from_the_same_data(shop: Shop, tmp_path: Path) -> None:
    shop.models("without")
    x = shop.x.where(shop.x.users != 0)
    with pytest.raises(ValueError, match="--kept"):
        replace(shop, x=x, place=tmp_path).take_models(shop, ["tfidf"])
    replace(shop, place=tmp_path).take_models(shop, ["tfidf"])
    assert (tmp_path / "without/tfidf/fitted.json").exists()


def test_tables_rank_as_the_hybrid_does(shop: Shop) -> None:
    _, validation = shop.validation
    _, test = shop.test
    hybrid = shop.hybrid("without")
    hybrid.fit_ranker(validation.histories, validation.targets, True)
    text = hybrid.ranker.booster.model_to_string()
    assert shop.ranker.booster.model_to_string() == text
    expected, _ = hybrid.recommend(test.histories, 10)
    table = Table.of(shop.hybrid("without"), test.histories)
    assert np.array_equal(table.lists(shop.ranker, len(test.users)), expected)
    rows = np.arange(0, len(test.users), 3)
    assert np.array_equal(table.of_users(rows).lists(shop.ranker, len(rows)), expected[rows])
    again = shop.training.fit(
        validation.targets, shop.settings.rank, shop.settings.seed, like=shop.ranker
    )
    assert again.booster.model_to_string() == text


def test_the_ablation_finds_a_feature_from_the_test_window(shop: Shop) -> None:
    _, validation = shop.validation
    _, test = shop.test

    def planted(table: Table, task: Task) -> Table:
        bought = np.asarray(task.targets[table.pairs.rows, table.pairs.items], dtype=np.float32)
        features = np.vstack([table.pairs.features.T, bought.ravel()]).T
        return replace(
            table, pairs=replace(table.pairs, features=features), names=[*table.names, "later"]
        )

    training = planted(shop.training, validation)
    asked = planted(Table.of(shop.hybrid("without"), test.histories), test)
    found = []
    for group in (rankers.TIME, (*rankers.TIME, "later")):
        ranker = training.without(group).fit(validation.targets, shop.settings.rank, 0)
        ids = asked.without(group).lists(ranker, len(test.users))
        found.append(ndcg(ids, test.targets).mean())
    assert found[0] > 0.95 > 0.7 > found[1]


def test_groups_name_features_that_there_are(shop: Shop) -> None:
    for group in rankers.GROUPS.values():
        assert set(group) <= set(shop.training.names)
    assert set(rankers.TIME) == {"log_count_7d", "log_count_28d", "age", "last_sale"}


@pytest.fixture(scope="module")
def in_time() -> Interactions:
    """Sequences whose item codes ascend, mostly by one."""
    random = np.random.default_rng(0)
    start = random.integers(0, 400, 300)
    steps = np.cumsum(random.choice([1, 1, 2], (300, 6)), axis=1)
    users = np.repeat(np.arange(300), 6)
    return Interactions.from_arrays(users, (start[:, None] + steps).ravel(), np.tile(range(6), 300))


def test_codes_in_time_order_are_found(in_time: Interactions, shop: Shop) -> None:
    places = np.arange(in_time.n_items)
    shuffled = np.random.default_rng(1).permutation(in_time.n_items)
    assert order.ascending(in_time, places, 1)[0] == 1
    assert order.ascending(in_time, shuffled, 1) == (pytest.approx(0.5, abs=0.05), 1500)
    _, task = leave_one_out_task(in_time)
    rows = order.readers(task, {"codes": places, "other": shuffled})
    assert {row["order"]: row["leak"] for row in rows} == {
        "codes, up": True,
        "codes, down": False,
        "other, up": False,
        "other, down": False,
    }


def test_following_ids_are_new_to_the_user() -> None:
    x = Interactions.from_arrays(np.zeros(4, int), np.array([4, 7, 5, 0]), np.arange(4), n_items=9)
    _, task = leave_one_out_task(x)  # 4, 7, 5
    assert order.next_ids(task.histories, np.arange(9), 1, k=4).tolist() == [[6, 8, -1, -1]]
    assert order.next_ids(task.histories, np.arange(9), -1, k=4).tolist() == [[3, 2, 1, 0]]


def test_a_model_that_breaks_ties_by_a_telling_code_is_found(
    in_time: Interactions, shop: Shop
) -> None:
    titles = pd.DataFrame({"item_id": range(in_time.n_items)})
    catalogue = replace(shop.catalogue, table=titles, vectors=None)
    renamed, table, new = order.relabelled(in_time, catalogue, 1)
    assert (table.table["item_id"].to_numpy()[new] == titles["item_id"]).all()
    assert np.array_equal(new[in_time.items], renamed.items)
    tasks = [leave_one_out_task(one)[1] for one in (in_time, renamed)]
    by_code = [order.next_ids(one.histories, np.arange(in_time.n_items), 1) for one in tasks]
    # The same lists under both codings: what a model that reads no codes returns.
    honest = [by_code[0], np.where(by_code[0] < 0, -1, new[by_code[0]])]
    lists = [{"by code": a, "honest": b} for a, b in zip(by_code, honest, strict=True)]
    rows = order.same_figures(lists[0], tasks[0], lists[1], tasks[1])
    assert {row["model"]: row["leak"] for row in rows} == {"by code": True, "honest": False}
    assert rows[1]["same"] == 1


def test_only_purchases_of_one_day_are_exchanged() -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["b", "b", "b", "a", "a", "c"],
            "position": [0, 2, 1, 0, 1, 0],
            "timestamp": [0, 90_000, 86_400, 86_399, 86_400, 0],
        }
    )
    tied = order.days_tied(frame)
    assert tied is not None
    assert tied.tolist() == [True, False, False]
    assert order.days_tied(frame.drop(columns="timestamp")) is None
    dated = frame.assign(timestamp=pd.to_datetime(frame["timestamp"], unit="s"))
    assert np.array_equal(order.days_tied(dated), tied)
    users = np.array([0, 0, 0, 1, 1, 2])
    x = Interactions.from_arrays(users, np.arange(6), np.array([0, 1, 2, 0, 1, 0]))
    assert order.swapped(x, tied).items.tolist() == [0, 2, 1, 3, 4, 5]
    mixed = order.shuffled(np.array([1.0, 1, 0]), np.array([0.0, 0, 1]), tied)
    assert mixed.tolist() == [0.5, 1, 0]


def test_near_duplicates_are_found_by_their_titles() -> None:
    titles = [
        "red nail polish 9 ml",
        "blue nail polish 9 ml",
        "wig",
        "red nail polish 9 ml",
        "comb",
    ]
    users = np.repeat(np.arange(3), 2)
    x = Interactions.from_arrays(users, np.array([0, 3, 0, 1, 2, 4]), np.tile([0, 1], 3))
    similarity = texts.nearest(titles, leave_one_out_task(x)[1])
    assert similarity[0] == pytest.approx(1)
    assert 0.5 < similarity[1] < 0.9
    assert similarity[2] == 0
    rows = texts.rows(np.array([1.0, 0.5, 0.0]), similarity)
    assert rows[0]["others"] == 0.25
    assert rows[0]["near"] == 1
    assert rows[0]["share"] == pytest.approx(1 / 3)


def test_texts_are_the_titles_whatever_else_the_folder_holds(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path)
    items = pd.read_parquet(folder / "items.parquet")
    items.assign(also_bought="i01", reviews="text").to_parquet(folder / "items.parquet")
    assert read(folder)[1].table.equals(shop.catalogue.table)


def test_trec_eval_agrees_and_a_changed_list_is_seen(shop: Shop, tmp_path: Path) -> None:
    _, test = shop.test
    ids = shop.models("without")["item_neighbours"].recommend(test.histories, 10)[0]
    independent.write_qrels(test, tmp_path / "qrels.txt")
    independent.write_run(ids, tmp_path / "run.txt")
    ours = figures(ids, test)
    found = independent.trec_eval(tmp_path / "run.txt", tmp_path / "qrels.txt")
    assert found["ndcg@10"] == pytest.approx(ours["ndcg@10"], abs=1e-6)
    assert found["hr@10"] == pytest.approx(ours["hr@10"], abs=1e-6)
    independent.write_run(ids[:, ::-1], tmp_path / "run.txt")
    other = independent.trec_eval(tmp_path / "run.txt", tmp_path / "qrels.txt")
    assert abs(other["ndcg@10"] - ours["ndcg@10"]) > 1e-3


def test_other_choices_stop_the_audit(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    chosen = audit.choices(["cease"], [1], 0)
    audit.written_down(chosen, file)
    audit.written_down(chosen, file)
    with pytest.raises(SystemExit, match="other choices"):
        audit.written_down({**chosen, "seeds of the ranker": [2]}, file)


def test_a_folder_without_interactions_is_refused_before_choices_are_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(SystemExit, match="has no interactions"):
        audit.main([str(tmp_path / "nowhere"), "--results", str(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOWERBIRD_PARAMS", str(REPOSITORY / "params.yaml"))
    folder = folder_of(tmp_path)
    command = [str(folder), "--models", ",".join(MEMBERS), "--kept", "tfidf", "--seeds", "1,2"]
    audit.main([*command, "--users", "200", "--results", str(tmp_path)])
    text = (tmp_path / "audit_made.md").read_text()
    for heading in ("Targets", "Features of the ranker", "Ids", "Ties", "Texts", "Seeds"):
        assert f"## {heading}" in text
    assert "ranker): nothing" in text
    assert "Above chance: none" in text
    assert "that models read are the titles alone" in text
    assert "Not computed yet" not in text
    (kept,) = tmp_path.glob("var/benchmarks/made/audit/without-with-*/targets.json")
    kept.write_text(kept.read_text().replace('"changed": []', '"changed": ["ranker"]'))
    audit.main([*command, "--users", "200", "--results", str(tmp_path)])  # takes what is there
    assert "ranker): ranker" in (tmp_path / "audit_made.md").read_text()
    audit.main([*command, "--kept", "popularity", "--users", "200", "--results", str(tmp_path)])
    assert "ranker): nothing" in (tmp_path / "audit_made.md").read_text()  # of another question
    assert json.loads((tmp_path / "audit_made_choices.json").read_text())["users, 0 for all"] == 200
