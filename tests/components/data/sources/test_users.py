"""Users of user files, then those that only the lines have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_user_files_come_first_and_the_lines_add_the_others(
    settings: Settings, tmp_path: Path
) -> None:
    lines = pd.concat([LINES, LINES.tail(1)]).assign(Land=["DE", "FR", "IT", "IT"])
    lines.to_csv(tmp_path / "lines.csv", index=False)
    pd.DataFrame({"id": ["12345", "new"], "land": ["AT", None]}).to_csv(
        tmp_path / "users.csv", index=False
    )
    users = ingest(
        settings,
        tmp_path,
        interactions=[
            {
                "path": "lines.csv",
                "columns": {**COLUMNS, "country": "Land"},
                "user_ids": {"integral": True},
            }
        ],
        users=[{"path": "users.csv", "columns": {"user_id": "id", "country": "land"}}],
    )["users"].set_index("user_id")
    assert users["country"].to_dict() == {"12345": "AT", "new": None, "7": "IT"}
    assert users["source"].to_dict() == {"12345": "users.csv", "new": "users.csv", "7": "lines"}


def test_the_order_of_users_is_the_same_at_each_run(settings: Settings, tmp_path: Path) -> None:
    n = 5000
    ids = [f"{one * 7919 % n:04}" for one in range(n)]
    rows = {"Customer": ids, "Code": "a", "When": "2024-01-01", "Name": "Mug", "Cost": "1"}
    pd.DataFrame(rows).to_csv(tmp_path / "lines.csv", index=False)
    pd.DataFrame({"id": ["9", "0004", "8"]}).to_csv(tmp_path / "users.csv", index=False)
    users = ingest(
        settings,
        tmp_path,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        users=[{"path": "users.csv", "columns": {"user_id": "id"}}],
    )["users"]["user_id"].tolist()
    assert users == ["9", "0004", "8", *sorted(set(ids) - {"0004"})]
