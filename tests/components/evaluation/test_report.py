"""The stage ``evaluate``: its report, under both protocols."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import load_prepared
from components.evaluation import report
from components.evaluation.metrics import ACCURACY
from components.settings import Settings


def serve(root: Path) -> None:
    """Write 400 lists of two products, drawn from four, served in the test window."""
    prepared = load_prepared(root / "data/prepared")
    random = np.random.default_rng(0)
    drawn = [random.permutation(prepared.catalogue.ids[:4])[:2].tolist() for _ in range(400)]
    names = [f"imp{number}" for number in range(400)]
    impressions = pd.DataFrame(
        {
            "impression_id": names,
            "user_id": prepared.users["user_id"].iloc[np.arange(400) % 50].to_numpy(),
            "item_ids": drawn,
            "propensities": [[0.25, 0.25]] * 400,
            "timestamp": pd.to_datetime(prepared.test_start + np.arange(400), unit="s", utc=True),
        }
    )
    clicks = {"impression_id": names[:100], "item_id": [one[0] for one in drawn[:100]]}
    clicked = pd.DataFrame(clicks).assign(event="click", authentication="session")
    for file, frame in (
        ("impressions/one.parquet", impressions),
        ("valid/interactions.parquet", clicked),
    ):
        (root / "data" / file).parent.mkdir()
        frame.to_parquet(root / "data" / file)


@pytest.mark.parametrize("protocol", ["time", "leave_one_out"])
def test_the_report_judges_every_model(
    trained: tuple[Path, Settings], tmp_path: Path, protocol: str
) -> None:
    source, settings = trained
    (tmp_path / "data").mkdir()
    for name in ("data/prepared", "models"):
        (tmp_path / name).symlink_to(source / name)
    serve(tmp_path)
    changes = {"protocol": protocol, "bootstrap_samples": 200, "max_users": 150}
    settings = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update=changes)}
    )
    report.run(settings, tmp_path)

    table = pd.read_csv(tmp_path / "reports/evaluation.csv").set_index("model")
    # switching and cascade need models that the fixture does not train
    names = [*settings.train.candidates, "weighted", "hybrid"]
    assert table.index.tolist() == names
    assert table["ndcg@10"].between(table["low"], table["high"]).all()
    assert (table["new_users"] + table["known_users"] <= 150).all()
    beyond = ("coverage", "gini", "novelty", "diversity", "serendipity", "popularity_lift")
    for metric in (*ACCURACY, *beyond, "miscalibration"):
        assert table[f"{metric}@10"].notna().all(), metric
    assert table.loc["item_neighbours", "coverage@10"] > table.loc["popularity", "coverage@10"]
    if protocol == "leave_one_out":  # one target each
        assert table["precision@10"].to_numpy() == pytest.approx(table["recall@10"] / 10)
        assert (table["new_users"] == 0).all()
    assert json.loads((tmp_path / "reports/evaluation.json").read_text())["hybrid_to_best_single"]

    pairs = pd.read_csv(tmp_path / "reports/evaluation/significance.csv")
    assert len(pairs) == len(names) * (len(names) - 1) / 2
    assert (pairs["difference"] >= 0).all()
    page = (tmp_path / "reports/evaluation/report.html").read_text()
    assert ("leave-one-out" in page) == (protocol == "leave_one_out")
    if protocol == "time":  # what was served is known, what others would have earned is not
        assert "0.250 [" in page
        assert "not judged" in page
    else:
        assert "No served lists" in page
    assert page.count("data:image/png;base64") == 3
    assert not re.search(r'(?:src|href)="(?!data:)', page)  # nothing is fetched
