"""A catalogue that grows: what is carried over is what would be built from the whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serving.events.tables import CATALOGUE
from serving.models.catalogue import overlaid
from serving.recommend.engine import Engine
from serving.recommend.types import Filters
from serving.search import Search

NOTHING = dict.fromkeys(column.name for column in CATALOGUE.c)


@pytest.fixture(scope="module")
def grown(engine: Engine) -> tuple[Engine, np.ndarray, list[dict]]:
    """The model over a changed catalogue, the changed and new codes, the changes."""
    known = engine.ids
    rows = [
        {
            **NOTHING,
            "item_id": known[7],
            "title": "ZORBLAX LANTERN",
            "categories": ["Lamps", "New"],
        },
        {**NOTHING, "item_id": known[9], "price": 1.5},
        {**NOTHING, "item_id": known[11], "categories": []},
        {**NOTHING, "item_id": "N1", "title": "HEART T-LIGHT HOLDER", "categories": ["lamps"]},
        {**NOTHING, "item_id": "N2", "title": "QUIXOTIC ZORBLAX"},
    ]
    vectors = engine.vectors
    assert vectors is not None
    model = overlaid(engine.model, rows, lambda table: np.asarray(vectors[: len(table)]))
    items = pd.Index(model.catalogue.table["item_id"].astype(str))
    return Engine(model, "grown"), items.get_indexer([row["item_id"] for row in rows]), rows


def test_the_engine_carried_over_is_the_engine_built_from_the_whole(engine: Engine, grown) -> None:
    whole, codes, _ = grown
    before = [list(names) for names in engine.categories]
    over = Engine(whole.model, "grown", engine, np.sort(codes))
    assert list(over.categories) == list(whole.categories)
    assert over.category_names() == whole.category_names()
    for category in ("lamps", "n", before[7][0], before[11][-1]):
        one, other = over.mask(Filters(category=category)), whole.mask(Filters(category=category))
        assert (one == other).all()
    assert list(engine.categories) == before  # the old engine still serves


@pytest.mark.parametrize("twice", [False, True])
def test_search_reads_what_came_and_what_changed(engine: Engine, grown, twice: bool) -> None:
    whole, codes, _ = grown
    table = whole.model.catalogue.table
    first = Search(engine.model.catalogue.table)
    codes = np.sort(codes)
    if twice:  # what was laid over before does not stay
        more = first.extended(table, np.array([7, 30]), None)
        found = more.extended(table, codes, None)
    else:
        found = first.extended(table, codes, None)
    everything = np.ones(len(table), dtype=bool)
    zorblax = set(found.find("zorblax", everything)[0].tolist())
    assert zorblax == {7, len(table) - 1}
    assert found.find("quixotic lantern", everything)[0].tolist()[:1] == [len(table) - 1]
    old = engine.titles[7]
    assert 7 in first.find(old, everything[: engine.n_items])[0]
    assert 7 not in found.find(old, everything)[0]
    whole = Search(table)
    for query in ("heart t-light holder", "red", "lanturn", "white metal", "lamps"):
        some, expected = found.find(query, everything), whole.find(query, everything)
        assert set(some[0].tolist()) == set(expected[0].tolist())
        assert dict(zip(*some, strict=True)) == pytest.approx(
            dict(zip(*expected, strict=True)), abs=0.05
        )
