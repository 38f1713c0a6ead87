"""The recipes' code runs, and the files that they name are there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from pyarrow import feather

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.data.sources.files import connect, files_of
from components.data.sources.stored import READERS
from components.recommenders import factory
from components.settings import Settings, Source, load_settings
from serving.api.app import create_app
from tests.conftest import REPOSITORY
from tests.docs.examples import examples


def recipe(name: str) -> SimpleNamespace:
    """Return what the Python blocks of a recipe define, run one after the other."""
    page = f"docs/recipes/{name}.md"
    names: dict[str, Any] = {"__name__": "recipe"}
    for one in examples("python"):
        if one.page == page:
            exec(compile(one.text, str(one), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture
def novelty() -> Iterator[SimpleNamespace]:
    yield recipe("add-a-model")
    factory.unregister("novelty")


def test_the_model_scores_by_first_sale_and_is_saved_and_loaded(
    novelty: SimpleNamespace, tmp_path: Path
) -> None:
    times = 10**9 + np.array([0, 10, 20]) * DAY
    train = Interactions.from_arrays(np.zeros(3, int), np.array([0, 1, 0]), times, 1, 3)
    catalogue = Catalogue(pd.DataFrame({"item_id": list("abc")}))
    model = novelty.Novelty(novelty.NoveltySettings(half_life_days=10)).fit(train, catalogue)
    assert model.novelty == pytest.approx([0.25, 0.5, 0])
    model.save(tmp_path)
    again = novelty.Novelty.load(tmp_path).score(Histories.from_lists([[0], []]))
    assert (again == model.novelty).all()


def test_the_models_settings_are_accepted_once_it_is_registered(
    novelty: SimpleNamespace, tmp_path: Path
) -> None:
    block = next(one for one in examples("yaml") if one.page == "docs/recipes/add-a-model.md")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["train"] |= yaml.safe_load(block.text)["train"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(params))
    assert load_settings(file).train.section("novelty").half_life_days == 14
    assert factory.registered("novelty") is novelty.Novelty


@pytest.fixture
def data_source() -> Iterator[SimpleNamespace]:
    yield recipe("add-a-data-source")
    READERS.pop(".arrow")


def test_the_reader_of_a_new_kind_of_file_reads_it(
    data_source: SimpleNamespace, tmp_path: Path
) -> None:
    feather.write_feather(pa.table({"customer": ["007"], "sku": ["a"]}), tmp_path / "orders.arrow")
    source = Source(path="orders.arrow", columns={"user_id": "customer", "item_id": "sku"})
    (file,) = files_of(source, tmp_path)
    rows, cells = file.columns(connect("UTC"), ["customer", "sku"])
    table = rows.select(**{name: one.text for name, one in cells.items()}).execute()
    assert table.to_dict("list") == {"customer": ["007"], "sku": ["a"]}


def test_the_export_of_a_database_is_a_parquet_file(
    data_source: SimpleNamespace, tmp_path: Path
) -> None:
    con = ibis.duckdb.connect()
    lines = pd.DataFrame({"customer": ["1"], "sku": ["a"], "ordered_at": ["2026-01-01"]})
    con.create_table("order_lines", lines.assign(quantity=2, note="x"))
    file = data_source.export_orders(con, tmp_path / "shop")
    assert list(pd.read_parquet(file)) == ["customer", "sku", "ordered_at", "quantity"]


def test_the_route_is_documented_with_its_errors(settings: Settings) -> None:
    route = recipe("add-a-route")
    app = create_app(settings.serve)
    route.add_routes(app)
    app.openapi_schema = None
    found = app.openapi()["paths"]["/prices"]["get"]
    assert {"200", "429", "503"} <= found["responses"].keys()
    assert route.price_range(np.array([3.0, np.nan, 1.0, 2.0])).model_dump() == {
        "lowest": 1,
        "median": 2,
        "highest": 3,
    }


def test_the_statistic_is_the_difference_of_the_shares_at_night() -> None:
    night_shift = recipe("add-a-drift-statistic").night_shift
    hours = np.array([1, 2, 3, 12, 13, 14])
    reference = np.array([25, 0, 0, 25, 25, 25])
    current = np.array([25, 25, 25, 0, 0, 25])
    assert night_shift(hours, reference, current) == pytest.approx(0.5)
    assert math.isnan(night_shift(hours, reference, current // 4))
