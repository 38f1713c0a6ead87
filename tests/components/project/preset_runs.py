"""Runs the stages ``ingest`` and ``validate`` with a preset on files that a test writes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from components.data import ingest as ingest_stage
from components.data import validation
from components.data.schema import TABLES
from components.project.presets import load_preset
from components.settings import Ingest, Settings, Validate

Files = dict[str, str | bytes]


@dataclass
class Shop:
    """The tables that both stages made of a preset's files."""

    valid: dict[str, pd.DataFrame]
    quarantine: dict[str, pd.DataFrame]
    report: dict[str, Any]

    def events(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the valid interactions, sorted by time, user and item."""
        frame = self.valid["interactions"].sort_values(["timestamp", "user_id", "item_id"])
        return list(frame[list(columns)].itertuples(index=False, name=None))

    def item(self, item_id: str) -> dict[str, Any]:
        """Return the valid item with this id; its categories are a list."""
        frame = self.valid["items"]
        (row,) = frame[frame["item_id"] == item_id].to_dict("records")
        return {**row, "categories": list(row["categories"])}

    def reasons(self, table: str = "interactions") -> dict[str, int]:
        return self.report[table]["reasons"]


def run(settings: Settings, root: Path, preset: str, files: Files, **limits: Any) -> Shop:
    """Write the files, run ``ingest`` and ``validate`` with the preset's settings."""
    folder = root / "export"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = load_preset(preset)
    section = Ingest.model_validate(chosen.ingest(chosen.find(folder)))
    rules = Validate.model_validate({**chosen.validation, **limits})
    changed = settings.model_copy(update={"ingest": section, "validate_": rules})
    (root / "reports").mkdir(exist_ok=True)
    ingest_stage.run(changed, root)
    validation.run(changed, root, pages=False)
    tables = {
        place: {name: pd.read_parquet(root / f"data/{place}/{name}.parquet") for name in TABLES}
        for place in ("valid", "quarantine")
    }
    report = json.loads((root / "reports/validation.json").read_text())
    return Shop(tables["valid"], tables["quarantine"], report)


def table(header: str, rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    """Return delimited text with all columns of the header; what a row lacks is empty."""
    names_ = next(csv.reader([header], delimiter=delimiter))
    text = io.StringIO()
    writer = csv.DictWriter(text, names_, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_lines(rows: list[dict[str, Any]]) -> str:
    """Return JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def at(text: str) -> pd.Timestamp:
    """Return a moment in UTC."""
    return pd.Timestamp(text, tz="UTC")


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parquet(frame: pd.DataFrame, tmp_path: Path) -> bytes:
    """Return the frame as the bytes of a Parquet file."""
    file = tmp_path / "made.parquet"
    frame.to_parquet(file)
    return file.read_bytes()


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode())
