"""The inventory of a shop's files changes when, and only when, what is read changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.data.sources import inventory
from components.settings import Ingest, Settings
from tests.components.data.shop_files import COLUMNS, LINES


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> tuple[Settings, Path, Path]:
    """Settings, a project's folder, and a folder of orders outside it."""
    orders, root = tmp_path / "orders", tmp_path / "project"
    (orders / "2020").mkdir(parents=True)
    root.mkdir()
    LINES.to_csv(orders / "2020/january.csv", index=False)
    LINES.to_csv(root / "own.csv", index=False)
    given = [{"path": str(orders), "columns": COLUMNS}, {"path": "own.csv", "columns": COLUMNS}]
    ingest = Ingest.model_validate({"interactions": given})
    return settings.model_copy(update={"ingest": ingest}), root, orders


def written(settings: Settings, root: Path) -> dict[str, dict[str, int | str]]:
    inventory.run(settings, root)
    found: dict[str, dict[str, int | str]] = json.loads((root / "data/sources.json").read_text())
    return found


def test_a_file_that_grew_or_is_new_changes_it(shop: tuple[Settings, Path, Path]) -> None:
    settings, root, orders = shop
    january = orders / "2020/january.csv"
    before = written(settings, root)
    assert list(before) == [str(january), "own.csv"]
    assert written(settings, root) == before

    with january.open("a") as file:
        file.write("4,AB1,2020-08-01 10:00,Blue Mug,3\n")
    grown = written(settings, root)
    assert {name for name in before if grown[name] != before[name]} == {str(january)}

    LINES.to_csv(orders / "2020/february.csv", index=False)
    assert written(settings, root).keys() - before.keys() == {str(orders / "2020/february.csv")}


def test_a_small_file_is_compared_by_content(shop: tuple[Settings, Path, Path]) -> None:
    settings, root, _ = shop
    before = written(settings, root)
    os.utime(root / "own.csv", ns=(0, 0))
    assert written(settings, root) == before
    text = (root / "own.csv").read_text()
    (root / "own.csv").write_text(text.replace("Red", "Tea"))  # of the same size
    os.utime(root / "own.csv", ns=(0, 0))
    assert written(settings, root) != before


def test_a_large_file_is_compared_by_size_and_modification_time(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_text("0123456789")
    os.utime(file, ns=(0, 5))
    assert inventory.fingerprint(file, limit=9) == {"size": 10, "modified": 5}
    assert inventory.fingerprint(file, limit=10).keys() == {"size", "sha256"}


def test_a_source_without_a_file_is_named(shop: tuple[Settings, Path, Path]) -> None:
    settings, root, _ = shop
    (root / "own.csv").rename(root / "owm.csv")
    with pytest.raises(FileNotFoundError, match=r"no file own\.csv: did you mean 'owm\.csv'"):
        inventory.run(settings, root)
