"""A column of the contract as a file has it, and examples of its values for messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from components.data.attributes import kind_of, label_of
from components.data.sources.cells import Cells
from components.data.sources.files import ROW
from components.settings import AttributeType

LONGEST = 60  # characters of a value that are shown


@dataclass(frozen=True)
class Column:
    """A column of the contract: its name, the shop's name, its cells, its typed value."""

    name: str
    shop: str
    cells: Cells
    value: ir.Value

    @property
    def label(self) -> str:
        return label_of(self.name)

    @property
    def kind(self) -> AttributeType | None:
        """The type of an attribute, None for a column of the contract."""
        return kind_of(self.name)

    @property
    def shown(self) -> str:
        return f"column {self.shop!r} (for {self.label})"

    @property
    def unread(self) -> ir.BooleanValue:
        """Whether there is a value that is not of the column's type."""
        return self.cells.text.notnull() & self.value.isnull()


def example(
    name: str, text: ir.Value, rows: ir.Table, where: ir.BooleanValue
) -> dict[str, ir.Value]:
    """Return aggregates: row and text of the first row that meets ``where``."""
    return {
        f"{name}_row": rows[ROW].min(where=where),
        f"{name}_text": text.argmin(rows[ROW], where=where),
    }


def shown(found: dict[str, Any], name: str) -> str:
    """Return an example's value and row, counted from 1, "" if there is none."""
    if pd.isna(found[f"{name}_row"]):
        return ""
    text = repr(str(found[f"{name}_text"])[:LONGEST]).replace("\\\\", "\\")
    return f"{text} in row {int(found[f'{name}_row']) + 1:,}"


def first_row(table: ir.Table) -> dict[str, Any]:
    """Return the values of a table's only row by column; null sums are 0."""
    row = table.execute().iloc[0].to_dict()
    return {
        key: 0 if pd.isna(value) and not key.endswith(("_row", "_text")) else value
        for key, value in row.items()
    }
