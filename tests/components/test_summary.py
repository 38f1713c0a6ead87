"""The text that ends a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.settings import Settings
from components.summary import summary

COUNTS = {"rows": 3, "kept": 2, "quarantined": 1}
NOTE = "orders.csv: column 'test' ('true' 1, 'false' 2) is not used"


@pytest.fixture
def finished(tmp_path: Path) -> dict[str, Any]:
    """The reports of a finished run in ``tmp_path``."""
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
    return reports


def test_the_summary_names_what_to_look_at_in_the_data(
    finished, tmp_path: Path, settings: Settings
) -> None:
    text = summary(tmp_path, settings)
    assert "to look at in the data" in text
    assert f"interactions: {NOTE}" in text
    assert "no drift alarm" not in text
    finished["validation"]["interactions"]["notes"] = []
    (tmp_path / "reports/validation.json").write_text(json.dumps(finished["validation"]))
    assert "to look at" not in summary(tmp_path, settings)


def test_the_summary_says_what_a_stage_left_out(
    finished, tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "reports/preprocess.json").write_text('{"test": 1, "note": "1 event is late"}')
    (tmp_path / "reports/calibration.json").write_text('{"not_calibrated": "only 3 weeks"}')
    text = summary(tmp_path, settings)
    assert "1 event is late" in text
    assert "no drift alarm yet: only 3 weeks" in text


def test_the_summary_names_the_configured_ports(
    finished, tmp_path: Path, settings: Settings
) -> None:
    flows = settings.flows.model_copy(update={"prefect_port": 4299, "mlflow_port": 5099})
    serve = settings.serve.model_copy(update={"port": 3099})
    text = summary(tmp_path, settings.model_copy(update={"flows": flows, "serve": serve}))
    assert "Prefect :4299, MLflow :5099" in text
    assert "http://127.0.0.1:3099" in text
    assert not re.search(r":(4200|5000|3000)\b", text)
