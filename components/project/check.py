"""Whether the files are right, in seconds: ``bowerbird check``.

The stages ``ingest`` and ``validate`` run on the beginning of each file, in a temporary folder: the
same code, the same messages. Nothing in the project's folder changes.
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from pyarrow.compute import field
from pyarrow.dataset import FileSystemDataset, dataset

from components.arrays import TextArray
from components.data import ingest
from components.data.event_kinds import check_targets
from components.data.sources.columns import mapped_columns
from components.data.sources.files import files_of
from components.language.languages import finding
from components.project.sampling import Sample, sample
from components.settings import Settings
from components.words.languages import catalogue_languages

TABLES = ("interactions", "items", "users", "reviews")
MEGABYTES = 16
ROWS_SHOWN = 3
FEW = 10
"""Returning customers, or products, of which fewer are too few to compare models."""
_WIDEST = 28  # characters of a value in a table


class Unreadable(ValueError):
    """A file cannot be read, so none of its rows was shown."""


class NoSuccess(ValueError):
    """No event is of a kind that counts as success (``preprocess.targets``)."""

    def __init__(self, message: str, found: Checked) -> None:
        super().__init__(message)
        self.found = found


@dataclass
class Checked:
    """What the files hold, as far as they were read.

    kinds: valid events by kind. customers, products: with valid events. returning: customers with
    several of them. languages: of the products' texts, as ``catalogue_languages`` has them. days:
    between the first and the last event. cut: files of which only the beginning was read.
    """

    events: int
    kinds: dict[str, int]
    customers: int
    returning: int
    products: int
    languages: TextArray
    days: float
    first: pd.Timestamp
    last: pd.Timestamp
    cut: list[str]

    @property
    def text(self) -> str:
        """Return the numbers in words."""
        if not self.events:
            return "no valid event"
        return (
            f"{self.events:,} valid events from {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d} ("
            + ", ".join(f"{kind} {n:,}" for kind, n in self.kinds.items())
            + f"); customers: {self.customers:,}, products: {self.products:,}"
        )


def check(settings: Settings, root: Path, megabytes: float = MEGABYTES) -> Checked:
    """Read the beginning of each source, print what is in it and what is wrong, and return it.

    megabytes: of a source that are read; decompressed.

    Raises:
        FileNotFoundError: a source has no file.
        Unreadable: a file cannot be read, or not by the settings of its source.
        NoSuccess: no event is of a kind in ``preprocess.targets``.
        ValueError: too many rows are bad, or there is too little to learn from.
    """
    from components.data import validation  # imports Great Expectations, which takes seconds

    with tempfile.TemporaryDirectory(prefix="bowerbird-check-") as name:
        place = Path(name)
        copies = sample(settings, root, place, int(megabytes * 1_000_000))
        (place / "reports").mkdir()
        try:
            with redirect_stdout(_Renaming(copies)):
                _ingest(copies, place)
                _show_sources(settings, copies.settings, place)
                print()
                validation.run(copies.settings, place, pages=False)
        except validation.TooManyBadRows as error:
            raise ValueError(
                f"{copies.original(error.summary)}\nMend the files or the sources in params.yaml, "
                "or change the limits in `validate`."
            ) from error
        found = _found(place, copies.cut)
    print(f"\n{found.text}")
    print(finding(settings.pretrain.encoder, found.languages))
    if found.cut:
        print(f"only the beginning was read of {', '.join(found.cut)}: ids may match less there")
        return found
    if found.customers < 2 or found.products < 2:
        raise ValueError(
            f"{found.text}: too little to learn from: name files with events of several customers "
            "on several products, and look above at what was left out"
        )
    elif found.first == found.last:
        raise ValueError(
            f"all {found.events:,} events are at one time, {found.first:%Y-%m-%d %H:%M:%S}, so "
            "none can be held back: name the column of the time of each order as `timestamp`"
        )
    elif found.returning < FEW or found.products < FEW:
        print(
            f"{found.returning:,} customers have several events, on {found.products:,} products in "
            "all: too few to compare models; docs/bring-your-own-data.md says how many are needed"
        )
    try:
        check_targets(found.kinds, settings.preprocess.targets)
    except ValueError as error:
        raise NoSuccess(str(error), found) from error
    return found


def _ingest(copies: Sample, place: Path) -> None:
    try:
        ingest.run(copies.settings, place)
    except (ValueError, FileNotFoundError) as error:
        raise Unreadable(copies.original(str(error))) from error


class _Renaming(io.TextIOBase):
    """Standard output, with the files' names in the place of those of their copies."""

    def __init__(self, copies: Sample) -> None:
        self._copies = copies
        self._out = sys.stdout

    def write(self, text: str) -> int:
        return self._out.write(self._copies.original(text))


def _found(place: Path, cut: list[str]) -> Checked:
    names = ["user_id", "item_id", "event", "timestamp"]
    events = pq.read_table(place / "data/valid/interactions.parquet", columns=names).to_pandas()
    of_each = events["user_id"].value_counts()
    first, last = events["timestamp"].min(), events["timestamp"].max()
    return Checked(
        events=len(events),
        kinds=events["event"].value_counts().to_dict(),
        customers=len(of_each),
        returning=int((of_each > 1).sum()),
        products=events["item_id"].nunique(),
        languages=_languages(place),
        days=(last - first).total_seconds() / 86400 if len(events) else 0.0,
        first=first,
        last=last,
        cut=cut,
    )


def _languages(place: Path) -> TextArray:
    """Return the languages of the products' texts."""
    names = ["title", "description"]
    items = pq.read_table(place / "data/valid/items.parquet", columns=names).to_pandas()
    texts = items["title"].fillna("").str.cat(items["description"].fillna(""), sep=" ").str.strip()
    return catalogue_languages(texts[texts != ""].drop_duplicates())


def _show_sources(settings: Settings, sampled: Settings, place: Path) -> None:
    """Print each source as a table: the contract's names, the shop's columns and the first rows.

    place: the folder of the copies and of the raw tables.
    """
    raw = {name: dataset(place / "data/raw" / f"{name}.parquet") for name in TABLES}
    for table in TABLES:
        named = getattr(settings.ingest, table)
        for original, source in zip(named, getattr(sampled.ingest, table), strict=True):
            file = files_of(source, place)[0]
            first = raw[table].scanner(filter=field("source") == file.shown).head(ROWS_SHOWN)
            rows = first.to_pandas()
            columns = {
                name: " + ".join(shop) for name, shop in mapped_columns(source, table).items()
            }
            if table == "interactions":
                columns.setdefault("event", "")
            typed = {name: _typed(name, rows, raw, settings.ingest.currency) for name in columns}
            print(f"\n{table}: {original.shown}")
            print(as_text(columns, typed))


def _typed(
    name: str, rows: pd.DataFrame, raw: dict[str, FileSystemDataset], currency: str
) -> list[Any]:
    """Return the values of a column; what lines say about item and user is in those tables."""
    if name == "currency":
        return [one or currency for one in rows["currency_given"]]
    if name in rows:
        return list(rows[name])
    table, key = ("users", "user_id") if name == "country" else ("items", "item_id")
    if name not in raw[table].schema.names or key not in rows:  # it chooses rows: a language
        return [None] * len(rows)
    known = raw[table].to_table(columns=[key, name], filter=field(key).isin(rows[key].tolist()))
    values = dict(zip(known[key].to_pylist(), known[name].to_pylist(), strict=True))
    return [values.get(one) for one in rows[key]]


def as_text(columns: dict[str, str], values: dict[str, list[Any]]) -> str:
    """Return a table in text: a line for each name of the contract, with the shop's column."""
    width = max((len(one) for one in values.values()), default=0)
    lines = [["", "column", *(f"row {n + 1}" for n in range(width))]]
    lines += [[name, _short(shop), *map(_short, values[name])] for name, shop in columns.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _short(value: Any) -> str:
    """Return a value in a few characters."""
    if isinstance(value, pd.Timestamp):
        text = value.strftime("%Y-%m-%d %H:%M:%S")
    elif hasattr(value, "__len__") and not isinstance(value, str):
        text = " > ".join(map(str, value))
    elif value is None or value != value:
        text = "-"
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
