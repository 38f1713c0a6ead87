"""The stage ``reference``: what it writes, and what is loaded from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import load_prepared
from components.data.held_days import load_held_days
from monitoring import reference
from monitoring.features import by_shop_ids
from monitoring.reference import load_reference
from monitoring.run import check_drift
from tests.conftest import REPOSITORY


def test_the_calibration_says_its_false_alarm_rate(referenced) -> None:
    figures = json.loads((referenced[0] / "reports/calibration.json").read_text())
    assert 0 <= figures["false_alarm_rate"] <= 0.2
    assert figures["weeks"] >= 10


def test_the_reference_is_the_newest_weeks(referenced, newest) -> None:
    found = load_reference(referenced[0] / "models/reference")
    assert found.window_days == 14
    assert pd.Timestamp(found.end) - pd.Timestamp(found.start) == pd.Timedelta(days=4 * 14)
    assert set(newest["item_id"]) <= set(found.table["item"])
    first = pd.to_datetime(found.table["day"], utc=True).min()
    assert first >= pd.Timestamp(found.start)
    starts = [week["start"] for week in found.weeks]
    assert starts == sorted(starts)
    points = found.vocabulary.projected
    assert points is not None
    assert points.shape == (len(found.vocabulary.items), 8)


def test_the_reference_has_the_scores_of_the_test_window(referenced) -> None:
    scores = load_reference(referenced[0] / "models/reference").scores
    assert scores is not None
    assert 0 < scores["hit"].mean() < 1
    assert np.isfinite(scores["score"]).all()


def test_the_reference_has_an_age_at_a_window(referenced) -> None:
    loaded = load_reference(referenced[0] / "models/reference")
    end = pd.Timestamp(loaded.end)
    fortnight = pd.Timedelta(days=14)
    assert loaded.age_of(end - pd.Timedelta(hours=5)) == 0.0  # within the training data
    assert loaded.age_of(end + fortnight - pd.Timedelta(hours=5)) == 0.0
    assert loaded.age_of(end + 3 * fortnight - pd.Timedelta(hours=5)) == pytest.approx(2.0)
    thresholds = {round(loaded.scale(100, age).threshold, 6) for age in (0, 3, 8)}
    assert len(thresholds) == 3
    assert loaded.scale(100, 99) == loaded.scale(100, 8)


def test_a_reference_of_an_earlier_version_is_named(referenced, tmp_path: Path) -> None:
    shutil.copytree(referenced[0] / "models/reference", tmp_path / "reference")
    file = tmp_path / "reference/calibration.json"
    file.write_text(json.dumps({"scales": []}))
    with pytest.raises(ValueError, match="earlier version: run `bowerbird reference`"):
        load_reference(tmp_path / "reference")


def test_a_reference_without_scores_or_calibration(referenced, tmp_path: Path) -> None:
    shutil.copytree(referenced[0] / "models/reference", tmp_path / "reference")
    (tmp_path / "reference/scores.parquet").unlink()
    assert load_reference(tmp_path / "reference").scores is None
    (tmp_path / "reference/calibration.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"calibration\.json .*bowerbird reference"):
        load_reference(tmp_path / "reference")


@pytest.mark.slow
def test_the_old_name_of_the_stage_warns_and_runs_it(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)

    def bowerbird(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bowerbird", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = bowerbird("watch")
    assert done.returncode == 1
    assert "`bowerbird watch` is now `bowerbird reference`" in done.stderr
    assert "data/prepared" in done.stderr.splitlines()[-1]
    shown = bowerbird("--help").stdout
    assert "reference" in shown
    assert "watch" not in shown


def test_a_shop_of_less_than_a_few_months_has_a_reference_without_an_alarm(
    trained, tmp_path: Path, capsys
) -> None:
    """The stage `register` needs the reference: a young shop must be able to train."""
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, tmp_path / name)
    monitor = settings.monitor.model_copy(update={"reference_weeks": 52})
    settings = settings.model_copy(update={"monitor": monitor})
    reference.run(settings, tmp_path)
    assert "no drift alarm yet: data/prepared has 1 windows of 7 days" in capsys.readouterr().out
    report = json.loads((tmp_path / "reports/calibration.json").read_text())
    assert "monitor.reference_weeks" in report["not_calibrated"]

    prepared = load_prepared(tmp_path / "data/prepared")
    window = by_shop_ids(prepared).tail(2000).assign(price=None)
    window.to_parquet(tmp_path / "window.parquet")
    found = check_drift(settings, tmp_path, tmp_path / "window.parquet")
    assert found.verdict.kind == "none"
    assert not found.verdict.enough
    assert "there is no alarm yet" in found.verdict.reasons[0]
    assert "there is no alarm yet" in (found.folder / "index.html").read_text()
    assert not found.retrain
    assert load_held_days(tmp_path).reasons() == {}
