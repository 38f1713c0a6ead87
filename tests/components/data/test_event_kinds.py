"""What events say: weights, successes and exclusions, from the settings to the held-out windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.dataset import DAY, Interactions, load_prepared
from components.data.event_kinds import EventKinds
from components.data.holdout import window_task
from components.data.schema import EVENTS, TABLES
from components.data.split import run
from components.settings import Preprocess, Settings

START = 1_700_006_400  # midnight
TEST = START + 72 * DAY


def prepare(root: Path, settings: Settings, rows: list[tuple], **preprocess) -> Path:
    """Run ``preprocess`` on (user_id, item_id, event, day, rating) of a span of 100 days."""
    ends = [("first", "a", "purchase", 0, None), ("last", "a", "purchase", 99.5, None)]
    ends.insert(1, ("first", "a", "purchase", 65, None))  # each window has a success
    frame = pd.DataFrame([*ends, *rows], columns=["user_id", "item_id", "event", "day", "rating"])
    frame["timestamp"] = pd.to_datetime(START + frame.pop("day") * DAY, unit="s", utc=True)
    frame["rating"] = frame["rating"].astype("float32")
    frame["source_row"] = np.arange(len(frame))
    frame = frame.assign(source="events.csv", quantity=1.0)
    (root / "data/valid").mkdir(parents=True)
    tables = {
        "interactions": frame,
        "items": pd.DataFrame({"item_id": frame["item_id"].unique()}).assign(available=True),
        "users": frame[["user_id"]].drop_duplicates(),
    }
    for name, table in tables.items():
        schema = TABLES[name]
        cells = table.reindex(columns=schema.names).astype(object)
        whole = pa.Table.from_pandas(cells.where(cells.notna(), None), schema)
        pq.write_table(whole, root / f"data/valid/{name}.parquet")
    changed = settings.preprocess.model_copy(update=preprocess)
    run(settings.model_copy(update={"preprocess": changed}), root)
    return root / "data/prepared"


def targets(folder: Path, exclude_seen: bool = True) -> set[tuple[str, str]]:
    prepared = load_prepared(folder)
    task = window_task(prepared, "test", exclude_seen)
    rows, items = task.targets.nonzero()
    users = prepared.users["user_id"].to_numpy()[task.users[rows]]
    return set(zip(users, prepared.catalogue.ids[items], strict=True)) - {("last", "a")}


def test_a_purchase_after_views_is_a_target_and_a_view_is_none(
    tmp_path: Path, settings: Settings
) -> None:
    rows = [
        ("anna", "lamp", "view", 60, None),
        ("anna", "lamp", "purchase", 80, None),
        ("ben", "cup", "purchase", 60, None),
        ("ben", "cup", "purchase", 80, None),  # he had it
        ("ben", "lamp", "view", 81, None),
        ("ben", "mat", "rating", 82, 5),
        ("carl", "mat", "rating", 83, 2),  # no success
        ("carl", "cup", "dislike", 60, None),
        ("carl", "cup", "purchase", 84, None),
    ]
    folder = prepare(tmp_path, settings, rows)
    assert targets(folder) == {("anna", "lamp"), ("ben", "mat")}
    # What was disliked is never recommended, so it is no target either.
    assert targets(folder, exclude_seen=False) == {
        ("anna", "lamp"),
        ("ben", "mat"),
        ("ben", "cup"),
    }


def test_successes_and_exclusions_are_settings(tmp_path: Path, settings: Settings) -> None:
    rows = [
        ("anna", "lamp", "view", 60, None),
        ("anna", "lamp", "purchase", 80, None),
        ("anna", "mat", "cart", 80, None),
    ]
    chosen = {"targets": ["cart", "purchase"], "excluding": list(EVENTS)}
    folder = prepare(tmp_path, settings, rows, **chosen)
    assert targets(folder) == {("anna", "mat")}


def test_weights_reach_what_models_learn_and_score(tmp_path: Path, settings: Settings) -> None:
    rows = [
        ("anna", "lamp", "view", 10, None),
        ("anna", "cup", "cart", 11, None),
        ("anna", "mat", "purchase", 12, 1),  # a purchase with its rating
        ("ben", "lamp", "view", 10, None),
        ("ben", "lamp", "purchase", 11, None),
    ]
    prepared = load_prepared(prepare(tmp_path, settings, rows))
    names = prepared.catalogue.ids
    users = prepared.users["user_id"].tolist()
    matrix = prepared.interactions.matrix().toarray()
    learned = {
        (user, item): matrix[row, code]
        for row, user in enumerate(users)
        for code, item in enumerate(names)
        if matrix[row, code]
    }
    assert learned == pytest.approx(
        {("anna", "lamp"): 0.3, ("anna", "cup"): 0.6, ("ben", "lamp"): 1}
        | {("first", "a"): 1, ("last", "a"): 1}
    )
    history = prepared.interactions.histories(np.array([users.index("anna")]), TEST)
    np.testing.assert_allclose(history.weights(0.5), [0.25 * 0.3, 0.5 * 0.6, -1])
    assert names[history.liked.items].tolist() == ["lamp", "cup"]
    assert history.excluded(True).tolist() == [False, False, True]
    assert history.excluded(False).tolist() == [False, False, True]


def test_a_disliked_product_is_no_longer_liked_whatever_came_before(
    tmp_path: Path, settings: Settings
) -> None:
    rows = [
        ("anna", "lamp", "view", 10, None),
        ("anna", "lamp", "purchase", 11, None),
        ("anna", "lamp", "rating", 12, 1),
        ("anna", "cup", "view", 13, None),
        ("ben", "lamp", "purchase", 11, None),
    ]
    prepared = load_prepared(prepare(tmp_path, settings, rows))
    names, users = prepared.catalogue.ids, prepared.users["user_id"].tolist()
    lamp = names.tolist().index("lamp")
    column = prepared.interactions.matrix().toarray()[:, lamp]
    assert column[users.index("anna")] == 0
    assert column[users.index("ben")] == 1
    history = prepared.interactions.histories(np.array([users.index("anna")]), TEST)
    assert names[history.liked.items].tolist() == ["cup"]
    np.testing.assert_allclose(history.weights(1.0), [0, 0, -1, 0.3])
    earlier = prepared.interactions.where(prepared.interactions.times < START + 12 * DAY)
    assert earlier.matrix()[users.index("anna"), lamp] == 1  # nothing of the dislike is known yet


@pytest.mark.slow
def test_purchases_alone_carry_no_arrays(prepared_folder: Path) -> None:
    x = load_prepared(prepared_folder).interactions
    assert x.strengths is x.targets is x.excluding is x.weights is None


def test_without_a_success_preprocess_names_the_kinds(tmp_path: Path, settings: Settings) -> None:
    rows = [("anna", "lamp", "view", 60, None), ("ben", "lamp", "view", 61, None)]
    with pytest.raises(ValueError, match=r"preprocess\.targets: .* cart.*purchase \(3\), view \(2"):
        prepare(tmp_path, settings, rows, targets=["cart"])


def test_chosen_events_keep_what_they_mean() -> None:
    kinds = EventKinds.of(Preprocess())
    x = Interactions.from_arrays(np.array([0, 0, 1, 1]), np.arange(4), np.arange(4))
    strengths = np.array([0.3, -1, 1, 0.6], dtype=np.float32)
    excluding = np.array([False, True, True, False])
    x = x.where(np.ones(4, dtype=bool))
    object.__setattr__(x, "strengths", strengths)
    object.__setattr__(x, "excluding", excluding)
    histories = x.histories(np.array([1, 0]), 10)
    assert histories.strengths is not None
    np.testing.assert_array_equal(histories.pick(np.array([1])).strengths, strengths[:2])
    np.testing.assert_array_equal(histories.take(slice(0, 1)).excluding, excluding[2:])
    np.testing.assert_array_equal(histories.last(1).strengths, [strengths[3], strengths[1]])
    assert kinds.weights[kinds.meant(np.array([4, 4]), np.array([2, 2.5]))].tolist() == [-1, 1]
