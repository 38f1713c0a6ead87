"""Drift report: ids that a stranger sent change nothing but their own text; one at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.file_lock import folder_lock
from monitoring.detection import detect
from monitoring.report import write_report
from tests.monitoring.weeks import END, purchases, reference_of, training

HOSTILE = ("$x^$", r"$\frac$", "</script><script>alert(1)</script>", "<b>x</b>&amp;", "{{ 7 * 7 }}")


def test_ids_of_strangers_are_shown_as_text(tmp_path: Path) -> None:
    """Formulas, markup and templates among the products that moved most."""
    names = {f"P{100 + code}": name for code, name in enumerate(HOSTILE)}
    past = training()
    reference = reference_of(past.assign(item_id=past["item_id"].replace(names)))
    week = purchases(END, 7, seed=1)
    chosen = np.random.default_rng(0).random(len(week)) < 0.4
    ids = pd.Series(np.resize(HOSTILE, len(week)), index=week.index)
    week["item_id"] = week["item_id"].mask(chosen, ids)
    verdict = detect(week, reference)
    assert any(one.name == "item" and one.drifted for one in verdict.statistics)
    arguments = (verdict, week, reference, tmp_path / "report")
    with ThreadPoolExecutor(1) as pool:
        with folder_lock(tmp_path):  # as another `bowerbird monitor` at the same time has it
            second = pool.submit(write_report, *arguments)
            with pytest.raises(TimeoutError):
                second.result(timeout=1)
            assert list(tmp_path.iterdir()) == []
        folder = second.result()
    page = (folder / "index.html").read_text()
    assert "$x^$" in page
    assert "{{ 7 * 7 }}" in page
    for name in ("index.html", "report.html"):
        text = (folder / name).read_text()
        assert "<script>alert(1)" not in text
        assert "<b>x</b>" not in text
    assert "alert(1)" in (folder / "report.html").read_text()
