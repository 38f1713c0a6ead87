"""The text that ends a run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from components.summary import summary

COUNTS = {"rows": 3, "kept": 2, "quarantined": 1}
NOTE = "orders.csv: column 'test' ('true' 1, 'false' 2) is not used"


def test_the_summary_names_what_to_look_at_in_the_data(tmp_path: Path) -> None:
    reports = {
        "validation": {"items": COUNTS, "interactions": {**COUNTS, "notes": [NOTE]}},
        "pretrain": {"loss_start": 2.0, "loss_end": 1.0},
        "finetune": {"loss_start": 2.0, "loss_end": 1.0},
        "registration": {"comparison": None, "not_compared": "first", "version": 1, "alias": None},
    }
    (tmp_path / "reports").mkdir()
    for name, report in reports.items():
        (tmp_path / "reports" / f"{name}.json").write_text(json.dumps(report))
    score = {"ndcg@10": 0.1, "low": 0.0, "high": 0.2, "recall@10": 0.1, "coverage@10": 0.5}
    table = pd.DataFrame([{"model": "popular", **score}])
    table.to_csv(tmp_path / "reports/evaluation.csv", index=False)
    text = summary(tmp_path, "127.0.0.1", 3000)
    assert "to look at in the data" in text
    assert f"interactions: {NOTE}" in text
    reports["validation"]["interactions"]["notes"] = []
    (tmp_path / "reports/validation.json").write_text(json.dumps(reports["validation"]))
    assert "to look at" not in summary(tmp_path, "127.0.0.1", 3000)
