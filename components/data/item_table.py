"""The items table of a model folder: an Arrow file that processes map into memory.

In: the prepared items table. Out: ``items.arrow``, not compressed, so that its pages are read when
they are needed and shared by all processes of a machine. Texts and lists of texts are Arrow
columns: characters and offsets, no Python object for each product. Folders of earlier versions have
``items.parquet``, which is read into columns of the same types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.arrays import Int32Array, IntArray

FILE, OLD_FILE = "items.arrow", "items.parquet"

TEXT = pd.StringDtype("pyarrow")
TEXTS = pd.ArrowDtype(pa.list_(pa.large_string()))
"""Types of the columns of texts and of lists of texts."""
BLOCK = READ = 8192
"""Rows that are copied around a changed one, and that are Python strings at once."""


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
        if not all(map(pd.api.types.is_scalar, cells)):
            found = pa.array(cells, TEXTS.pyarrow_dtype)
        else:
            texts = [None if cell is None else str(cell) for cell in cells]
            found = pa.array(texts, pa.large_string())
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def joined_texts(columns: Sequence[pd.Series]) -> pd.Series:
    """Return the texts of each row's columns, and of their lists, separated by spaces.

    >>> joined_texts([pd.Series(["mug", None]), pd.Series([["a", "b"], None])]).to_list()
    ['mug a b', ' ']
    """
    space, parts = pa.scalar(" ", pa.large_string()), []
    for column in columns:
        part = arrow_column(column)
        if pa.types.is_list(part.type):
            part = pc.binary_join(part, space)
        parts.append(part.cast(pa.large_string()))
    found = pc.binary_join_element_wise(*parts, space, null_handling="replace")
    return pd.Series(pd.array(found, dtype=TEXT), index=columns[0].index)


def each_text(column: pd.Series | pa.ChunkedArray) -> Iterator[str]:
    """Yield the texts of a column, "" where there is none, READ of them in memory at once."""
    arrow = arrow_column(column) if isinstance(column, pd.Series) else column
    for start in range(0, len(arrow), READ):
        yield from (one or "" for one in arrow.slice(start, READ).to_pylist())


def entries(column: pd.Series) -> tuple[Int32Array, IntArray, list[str]]:
    """Return the texts of a column, or of its lists, as numbers: row and number of the text of each
    entry, int (entries,), and the texts.

    >>> rows, numbers, texts = entries(pd.Series([["oak", "ash"], None, ["oak"]]))
    >>> rows.tolist(), numbers.tolist(), texts
    ([0, 0, 2], [0, 1, 0], ['oak', 'ash'])
    """
    arrow = arrow_column(column)
    rows = np.arange(len(arrow), dtype=np.int32)
    if pa.types.is_list(arrow.type):
        lengths = pc.fill_null(pc.list_value_length(arrow), 0).to_numpy()
        rows, arrow = np.repeat(rows, lengths), pc.list_flatten(arrow)
    encoded = arrow.dictionary_encode().combine_chunks()
    known = np.asarray(encoded.indices.is_valid())
    numbers = pc.fill_null(encoded.indices, 0).to_numpy()
    return rows[known], numbers[known], encoded.dictionary.to_pylist()


def rows_by_text(column: pd.Series) -> dict[str, Int32Array]:
    """Return casefolded text → int32, the rows that have it, ascending, each once.

    >>> rows_by_text(pd.Series(["Oak", None, "oak"]))["oak"].tolist()
    [0, 2]
    """
    rows, numbers, texts = entries(column)
    folded, names = pd.factorize(np.array([text.casefold() for text in texts], dtype=object))
    # One number each for text and row; np.unique takes 20 times as long as sorting.
    keys = np.sort(folded[numbers] * len(column) + rows)
    keys = keys[np.diff(keys, prepend=-1) > 0]
    text, row = np.divmod(keys, max(len(column), 1))
    starts = np.searchsorted(text, np.arange(len(names) + 1)).tolist()
    all_rows = row.astype(np.int32)
    return {
        name: all_rows[slice(*part)] for name, part in zip(names, pairwise(starts), strict=True)
    }


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
