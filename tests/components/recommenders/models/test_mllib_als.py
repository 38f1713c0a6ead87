"""Matrix factorisation by Spark's MLlib: the same loss, the same lists, loaded into our model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.dataset import load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.models.als import MatrixFactorisation, Observed, solve_implicit
from components.recommenders.models.mllib_als import factors_of, fit_mllib
from components.settings import MatrixFactorisation as MatrixFactorisationSettings
from tests.spark import local_spark

SETTINGS = MatrixFactorisationSettings(
    engine="spark", factors=12, iterations=8, confidence=7.0, regularisation=0.03
)
HISTORIES = 60


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with local_spark() as found:
        yield found


@pytest.fixture(scope="module")
def prepared(prepared_folder: Path):
    return load_prepared(prepared_folder)


@pytest.mark.slow
@pytest.mark.parametrize("half_life_days", [None, 60.0])
def test_its_factors_are_the_minimum_of_our_loss(session, prepared, half_life_days) -> None:
    """MLlib solves the users last: exactly what fold-in solves, given the items' factors."""
    x = prepared.interactions
    matrix = x.matrix(half_life_days)
    fitted = fit_mllib(session, matrix, SETTINGS, 3)
    items = factors_of(fitted.itemFactors, x.n_items, SETTINGS.factors)
    theirs = factors_of(fitted.userFactors, x.n_users, SETTINGS.factors)
    s = SETTINGS
    ours = solve_implicit(Observed.of(matrix), items, s.confidence, s.regularisation)
    size = np.linalg.norm(theirs, axis=1)
    assert np.median(size) > 0.1
    # ``solve_implicit`` adds 0.001 to a penalty of 0.21 a purchase.
    assert (np.linalg.norm(ours - theirs, axis=1) <= 0.01 * size + 1e-5).all()
    wrong = solve_implicit(Observed.of(matrix), items, s.confidence, 1.5 * s.regularisation)
    assert np.median(np.linalg.norm(wrong - theirs, axis=1) / np.maximum(size, 1e-9)) > 0.02


@pytest.mark.slow
def test_the_model_gives_the_lists_of_mllib(session, prepared, tmp_path: Path) -> None:
    x = prepared.interactions
    fitted = fit_mllib(session, x.matrix(), SETTINGS, 3)
    model = MatrixFactorisation(SETTINGS, 3).fit(x, prepared.catalogue)
    model.save(tmp_path)
    model = MatrixFactorisation.load(tmp_path)
    assert model.settings.engine == "spark"
    users = np.flatnonzero(np.diff(x.offsets) > 0)[:HISTORIES]
    ids, scores = model.recommend(x.histories(users, x.times.max() + 1), 10, exclude_seen=False)
    asked = session.createDataFrame([(int(user),) for user in users], ["user"])
    rows = fitted.recommendForUserSubset(asked, 10).collect()
    theirs = {row["user"]: row["recommendations"] for row in rows}
    overlaps = []
    for user, own, values in zip(users, ids, scores, strict=True):
        found = theirs[int(user)]
        overlaps.append(len({one["item"] for one in found} & set(own.tolist())) / 10)
        assert values == pytest.approx([one["rating"] for one in found], rel=0.01, abs=1e-3)
    assert np.mean(overlaps) > 0.99
    first = [theirs[int(user)][0]["item"] for user in users]
    assert np.mean(ids[:, 0] == first) > 0.97


@pytest.mark.slow
def test_its_lists_are_as_good_as_ours(session, prepared) -> None:
    x = prepared.interactions
    before = x.where(x.times < prepared.test_start)
    task = window_task(prepared, "test", exclude_seen=True)
    found = {}
    for engine in ("local", "spark"):
        settings = SETTINGS.model_copy(update={"engine": engine})
        model = MatrixFactorisation(settings, 3).fit(before, prepared.catalogue)
        found[engine] = ndcg(lists(model, task, 10, True), task.targets).mean()
    assert found["spark"] > 0.85 * found["local"]


def test_without_pyspark_the_error_names_setting_and_package() -> None:
    code = (
        "import sys; sys.modules['pyspark.errors'] = None\n"
        "from components.spark_session import spark_session\n"
        "spark_session('train.matrix_factorisation.engine', 'local')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "ValueError: train.matrix_factorisation.engine is spark, but pyspark" in found.stderr
    assert "pip install 'bowerbird[spark]'`, or set" in found.stderr
    assert "train.matrix_factorisation.engine to local" in found.stderr
