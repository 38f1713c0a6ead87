"""A model folder of earlier code gives the recommendations that it gave then, for every form."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.data.dataset import Histories
from components.manifest import write_manifest
from components.recommenders.two_stage.blending import Switching
from components.recommenders.two_stage.hybrid import Hybrid

RECORDED = Path(__file__).parent / "recorded"
NOW = 1_290_000_000
# By the names that the models had then.
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


@pytest.mark.filterwarnings("ignore:.* uses old names of recommenders:FutureWarning")  # see below
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
    recorded = np.load(RECORDED / "answers.npz")
    then = {part: recorded[f"{form}/{part}"] for part in ("ids", "scores", "all")}
    if form == "ranker":  # since then a user without a history gets the order of popularity
        for part, rows in then.items():
            rows[0] = recorded[f"popularity/{part}"][0]
    ids, scores = model.recommend(batch, 12)
    # Bit for bit on the machine that recorded them; another's BLAS may sum in another order.
    assert ids.tolist() == then["ids"].tolist()
    np.testing.assert_allclose(scores, then["scores"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.score(batch), then["all"], rtol=1e-5, atol=1e-6)


def test_a_folder_of_the_version_before_is_read_with_one_warning_by_todays_names(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(RECORDED / "model", folder)
    with pytest.warns(FutureWarning) as warned:
        model = Hybrid.load(folder)
    assert len(warned) == 1
    assert "linear is now ease" in str(warned[0].message)
    assert {"ease", "cease", "tfidf", "rules"} <= model.candidates.keys()
    assert all(name == one.name for name, one in model.candidates.items())
    assert model.weights.keys() == model.candidates.keys()
    assert model.settings.cascade.models == ["popularity", "tfidf"]
    model.save(tmp_path / "again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        again = Hybrid.load(tmp_path / "again")
    batch = histories(len(model.catalogue))
    assert np.array_equal(again.recommend(batch, 5)[0], model.recommend(batch, 5)[0])


def test_a_blend_of_the_version_before_is_read_by_todays_names(tmp_path: Path) -> None:
    candidates = RECORDED / "model/candidates"
    for name in ("linear", "words"):
        shutil.copytree(candidates / name, tmp_path / "candidates" / name)
    saved = {"name": "switching", "settings": {"0": "words", "3": "linear"}}
    saved["candidates"] = ["linear", "words"]
    (tmp_path / "model.json").write_text(json.dumps(saved))
    save_file({}, tmp_path / "model.safetensors")
    with pytest.warns(FutureWarning, match="words is now tfidf"):
        blend = Switching.load(tmp_path)
    assert blend.settings == {0: "tfidf", 3: "ease"}
    assert np.isfinite(blend.score(histories(87))).any()
