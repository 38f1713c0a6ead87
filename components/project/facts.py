"""Of what type the values of a file's columns are: shares of numbers, times, events and others."""

from __future__ import annotations

from pathlib import Path

import ibis
import pandas as pd

from components.data.schema import STATUSES
from components.data.sources.booleans import availability
from components.data.sources.cells import of_text
from components.data.sources.currencies import without_currency
from components.data.sources.events import events
from components.data.sources.files import connect
from components.data.sources.marks import COUNTED, Values, note
from components.data.sources.numbers import SIGNS
from components.data.sources.numbers import of_text as number_of
from components.data.sources.spelling import NULL_WORDS
from components.data.sources.statuses import statuses
from components.data.sources.time_formats import formats_like
from components.data.sources.times import UNITS, numeric, plausible, times
from components.project.inspection import Inspected
from components.settings import Source

LOOKED_AT = 10
"""Different values of a column whose format of a time is looked for."""
MOST = 0.9
"""Share of a column's values that must be of a type for the column to be of it."""


class Facts:
    """Shares of a column's values that are of a type, by column; counted once for the file."""

    def __init__(self, found: Inspected) -> None:
        self._values = found.values
        self._typed = found.typed
        self._formats = _formats(found.values)
        self._counts = _count(found.values, self._formats)

    def share(self, column: str, what: str) -> float:
        """Return the share of the values that are ``what``: a number, a time …"""
        own = self._counts[column]
        if what == "time":
            return 1.0 if column in self._typed else max(self.formats(column).values(), default=0.0)
        if what == "number":
            return max(self.signs(column).values())
        return own[what] / max(own["given"], 1)

    def signs(self, column: str) -> dict[tuple[str, str], float]:
        """Return the share that are numbers, by decimal and thousands sign."""
        own = self._counts[column]
        return {signs: own[f"signs{n}"] / max(own["given"], 1) for n, signs in enumerate(SIGNS)}

    def formats(self, column: str) -> dict[str, float]:
        """Return the share that are times, by format; "" is ISO 8601 or a number in one unit."""
        own = self._counts[column]
        given = max(own["given"], 1)
        plain = max(own["iso"] / given, *(own[unit] / given for unit in UNITS))
        return {"": plain} | {form: own[f"form{n}"] / given for n, form in enumerate(self._formats)}

    def given(self, column: str) -> int:
        return int(self._counts[column]["given"])

    def few(self, column: str) -> bool:
        """Return whether many rows have at most three different values."""
        return self.given(column) >= 100 and self._values[column].nunique() <= 3

    def takes_back(self, column: str) -> int:
        """Return how many rows have a word for a cancelled or returned purchase, of a few words."""
        few = self._values[column].nunique() <= 20
        return int(self._counts[column]["takes_back"]) if few else 0

    def says(self, table: str, column: str) -> bool:
        """Return whether a column says by name and values which rows of ``table`` are no sales."""
        values = self._values[column]
        counts = values.value_counts().head(COUNTED + 1).to_dict()
        return bool(note(table, column, Values(counts, len(values), self.given(column)), ()))

    def values(self, column: str) -> pd.Series:
        """Return the column's values, without empty ones."""
        return self._values[column].dropna()

    def examples(self, column: str) -> str:
        """Return the most frequent values."""
        return ", ".join(map(repr, self._values[column].dropna().value_counts().index[:4]))

    def words(self, column: str) -> bool:
        """Return whether the values are a few words that many rows share."""
        return self.given(column) >= 20 and 1 < self._values[column].nunique() <= 10

    def distinct(self, column: str) -> float:
        """Return the share of the values that are different."""
        values = self._values[column].dropna()
        return values.nunique() / max(len(values), 1)


def _formats(values: pd.DataFrame) -> list[str]:
    """Return the formats of times that values of the columns look like."""
    texts = [text for name in values for text in values[name].dropna().unique()[:LOOKED_AT]]
    return list(dict.fromkeys(form for text in texts for form in formats_like(text)))


def _count(values: pd.DataFrame, formats: list[str]) -> dict[str, dict[str, int]]:
    """Return the number of values of each type, by column; words for no value are none."""
    con = connect("UTC")
    # One long table: compiling a query takes longer than running it on so few rows.
    long = values.set_axis(range(values.shape[1]), axis=1).melt(var_name="place", value_name="v")
    long = pd.DataFrame({"place": long["place"].astype(int), "v": long["v"].astype("string")})
    long["v"] = long["v"].mask(long["v"].str.lower().isin(NULL_WORDS))
    rows = con.create_table("head", long, temp=True)
    cells = of_text(rows["v"])
    plain = Source(path=Path(), columns={})
    amounts, _ = without_currency(cells, plain)
    counts = {
        "given": cells.text.count(),
        "iso": times(cells, [], None).count(),
        "event": ibis.ifelse(cells.text.isnull(), None, events(cells, plain)).count(),
        "available": availability(cells, plain).count(),
        "status": statuses(cells, plain).count(),
        "takes_back": statuses(cells, plain).isin(STATUSES).sum(),
        "long": (cells.text.length() > 40).sum(),
        **{unit: plausible(numeric(cells), unit).sum() for unit in UNITS},
        **{f"signs{n}": number_of(amounts, *signs).count() for n, signs in enumerate(SIGNS)},
        **{f"form{n}": times(cells, [form], None).count() for n, form in enumerate(formats)},
    }
    found = rows.group_by("place").aggregate(**counts).execute().set_index("place")
    con.disconnect()
    found = found.reindex(range(values.shape[1]), fill_value=0)
    found = found.astype("float64").fillna(0).astype(int)
    return dict(zip(values.columns, found.to_dict(orient="records"), strict=True))
