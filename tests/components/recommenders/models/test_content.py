"""Content: whitening undoes what a linear head has learned, so it can be left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.content import Content
from components.settings import Content as Settings


def vectors(seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def content(rows: np.ndarray, whiten: bool) -> Content:
    train = Interactions.from_arrays(
        np.zeros(2, int), np.array([0, 1]), np.arange(2), n_items=len(rows)
    )
    catalogue = Catalogue(pd.DataFrame({"item_id": range(len(rows))}), rows)
    return Content(Settings(decay=0.5, whiten=whiten)).fit(train, catalogue)


def test_without_whitening_scores_are_cosines_of_the_vectors(tmp_path: Path) -> None:
    rows = vectors()
    model = content(rows, whiten=False)
    asked = Histories.from_lists([[3, 5]])
    expected = (0.5 * rows[3] + rows[5]) @ rows.T
    assert model.score(asked)[0] == pytest.approx(expected, abs=1e-5)
    model.save(tmp_path)
    assert Content.load(tmp_path).score(asked)[0] == pytest.approx(expected, abs=1e-5)


def test_whitening_undoes_a_linear_map() -> None:
    rows = vectors()
    asked = Histories.from_lists([[3, 5]])
    stretched = rows * np.array([5, 1, 1, 0.2, 3, 1], dtype=np.float32)
    first, second = content(rows, True).score(asked), content(stretched, True).score(asked)
    assert first == pytest.approx(second, abs=1e-3)
    assert content(stretched, False).score(asked) != pytest.approx(second, abs=1e-1)
