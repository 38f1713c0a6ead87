"""A model folder of earlier code gives the recommendations that it gave then, for every form."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import Histories
from components.manifest import write_manifest
from components.recommenders.two_stage.hybrid import Hybrid

RECORDED = Path(__file__).parent / "recorded"
NOW = 1_290_000_000
FORMS = (
    *("ranker", "weighted", "switching", "cascade"),
    *("popularity", "item_neighbours", "user_neighbours", "matrix_factorisation", "linear"),
    *("collective", "content", "words", "knowledge", "sequential"),
)


def histories(n_items: int) -> Histories:
    """Return nine histories of 0 to 8 items spread over the catalogue, a day apart."""
    lengths = np.arange(9)
    items = np.concatenate([(7 * np.arange(n) + 3 * n) % n_items for n in lengths])
    times = np.concatenate([NOW - 86_400 * np.arange(n, 0, -1) for n in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(items.astype(np.int32), times, offsets, np.full(9, NOW))


@pytest.mark.parametrize("form", FORMS)
def test_recommendations_are_those_of_the_code_that_made_the_folder(
    form: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(RECORDED / "model", folder)
    config = json.loads((folder / "model.json").read_text())
    config["settings"]["form"] = form
    (folder / "model.json").write_text(json.dumps(config))
    write_manifest(folder)
    model = Hybrid.load(folder)
    batch = histories(len(model.catalogue))
    then = np.load(RECORDED / "answers.npz")
    ids, scores = model.recommend(batch, 12)
    # Bit for bit on the machine that recorded them; another's BLAS may sum in another order.
    assert ids.tolist() == then[f"{form}/ids"].tolist()
    np.testing.assert_allclose(scores, then[f"{form}/scores"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.score(batch), then[f"{form}/all"], rtol=1e-5, atol=1e-6)
