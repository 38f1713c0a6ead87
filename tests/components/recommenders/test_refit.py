"""The served model: the evaluated candidates and ranker, fitted on all data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.data.dataset import load_prepared
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


def test_the_served_model_has_learned_from_the_newest_weeks(trained: tuple[Path, Settings]) -> None:
    root, _ = trained
    prepared = load_prepared(root / "data/prepared")
    judged, served = (Hybrid.load(root / "models" / name) for name in ("hybrid", "served"))
    x = prepared.interactions
    first_sold_in_test = np.setdiff1d(
        x.items[x.times >= prepared.test_start], x.items[x.times < prepared.test_start]
    )
    assert len(first_sold_in_test) > 20
    assert not judged.item_statistics[first_sold_in_test, 0].any()
    assert served.item_statistics[first_sold_in_test, 0].all()
    popularity = served.candidates["popularity"].popularity
    assert (popularity[first_sold_in_test] > 0).all()
    assert served.ranker.booster.model_to_string() == judged.ranker.booster.model_to_string()
    assert served.trained_until == x.times.max()
