"""Every example of ``ingest`` in README and docs is accepted and reads files of its columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from components.data.sources.columns import MAPPABLE, mapped_columns
from components.settings import Ingest, Settings, Source
from tests.components.data.shop_files import COLUMNS, LINES, ingest
from tests.conftest import REPOSITORY
from tests.docs.examples import write_tables

BYO = REPOSITORY / "docs/bring-your-own-data.md"
VALUES = {
    "user_id": "u1",
    "item_id": "i1",
    "timestamp": "2026-01-01T10:00:00Z",
    "event": "view",
    "rating": 4,
    "quantity": 2,
    "price": 2.5,
    "categories": ["Food/Drink", "Tea"],
    "available": True,
    "currency": "EUR",
    "status": "paid",
    "version": 2,
    "image": "https://shop.example/cup.jpg",
    "url": "/cup",
}
"""A value of each contract column; a text for all others."""


def examples() -> list[Any]:
    """Return (id, the example's ``ingest`` section) of every YAML block that names sources."""
    found = []
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))):
        for n, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            section = yaml.safe_load(block)
            section = section.get("ingest", section) if isinstance(section, dict) else {}
            if MAPPABLE.keys() & section.keys():
                found.append(pytest.param(section, id=f"{page.name} {n}"))
    return found


def test_there_are_examples() -> None:
    assert len(examples()) >= 2


@pytest.mark.parametrize("section", examples())
def test_the_example_is_ingested(section: dict, settings: Settings, tmp_path: Path) -> None:
    changed = {name: value for name, value in section.items() if name not in MAPPABLE}
    for table in MAPPABLE.keys() & section.keys():
        sources = changed[table] = []
        for source in section[table]:
            columns = mapped_columns(Source.model_validate(source), table)
            if "database" in source:  # there is no server: only the settings are checked
                assert columns.keys() >= set(MAPPABLE[table].required)
                continue
            if "query" in source:
                write_tables(source, tmp_path)
                sources.append(source)
                continue
            path = tmp_path / str(source["path"]).lstrip("/")
            file = path if path.suffix else path / "part.jsonl"  # a folder
            file.parent.mkdir(parents=True, exist_ok=True)
            row = {
                shop: VALUES.get(name, "text") for name, shops in columns.items() for shop in shops
            }
            row |= {
                one.column or name: {"number": 1.5, "date": "2024-01-31"}.get(one.type, "text")
                for name, one in Source.model_validate(source).attributes.items()
            }
            frame = pd.DataFrame([row])
            if file.suffix == ".csv":
                frame.to_csv(file, index=False)
            elif file.suffix == ".jsonl":
                frame.to_json(file, orient="records", lines=True)
            else:
                frame.to_parquet(file)
            sources.append({**source, "path": path})
    if not changed.get("interactions"):
        LINES.to_csv(tmp_path / "lines.csv", index=False)
        changed["interactions"] = [{"path": "lines.csv", "columns": COLUMNS}]
    tables = ingest(settings, tmp_path, **changed)
    for table in MAPPABLE.keys() & section.keys():
        for source in section[table]:
            if "database" in source:
                continue
            of_source = tables[table][~tables[table]["source"].isin(["lines", "lines.csv"])]
            for contract in mapped_columns(Source.model_validate(source), table):
                if contract in of_source:
                    assert of_source[contract].notna().any(), (table, contract)
    if "items" in section:
        assert ["Food/Drink", "Tea"] in tables["items"]["categories"].map(list).tolist()


def test_the_table_of_columns_names_those_that_can_be_mapped() -> None:
    rows = re.findall(r"^\| (\w+) \| (`.*`) \| (`.*) \|$", BYO.read_text(), re.MULTILINE)
    tables = {table: (required, optional) for table, required, optional in rows}
    assert tables.keys() >= MAPPABLE.keys()
    for table, names in MAPPABLE.items():
        required, optional = tables[table]
        assert set(re.findall(r"`(\w+)`", required)) == set(names.required)
        assert set(re.findall(r"`(\w+)`", optional)) == set(names.optional)


def test_the_repositorys_settings_can_be_mapped(settings: Settings) -> None:
    section: Ingest = settings.ingest
    for table in MAPPABLE:
        for source in getattr(section, table):
            assert mapped_columns(source, table)
