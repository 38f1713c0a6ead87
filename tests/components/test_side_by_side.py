"""Side by side: every contender has the same data, and lists that break the rules are caught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.peers.common import K, Peer, best, measured, read_train
from benchmarks.side_by_side import __main__ as side_by_side
from benchmarks.side_by_side import judge, page
from benchmarks.side_by_side.contenders import THEIRS, Contender
from benchmarks.side_by_side.data import WINDOWS, Data, checked, export, known, load, train_of
from benchmarks.side_by_side.ours import Ours
from benchmarks.side_by_side.quoted import quoted

REPOSITORY = Path(__file__).resolve().parents[2]
N_USERS, N_ITEMS, KINDS = 160, 60, 6


def folder_of(root: Path) -> Path:
    """Write a shop in which users stay with the items of one kind."""
    random = np.random.default_rng(0)
    folder = root / "made"
    folder.mkdir()
    rows = []
    for user in range(N_USERS):
        liked = np.flatnonzero(np.arange(N_ITEMS) % KINDS == user % KINDS)
        chosen = random.choice(liked, 6, replace=False)
        rows += [(f"u{user:03}", f"i{item:02}", place) for place, item in enumerate(chosen)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    frame.to_parquet(folder / "interactions.parquet")
    vectors = root / "var/benchmarks/made/vectors.npy"
    vectors.parent.mkdir(parents=True)
    np.save(vectors, np.eye(N_ITEMS, dtype=np.float32))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("BOWERBIRD_PARAMS", str(REPOSITORY / "params.yaml"))
    return load(folder)


def lists_of(data: Data, name: str = "item_neighbours") -> np.ndarray:
    split = data.splits["test"]
    ours = Ours(name, data, "test")
    found = measured(ours, train_of(split), split.task.users, data.exclude_seen)
    assert found["bytes"] > 0
    assert found["peak"] > 0
    assert (found["seconds"] > 0).all()
    return found["ids"]


def test_the_peers_file_has_what_our_models_learn_from(data: Data, tmp_path: Path) -> None:
    for window in WINDOWS:
        split = data.splits[window]
        export(data, window, tmp_path / "data.npz")
        arrays = np.load(tmp_path / "data.npz")
        train = read_train(arrays)
        assert arrays["listed"].tolist() == split.task.users.tolist()
        assert bool(arrays["exclude_seen"]) is True
        assert (train.n_users, train.n_items) == (N_USERS, N_ITEMS)
        offsets = train.offsets()
        for row, user in enumerate(split.task.users):
            history = split.task.histories.pick(np.array([row])).items
            mine = slice(offsets[user], offsets[user + 1])
            assert train.items[mine].tolist() == history.tolist()
            assert train.places[mine].tolist() == list(range(len(history)))
            assert not set(split.task.targets[row].indices) & set(history.tolist())


def test_the_test_targets_are_in_no_training_data(data: Data) -> None:
    newest = data.splits["test"].task.targets
    for window in WINDOWS:
        matrix = train_of(data.splits[window]).matrix()[data.splits["test"].task.users]
        assert matrix.multiply(newest).nnz == 0
    wanted = data.splits["validation"].task.targets
    assert train_of(data.splits["validation"]).matrix().multiply(wanted).nnz == 0
    assert train_of(data.splits["test"]).matrix().multiply(wanted).nnz == N_USERS


def test_a_sample_of_users_keeps_the_training_data(folder: Path, data: Data) -> None:
    some = load(folder, 20)
    assert len(some.splits["test"].task.users) == 20
    assert len(some.splits["test"].train) == len(data.splits["test"].train)


def test_our_lists_pass_and_are_those_of_the_model(data: Data) -> None:
    ids = lists_of(data)
    task = data.splits["test"].task
    judge.check(ids, task, True, N_ITEMS, "ours")
    of_kind = (ids % KINDS == (task.users % KINDS)[:, None]) & (ids >= 0)
    assert of_kind[:, :4].all()  # each has four items of the kind left
    assert judge.figures(ids, task, N_ITEMS)["hit_rate"]["mean"] == 1.0


class RanksSeen(Peer):
    """A peer that ignores the exclusion rule: the user's own items first."""

    def fit(self) -> None:
        self.model = self.train.matrix()

    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        return best(self.model[users].toarray(), k)


def test_a_peer_whose_lists_have_seen_items_is_caught(data: Data) -> None:
    split = data.splits["test"]
    ids = measured(RanksSeen(), train_of(split), split.task.users, True)["ids"]
    with pytest.raises(ValueError, match=r"cheat: 160 lists have an excluded item.* user 0"):
        judge.check(ids, split.task, True, N_ITEMS, "cheat")
    judge.check(ids, split.task, False, N_ITEMS, "cheat")  # a shop that recommends them again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids: ids[:-1], r"lists of shape \(159, 10\), not \(160, 10\)"),
        (lambda ids: np.where(ids == ids[0, 0], N_ITEMS, ids), "outside 0 to 59"),
        (lambda ids: np.where(ids == ids[0, 0], -2, ids), "outside 0 to 59"),
        (lambda ids: np.column_stack([ids[:, :1], ids[:, :-1]]), "user 0 has an item twice"),
    ],
)
def test_lists_that_break_a_rule_are_refused(data: Data, change, message: str) -> None:
    ids = lists_of(data, "popularity")
    with pytest.raises(ValueError, match=message):
        judge.check(change(ids), data.splits["test"].task, True, N_ITEMS, "one")


def test_figures_are_those_of_the_definitions(data: Data) -> None:
    task = data.splits["test"].task
    ids = lists_of(data, "popularity")
    wanted = task.targets.indices
    gains = []
    for row, target in zip(ids.tolist(), wanted.tolist(), strict=True):
        gains.append(1 / np.log2(row.index(target) + 2) if target in row else 0.0)
    found = judge.figures(ids, task, N_ITEMS)
    assert found["ndcg"]["mean"] == pytest.approx(np.mean(gains))
    assert found["recall"]["mean"] == found["hit_rate"]["mean"] == np.mean(np.array(gains) > 0)
    assert found["ndcg"]["low"] < found["ndcg"]["mean"] < found["ndcg"]["high"]
    assert found["coverage"] == len(np.unique(ids)) / N_ITEMS


def test_the_difference_to_the_hybrid_is_paired(data: Data) -> None:
    task = data.splits["test"].task
    good, poor = lists_of(data), lists_of(data, "popularity")
    apart = judge.difference(poor, good, task)
    means = [judge.figures(ids, task, N_ITEMS)["ndcg"]["mean"] for ids in (poor, good)]
    assert apart["mean"] == pytest.approx(means[0] - means[1])
    assert apart["low"] < apart["mean"] < apart["high"] < 0
    assert apart["p"] < 1e-6
    assert judge.difference(good, good, task) == {"mean": 0, "low": 0, "high": 0, "p": 1}


def test_a_shop_with_dislikes_is_refused(data: Data) -> None:
    split = data.splits["test"]
    x = split.train
    strengths = np.ones(len(x), dtype=np.float32)
    strengths[2] = -1.0
    disliked = replace(x, strengths=strengths)
    histories = disliked.histories(split.task.users, int(x.times.max()) + 1)
    task = replace(split.task, histories=histories)
    splits = {**data.splits, "test": replace(split, train=disliked, task=task)}
    with pytest.raises(SystemExit, match="user 0 has an item before the test window"):
        checked(replace(data, splits=splits))
    assert checked(data) is data


def test_users_without_a_history_are_left_out(data: Data) -> None:
    split = data.splits["test"]
    train = split.train.where(split.train.users > 2)
    assert known(split.task, train).users.tolist() == list(range(3, N_USERS))


def test_best_breaks_ties_by_code_and_marks_short_lists() -> None:
    scores = np.array([[0.0, 1.0, 1.0, -np.inf], [-np.inf] * 4])
    assert best(scores, 3).tolist() == [[1, 2, 0], [-1, -1, -1]]
    assert best(scores, 5).tolist() == [[1, 2, 0, -1, -1], [-1] * 5]


def test_configurations_are_the_same_for_every_run_and_within_the_budget() -> None:
    one = Contender("a", "b", "c", {"x": [1, 2, 3], "y": [4, 5]})
    found = one.configurations(4)
    assert found == one.configurations(4)
    assert found[0] == {"x": 1, "y": 4}
    assert len({tuple(options.items()) for options in found}) == 4
    assert len(one.configurations(100)) == 6
    assert len(replace(one, most=1).configurations(4)) == 1
    assert len({one.title for one in THEIRS}) == len({one.peer for one in THEIRS}) == len(THEIRS)


def test_the_hybrid_is_not_judged_on_the_targets_it_learned_from(data: Data) -> None:
    with pytest.raises(ValueError, match="judge test"):
        Ours("hybrid", data, "validation")


def test_ours_are_measured_and_the_page_is_written(
    folder: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "RESULTS", tmp_path)
    results = tmp_path / "side_by_side.json"
    monkeypatch.setattr(side_by_side, "OURS", ("popularity",))
    side_by_side.run(f"small={folder}", ["bowerbird"], 0, False, results)
    kept = json.loads(results.read_text())["small"]
    assert kept["data"]["test"] == {"events": 5 * N_USERS, "users": N_USERS}
    record = kept["records"]["Bowerbird popularity"]
    expected = judge.figures(lists_of(data, "popularity"), data.splits["test"].task, N_ITEMS)
    assert record["test"]["ndcg"] == expected["ndcg"]
    text = (tmp_path / "side_by_side.md").read_text()
    assert "## small" in text
    assert f"| Bowerbird popularity | {expected['ndcg']['mean']:.4f} ±" in text
    assert "Not measured on this data: implicit ALS" in text
    assert (tmp_path / "side_by_side.png").stat().st_size > 5000


def test_our_figures_are_quoted_from_the_page_of_the_same_users(data: Data, tmp_path: Path) -> None:
    results = REPOSITORY / "benchmarks/results"
    beauty = quoted(replace(data, name="amazon-beauty-5core"), results)
    table = pd.read_csv(results / "leave_one_out_amazon-beauty-5core.csv")
    row = table[(table["model"] == "hybrid") & (table["form"] == "with")].iloc[0]
    assert beauty["Bowerbird hybrid, from its page"]["test"]["ndcg"]["mean"] == row["ndcg@10"]
    assert beauty["Bowerbird cease, from its page"]["test"]["ndcg"]["mean"] < row["ndcg@10"]
    assert quoted(data, results) == {}
    grocer = replace(data, name="complete-journey", protocol="time", exclude_seen=False)
    assert quoted(grocer, results) == {}  # the page has 1,000 users, this shop 160
    page_of = (results / "two_shops.md").read_text().replace("1,000 users", f"{N_USERS} users")
    (tmp_path / "two_shops.md").write_text(page_of)
    part = page_of.partition("complete-journey: with seen products, test window")[2]
    part = part.partition("## ")[0]
    for name in ("hybrid", "cease", "popularity"):
        test = quoted(grocer, tmp_path)[f"Bowerbird {name}, from its page"]["test"]
        cells = [
            f"{test[metric]['mean']:.4f} ({test[metric]['low']:.4f} to {test[metric]['high']:.4f})"
            for metric in ("ndcg", "recall")
        ]
        assert f"| {name} | {' | '.join(cells)} |" in part


def test_a_model_of_pairs_of_items_is_not_begun_on_a_large_catalogue(
    folder: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "RESULTS", tmp_path)
    some = [replace(one, most_items=N_ITEMS - 1) for one in THEIRS if one.library == "rectools"]
    monkeypatch.setattr(side_by_side, "THEIRS", some)
    results = tmp_path / "side_by_side.json"
    side_by_side.run(f"small={folder}", ["rectools"], 0, False, results)
    failed = json.loads(results.read_text())["small"]["failed"]
    assert failed["RecTools EASE"] == "it needs too much memory for 60 items"


@pytest.mark.slow
def test_a_peer_in_its_own_environment_learns_the_kinds(
    folder: Path, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "RESULTS", tmp_path)
    results = tmp_path / "side_by_side.json"
    side_by_side.run(f"small={folder}", ["implicit", "lightfm", "cornac"], 0, False, results)
    kept = json.loads(results.read_text())["small"]
    assert kept["failed"] == {}
    random = K / N_ITEMS
    for title in ("implicit ALS", "implicit BM25", "LightFM WARP", "Cornac BPR"):
        record = kept["records"][title]
        assert record["test"]["hit_rate"]["mean"] > 3 * random, title
        assert record["test"]["bytes"] > 0
        assert record["tried"] <= side_by_side.CONFIGURATIONS
    assert page.ordered(kept["records"])[0][1]["test"]["ndcg"]["mean"] > 0.3


def test_a_folder_without_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"neither data/prepared .*dvc repro encode inputs.* nor"):
        load(tmp_path)
