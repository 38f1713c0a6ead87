"""Columns of items and users that may be declared as attributes, with their types.

In: a file's columns that nothing else uses. Out: a line for ``attributes`` of its source, which is
printed and not written: whether a column of users may be used is the shop's decision.
"""

from __future__ import annotations

import json
import re

import pandas as pd

from components.project.facts import Facts

LEAST_ROWS, MOST_DISTINCT, MOST = 20, 0.5, 0.9
"""A column is proposed if so many rows have a value, and at most this share of them is different;
its type is one that this share of the values has."""
SEPARATORS, MIN_SHARE = ";|,", 0.05
"""Signs between values of a set, and the least share of the cells that have one."""
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
        number = facts.share(column, "number") >= MOST
        # Numbers that all differ are ids, unless they have decimals.
        decimals = number and values.str.contains(r"\d[.,]\d", regex=True).mean() >= MOST_DISTINCT
        separator = "" if number else _separator(values)
        distinct = values.str.split(separator, regex=False).explode() if separator else values
        if not decimals and distinct.nunique() > MOST_DISTINCT * len(values):
            continue
        kind = "category"
        if number:
            kind = "number" if values.nunique() > FEW_NUMBERS else "category"
        elif facts.share(column, "time") >= MOST:
            kind = "date"
        elif separator:
            kind = "set"
        more = {"column": json.dumps(column, ensure_ascii=False)} if name != column else {}
        more |= {"type": kind}
        more |= {"separator": json.dumps(separator)} if separator and kind == "set" else {}
        one = ", ".join(f"{key}: {value}" for key, value in more.items())
        found.append(f"{name}: {kind if len(more) == 1 else f'{{{one}}}'}")
    return "{" + ", ".join(found) + "}" if found else ""


def _separator(values: pd.Series) -> str:
    """Return the sign between the values of a set in one cell, "" for one value a cell.

    Each part must stand alone or in another combination, too, so that ``AC/DC`` is one value.
    """
    for sign in SEPARATORS:
        cells = values[values.str.contains(sign, regex=False)]
        if len(cells) < MIN_SHARE * len(values) or not len(cells):
            continue
        parts = values.drop_duplicates().str.split(sign, regex=False).explode().str.strip()
        if parts.value_counts().median() > 1:
            return sign
    return ""
