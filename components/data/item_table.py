"""The items table of a model folder: an Arrow file that processes map into memory.

In: the prepared items table. Out: ``items.arrow``, not compressed, so that its pages are read when
they are needed and shared by all processes of a machine. Texts and lists of texts are Arrow
columns: characters and offsets, no Python object for each product. Folders of earlier versions have
``items.parquet``, which is read into columns of the same types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FILE, OLD_FILE = "items.arrow", "items.parquet"

TEXT = pd.StringDtype("pyarrow")
TEXTS = pd.ArrowDtype(pa.list_(pa.large_string()))
"""Types of the columns of texts and of lists of texts."""
BLOCK = 8192
"""Rows that are copied around a changed one."""


def write_item_table(table: pd.DataFrame, folder: str | Path) -> None:
    """Write the items table, row number = code, to a model folder."""
    arrow = _with_wide_texts(pa.Table.from_pandas(table, preserve_index=False)).combine_chunks()
    file = Path(folder) / FILE
    written = file.with_name(f".{FILE}")  # processes may have mapped the file that is replaced
    with pa.ipc.new_file(str(written), arrow.schema) as writer:
        writer.write_table(arrow)
    written.replace(file)


def read_item_table(folder: str | Path) -> pd.DataFrame:
    """Return the items table of a model folder, its texts mapped from the file.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: the file is damaged.
    """
    folder = Path(folder)
    if not (folder / FILE).exists():
        return _frame(_with_wide_texts(pq.read_table(folder / OLD_FILE)).combine_chunks())
    return _frame(pa.ipc.open_file(pa.memory_map(str(folder / FILE))).read_all())


def read_texts(file: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of a Parquet file, texts as Arrow columns."""
    return _frame(_with_wide_texts(pq.read_table(file, columns=list(columns))))


def _with_wide_texts(table: pa.Table) -> pa.Table:
    """Return the table with 64-bit offsets of texts: those of a large catalogue need them."""
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_string(kind) or pa.types.is_null(kind):
            kind = pa.large_string()
        elif pa.types.is_list(kind):
            kind = TEXTS.pyarrow_dtype
        fields.append(pa.field(field.name, kind))
    return table.cast(pa.schema(fields))


def _frame(table: pa.Table) -> pd.DataFrame:
    types = {pa.large_string(): TEXT, TEXTS.pyarrow_dtype: TEXTS}
    found: pd.DataFrame = table.replace_schema_metadata(None).to_pandas(
        types_mapper=types.get, split_blocks=True
    )
    return found


def arrow_column(column: pd.Series) -> pa.ChunkedArray:
    """Return a column of texts, or of lists of texts, as Arrow has it; other values as their text.

    Without a copy where the column is an Arrow column already.

    >>> arrow_column(pd.Series([["a"], None, np.array(["b", "c"])])).to_pylist()
    [['a'], None, ['b', 'c']]
    >>> arrow_column(pd.Series(["a", None, 3])).to_pylist()
    ['a', None, '3']
    """
    if column.dtype in (TEXT, TEXTS):
        found = pa.array(column.array)
    else:
        cells = column.astype(object).where(column.notna(), None)
        if all(cell is None or not pd.api.types.is_scalar(cell) for cell in cells):
            found = pa.array(cells, TEXTS.pyarrow_dtype)
        else:
            texts = [None if cell is None else str(cell) for cell in cells]
            found = pa.array(texts, pa.large_string())
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def joined_lists(column: pd.Series) -> pd.Series:
    """Return the texts of each list of a column, separated by a space; "" where there is none.

    >>> joined_lists(pd.Series([["mug", "cup"], None])).to_list()
    ['mug cup', '']
    """
    lists = pa.chunked_array(arrow_column(column).chunks, TEXTS.pyarrow_dtype)
    found = pc.fill_null(pc.binary_join(lists, pa.scalar(" ", pa.large_string())), "")
    return pd.Series(pd.array(found, dtype=TEXT), index=column.index)


def with_values(column: pd.Series, values: Mapping[int, Any]) -> pd.Series:
    """Return the column with other values at some rows; None: no value.

    values: by row number. Of an Arrow column only BLOCK rows around each are copied.

    >>> with_values(pd.Series(["a", "b"], dtype=TEXT), {1: None}).to_list()
    ['a', <NA>]
    """
    if column.dtype not in (TEXT, TEXTS):
        cells = column.copy()
        cells.iloc[list(values)] = pd.Series([*values.values()], dtype=column.dtype).to_numpy()
        return cells
    arrow = arrow_column(column)
    parts: list[pa.Array] = []
    done = 0
    for block in sorted({row // BLOCK for row in values}):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, len(arrow))
        cells = arrow.slice(start, stop - start).to_pylist()
        for row in range(start, stop):
            if row in values:
                cells[row - start] = values[row]
        parts += [*arrow.slice(done, start - done).chunks, pa.array(cells, arrow.type)]
        done = stop
    parts += arrow.slice(done).chunks
    made = pa.chunked_array(parts, arrow.type)
    return pd.Series(type(column.array)(made), index=column.index, name=column.name)


def with_rows(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table with more rows at its end, in columns of its own types.

    Columns of one of the two alone have no value in the other.
    """
    known = {name: table[name].dtype for name in rows if name in table}
    arrow = {name: dtype for name, dtype in known.items() if dtype in (TEXT, TEXTS)}
    return pd.concat([table, rows.astype(arrow)], ignore_index=True)
