"""The served twin: the judged recipe on all data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import load_prepared
from components.recommenders import refit
from components.recommenders.train import fit_candidates
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


def test_the_served_twin_has_learned_from_the_newest_weeks(trained: tuple[Path, Settings]) -> None:
    root, _ = trained
    prepared = load_prepared(root / "data/prepared")
    judged, served = (Hybrid.load(root / "models" / twin) for twin in ("hybrid", "served"))
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


def test_a_refit_that_was_killed_goes_on(
    trained: tuple[Path, Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, settings = trained
    for name in ("data", "models/hybrid", "models/vectors"):
        shutil.copytree(source / name, tmp_path / name)
    prepared = load_prepared(tmp_path / "data/prepared", tmp_path / "models/vectors")
    # As a run leaves it that was killed after the second of three candidates.
    folder = tmp_path / "models/.refit/all"
    names = settings.train.candidates[:2]
    fit_candidates(settings, tmp_path, prepared, prepared.end, names, {}, folder)
    done = folder / names[1] / "fitted.json"
    done.write_text(json.dumps({**json.loads(done.read_text()), "seconds": 4711.0}))
    refit.run(settings, tmp_path)
    assert "4711.0 s" in capsys.readouterr().out, "a candidate that was finished was fitted again"
    assert (tmp_path / "models/served/candidates" / names[1] / "model.json").exists()
    assert not folder.parent.exists()
