"""Every form answers recommend, score and score_items by the same scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import Histories, load_prepared
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Cascade, Settings, Switch
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Request

FORMS = ("ranker", "weighted", "switching", "cascade", "popularity", "item_neighbours", "content")


@pytest.fixture(scope="module")
def histories(trained: tuple[Path, Settings]) -> Histories:
    """Some customers and one without a history."""
    x = load_prepared(trained[0] / "data/prepared").interactions
    users = np.flatnonzero(np.diff(x.offsets) > 2)[:12]
    past = x.histories(users, int(x.times.max()) + 1)
    return Histories(
        past.items,
        past.times,
        np.append(past.offsets, past.offsets[-1]),
        np.append(past.now, past.now[-1]),
    )


def in_form(trained: tuple[Path, Settings], form: str) -> Hybrid:
    model = Hybrid.load(trained[0] / "models/hybrid")
    model.settings = model.settings.model_copy(
        update={
            "form": form,
            "switching": [Switch(events=0, model="popularity"), Switch(events=3, model="content")],
            "cascade": Cascade(models=["popularity", "content"]),
        }
    )
    return model


@pytest.mark.parametrize("form", FORMS)
def test_recommend_score_and_score_items_agree(trained, histories, form: str) -> None:
    model = in_form(trained, form)
    ids, scores = model.recommend(histories, 15, exclude_seen=False)
    assert (ids >= 0).all()
    rows = np.arange(len(histories))[:, None]
    assert np.array_equal(model.score(histories)[rows, ids], scores)
    wanted = np.unique(ids)[::-1]  # in no order that a form could rely on
    found = model.score_items(histories, wanted)
    place = {item: at for at, item in enumerate(wanted.tolist())}
    columns = np.vectorize(place.__getitem__)(ids)
    assert np.array_equal(found[rows, columns], scores)


@pytest.mark.parametrize("form", FORMS)
def test_a_reranked_list_is_in_the_order_of_the_recommendations(
    trained, histories, form: str
) -> None:
    engine = Engine(in_form(trained, form), "1")
    for row in (0, len(histories) - 1):
        one = histories.take(slice(row, row + 1))
        history = History(one.items, one.times, now=int(one.now[0]))
        (answer,) = engine.recommend([Request(history, 12, exclude_seen=False)])
        assert set(answer.sources) == {"hybrid"}
        reranked = engine.rerank(history, sorted(answer.items))
        assert sorted(reranked.scores, reverse=True) == reranked.scores
        assert reranked.scores == answer.scores
        ties = np.unique(reranked.scores, return_counts=True)[1].max() > 1
        assert ties or reranked.items == answer.items


def test_forms_rank_differently(trained, histories) -> None:
    lists = {form: in_form(trained, form).recommend(histories, 10)[0].tolist() for form in FORMS}
    assert all(lists[a] != lists[b] for a in FORMS for b in FORMS if a < b)


def test_an_item_that_a_rule_forbids_is_reranked_last_with_a_finite_score(
    trained, tmp_path: Path
) -> None:
    model = in_form(trained, "weighted")
    title = model.catalogue.table["title"]
    hearts = np.flatnonzero(title.str.contains(r"\bHEART\b", na=False))[:2].tolist()
    others = np.flatnonzero(~title.str.contains("HEART", na=False))[:6].tolist()
    settings = trained[1]
    file = tmp_path / "no-hearts.yaml"
    file.write_text("goes_with: [{name: none, having: {}, never: {words: [heart]}}]")
    train = settings.train.model_copy(
        update={"rules": settings.train.rules.model_copy(update={"rules": file})}
    )
    rules = build("rules", settings.model_copy(update={"train": train}))
    model.candidates["rules"] = rules.fit(None, model.catalogue)  # type: ignore[arg-type]
    history = History(np.array(others[:1], np.int32), np.array([0]))
    ranked = Engine(model, "1").rerank(history, [*hearts, *others[1:]])
    assert set(ranked.items[-2:]) == set(hearts)
    assert np.isfinite(ranked.scores).all()
    assert ranked.scores[-1] == ranked.scores[-2] < ranked.scores[-3]
