"""The stage ``ingest``: the shop's own files and the exported feedback → the raw tables.

In: the files that ``ingest`` of params.yaml names, ``data/feedback`` and ``data/erasures`` (rows of
erased people are left out). Out: ``data/raw/{interactions,items,users,reviews}.parquet`` in the
shape of ``schema.RAW``. Rows are not judged here: a value that cannot be read as its type is named
in the column ``unreadable``, and the stage ``validate`` quarantines the row with its file and row
number. A file that cannot be right as a whole is refused. ``data/raw/notes.json`` has, by table,
what a reader should know of columns that are not used.

Products and their texts and prices come from the shop's own files only; with an item file, from it.
Feedback came over the network, so an event in it makes no product, no title and no price.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.attributes import declared, with_attributes
from components.data.engine import on_disk
from components.data.erased_rows import without_erased
from components.data.held_days import load_held_days
from components.data.schema import NOTES, RAW
from components.data.sources.copies import note_copies
from components.data.sources.currencies import rates_of
from components.data.sources.files import File, connect, files_of
from components.data.sources.interactions import (
    feedback_of,
    interactions_of,
    with_older_versions,
)
from components.data.sources.items import items_table
from components.data.sources.lines import together
from components.data.sources.reviews import reviews_of
from components.data.sources.users import users_table
from components.file_erasure import load_erasures
from components.settings import Ingest, Settings, Source


def run(settings: Settings, root: Path) -> None:
    """Write the raw tables below ``root`` and print their sizes.

    Raises:
        FileNotFoundError: a source has no file.
        ValueError: a setting of ``ingest`` or a file does not fit the contract.
    """
    con = connect(settings.ingest.timezone)
    with on_disk(con, root, settings.ingest.memory_gb):
        _write_tables(con, settings.ingest, root)
    for name in RAW:
        rows = pq.read_metadata(root / "data/raw" / f"{name}.parquet").num_rows
        print(f"{name:<13}{rows:>10,} rows")


def _write_tables(con: ibis.BaseBackend, ingest: Ingest, root: Path) -> None:
    """Write the raw tables to data/raw, all or none."""

    def files(sources: list[Source]) -> list[File]:
        return [file for source in sources for file in files_of(source, root)]

    rates = rates_of(con, ingest, root)
    of_events = [files_of(source, root) for source in ingest.interactions]
    of_items = files(ingest.items)
    for source, own in zip(ingest.interactions, of_events, strict=True):
        note_copies(own, source, root)
    parts = [
        interactions_of(con, file, place, rates, entry)
        for entry, own in enumerate(of_events)
        for place, file in enumerate(own)
    ]
    parts += feedback_of(con, ingest.feedback, root)
    # Materialised once: three of the tables are made from the lines.
    lines = together(con, "lines", parts)
    # Lines of held days make no product: their ids and prices may be wrong.
    shop_lines = lines.filter(lines.authentication.isnull(), ~load_held_days(root).rows(lines))
    erasures = load_erasures(root)
    kept = without_erased(con, lines, erasures, "interactions")
    reviews = [
        without_erased(con, reviews_of(con, file), erasures, "reviews")
        for file in files(ingest.reviews)
    ]
    tables = {
        "interactions": with_older_versions(kept).select(*RAW["interactions"].names),
        "items": items_table(con, shop_lines, of_items, ingest, rates),
        "users": users_table(con, kept, files(ingest.users), erasures, declared(ingest.users)),
        "reviews": together(con, "reviews", reviews) if reviews else RAW["reviews"].empty_table(),
    }
    partial = root / "data/.raw"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, table in tables.items():
        names = table.column_names if isinstance(table, pa.Table) else table.columns
        write(table, with_attributes(RAW[name], names), partial / f"{name}.parquet")
    events = [file for own in of_events for file in own]
    notes = {"interactions": _notes(events), "items": _notes(of_items)}
    (partial / NOTES).write_text(json.dumps(notes, indent=2), encoding="utf-8")
    for note in (*notes["interactions"], *notes["items"]):
        print(note)
    out = root / "data/raw"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _notes(files: Sequence[File]) -> list[str]:
    """Return a sentence for each column of a source that may matter: that of its first file."""
    first: dict[tuple[str, str], str] = {}
    times: Counter[tuple[str, str]] = Counter()
    for file in files:
        for column, text in file.notes.items():
            place = (file.source.shown, column)
            first.setdefault(place, f"{file.shown}: {text}")
            times[place] += 1
    return [
        text + (f" (the same in {times[place] - 1:,} more files)" if times[place] > 1 else "")
        for place, text in first.items()
    ]


def write(table: ir.Table | pa.Table, schema: pa.Schema, file: Path) -> None:
    """Write ``table`` to the Parquet ``file`` as ``schema``, batch by batch."""
    reader = table.to_reader() if isinstance(table, pa.Table) else table.to_pyarrow_batches()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_table(pa.Table.from_batches([batch]).select(schema.names).cast(schema))
