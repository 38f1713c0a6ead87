"""The stage ``evaluate``: its report, under both protocols."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from components.evaluation import report
from components.evaluation.metrics import ACCURACY
from components.settings import Settings


@pytest.mark.parametrize("protocol", ["time", "leave_one_out"])
def test_the_report_judges_every_model(
    trained: tuple[Path, Settings], tmp_path: Path, protocol: str
) -> None:
    source, settings = trained
    for name in ("data", "models"):
        (tmp_path / name).symlink_to(source / name)
    changes = {"protocol": protocol, "bootstrap_samples": 200, "max_users": 150}
    settings = settings.model_copy(
        update={"evaluate": settings.evaluate.model_copy(update=changes)}
    )
    report.run(settings, tmp_path)

    table = pd.read_csv(tmp_path / "reports/evaluation.csv").set_index("model")
    names = [*settings.train.candidates, "hybrid"]
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
    assert page.count("data:image/png;base64") == 3
    assert not re.search(r'(?:src|href)="(?!data:)', page)  # nothing is fetched
