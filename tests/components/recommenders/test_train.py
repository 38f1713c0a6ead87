"""Candidates are fitted one by one, each for its window and from its own files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import load_prepared
from components.recommenders import inputs, train
from components.recommenders.factory import load_model
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.rules import RuleBased
from components.settings import Settings, Train, load_settings
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def shop(
    small_shop: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Settings]:
    """A root with prepared tables, vectors of no meaning, and the shop's rules."""
    root = tmp_path_factory.mktemp("train")
    shutil.copytree(small_shop[0] / "data/prepared", root / "data/prepared")
    (root / "models/vectors").mkdir(parents=True)
    items = len(load_prepared(root / "data/prepared").catalogue)
    np.save(root / "models/vectors/items.npy", np.ones((items, 2), np.float32))
    shutil.copy(REPOSITORY / "rules.yaml", root)
    candidates = small_shop[1].train.model_copy(update={"candidates": ["popularity", "rules"]})
    settings = small_shop[1].model_copy(update={"train": candidates})
    inputs.run(settings, root)
    return root, settings


def test_a_fit_writes_one_model_of_what_lies_before_its_window(
    shop: tuple[Path, Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    root, settings = shop
    sold = {}
    for window in ("validation", "test", "all"):
        train.fit(settings, root, "popularity", window)
        assert [one.name for one in (root / train.CANDIDATES / window).iterdir()] == ["popularity"]
        model = load_model(root / train.CANDIDATES / window / "popularity")
        assert isinstance(model, Popularity)
        sold[window] = set(np.flatnonzero(model.popularity).tolist())
        line = capsys.readouterr().out.split()
        assert line[:2] == [window, "popularity"]
        assert line[-1] == "s"
    x = load_prepared(root / "data/prepared").interactions
    ends = train.window_ends(load_prepared(root / "data/prepared"))
    for window, end in ends.items():
        assert sold[window] == set(x.items[x.times < end].tolist())
    assert sold["validation"] < sold["test"] < sold["all"] == set(x.items.tolist())


def test_rules_are_read_from_the_candidates_own_folder(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    assert json.loads((root / "data/inputs/popularity/files.json").read_text()) == []
    assert json.loads((root / "data/inputs/rules/files.json").read_text()) == ["rules.yaml"]
    train.fit(settings, root, "rules", "validation")
    model = load_model(root / train.CANDIDATES / "validation/rules")
    assert isinstance(model, RuleBased)
    names = {rule.name for rule in model.rules.goes_with}
    copy = root / "data/inputs/rules/rules.yaml"
    text = copy.read_text()
    name = sorted(names)[0]
    copy.write_text(text.replace(name, "another name"))
    try:
        train.fit(settings, root, "rules", "validation")
        model = load_model(root / train.CANDIDATES / "validation/rules")
        assert isinstance(model, RuleBased)
        assert {rule.name for rule in model.rules.goes_with} == {*names, "another name"} - {name}
    finally:
        copy.write_text(text)


def test_a_file_elsewhere_is_refused(shop: tuple[Path, Settings], tmp_path: Path) -> None:
    root, settings = shop
    file = shutil.copy(root / "rules.yaml", tmp_path)
    section = settings.train.rules.model_copy(update={"rules": Path(file)})
    candidates = settings.train.model_copy(update={"candidates": ["rules"], "rules": section})
    with pytest.raises(ValueError, match=r"train\.rules names .*rules\.yaml: copy the file into"):
        inputs.run(settings.model_copy(update={"train": candidates}), root)
    inputs.run(settings, root)


def test_an_unknown_model_or_window_is_named_with_those_there_are(
    shop: tuple[Path, Settings],
) -> None:
    root, settings = shop
    with pytest.raises(ValueError, match="no window 'tset'; there are: validation, test, all"):
        train.fit(settings, root, "popularity", "tset")
    with pytest.raises(ValueError, match="no recommender 'eease'; there are: popularity, "):
        train.fit(settings, root, "eease", "test")


@pytest.mark.parametrize(
    ("candidates", "fine_tuned", "message"),
    [
        (["cease", "policy"], [], "policy starts from cease: name it in fine_tuned"),
        (["cease"], ["tfidf"], "tfidf starts from no other: name it in candidates"),
        (["tfidf"], ["policy"], "policy starts from cease: name cease in candidates too"),
    ],
)
def test_a_candidate_stands_in_the_list_of_its_kind(
    candidates: list[str], fine_tuned: list[str], message: str
) -> None:
    section = load_settings(REPOSITORY / "params.yaml").train.model_dump()
    changed = section | {"candidates": candidates, "fine_tuned": fine_tuned}
    with pytest.raises(ValueError, match=message):
        Train(**changed)
    good = section | {"candidates": ["cease"], "fine_tuned": ["policy"]}
    assert Train(**good).names == ["cease", "policy"]
