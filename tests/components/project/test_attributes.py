"""``bowerbird init`` proposes attributes and declares none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from components.project.guessing import guess
from components.project.init import Defaults, init
from components.project.inspection import inspect
from components.settings import Source

CUSTOMERS = pd.DataFrame(
    {
        "customer": [f"K{n}" for n in range(60)],
        "name": [f"Anna Number {n}" for n in range(60)],
        "Age band": ["25-34", "65+", "35-44"] * 20,
        "children": [n % 4 for n in range(60)],
        "income": [20_000 + 1000 * (n % 29) for n in range(60)],
        "since": [f"2020-01-{1 + n % 25:02}" for n in range(60)],
        "constant": "x",
        "likes": ["tea;coffee", "tea", "coffee", "cocoa;tea", "AC/DC"] * 12,
        "score": [0.5 + n / 7 for n in range(60)],
        "phone": [f"47{n:08}" for n in range(60)],
    }
)


def test_columns_that_say_what_customers_are_are_proposed_with_their_types(tmp_path: Path) -> None:
    CUSTOMERS.to_csv(tmp_path / "customers.csv", index=False)
    (found,) = (guess("users", one, "customers.csv") for one in inspect(tmp_path / "customers.csv"))
    assert yaml.safe_load(found.attributes) == {
        "age_band": {"column": "Age band", "type": "category"},
        "children": "category",
        "income": "number",
        "since": "date",
        "likes": {"type": "set", "separator": ";"},
        "score": "number",
    }
    assert "attributes" not in found.source
    Source.model_validate({**found.source, "attributes": yaml.safe_load(found.attributes)})


@pytest.mark.slow
def test_init_prints_them_and_does_not_declare_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CUSTOMERS.to_csv(tmp_path / "customers.csv", index=False)
    times = pd.date_range("2024-01-01", periods=600, freq="12h").astype(str)
    orders = {
        "customer": [f"K{n % 60}" for n in range(600)],
        "sku": [f"S{n % 7}" for n in range(600)],
    }
    pd.DataFrame({**orders, "time": times, "title": "Cup"}).to_csv(
        tmp_path / "orders.csv", index=False
    )
    paths = {
        name: [tmp_path / f"{file}.csv"]
        for name, file in (("interactions", "orders"), ("users", "customers"))
    }
    assert init(tmp_path / "shop", paths, Defaults("EUR", "UTC")) == []
    assert 'attributes: {age_band: {column: "Age band", type: category}' in capsys.readouterr().out
    written = yaml.safe_load((tmp_path / "shop/params.yaml").read_text())
    assert "attributes" not in written["ingest"]["users"][0]
