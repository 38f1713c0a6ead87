"""Columns of items and users that may be declared as attributes, with their types.

In: a file's columns that nothing else uses. Out: a line for ``attributes`` of its source, which is
printed and not written: whether a column of users may be used is the shop's decision.
"""

from __future__ import annotations

import re

from components.project.facts import Facts

LEAST_ROWS, MOST_DISTINCT, MOST = 20, 0.5, 0.9
"""A column is proposed if so many rows have a value, and at most this share of them is different;
its type is one that this share of the values has."""
FEW_NUMBERS = 20
"""Fewer different numbers are a category, such as the number of children."""


def proposed(facts: Facts, columns: list[str]) -> str:
    """Return ``{colour: category, age_band: {column: age band, type: category}}``, "" without a
    column. Columns of names, addresses and texts, whose values are mostly different, are left out.
    """
    found = []
    for column in columns:
        values = facts.values(column)
        name = re.sub(r"\W+", "_", column).strip("_").lower()
        if len(values) < LEAST_ROWS or not re.match("[a-z]", name) or values.nunique() < 2:
            continue
        if facts.distinct(column) > MOST_DISTINCT:
            continue
        kind = "category"
        if facts.share(column, "number") >= MOST:
            kind = "number" if values.nunique() > FEW_NUMBERS else "category"
        elif facts.share(column, "time") >= MOST:
            kind = "date"
        written = kind if name == column else f'{{column: "{column}", type: {kind}}}'
        found.append(f"{name}: {written}")
    return "{" + ", ".join(found) + "}" if found else ""
