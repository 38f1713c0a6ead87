"""The customers that lists are made for, and their histories, some customers at a time.

In: the users' histories of a model version (the table of ``components.data.profiles``), the event
store, and a segment. Out: customers in a fixed order, and ``BaseProfiles`` of some of them, so that
memory does not grow with the number of customers' events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from components.data.attribute_codes import Vocabulary
from components.data.attributes import as_json, column_of
from components.data.profiles import attributes_file
from components.settings import AttributeType
from serving.columns import Ids
from serving.events.database import Database
from serving.events.tables import EVENTS
from serving.events.user_table import read_users
from serving.fields import RESERVED, UserId
from serving.profiles.attributes import BaseAttributes
from serving.profiles.profiles import COLUMNS, BaseProfiles, ErasedAt

ROWS_PER_READ = 1 << 17
_USER_ID: TypeAdapter[str] = TypeAdapter(UserId)


@dataclass(frozen=True)
class Segment:
    """Which customers get a list; by default all.

    ids: of a file; customers whom nothing is known of get a list too. values: attribute → value
    that the customer has, compared without case.
    """

    ids: pa.StringArray | None = None
    values: Mapping[str, str] = field(default_factory=dict)


def read_ids(file: Path) -> pa.StringArray:
    """Return the distinct customer ids of a Parquet file or a text file, in their order.

    Parquet: its column user_id. Text: UTF-8, one id a line; a first line "user_id" and empty lines
    are left out.

    Raises:
        ValueError: the file is missing or has something that is no customer id; file and row are
            named.
    """
    try:
        if file.suffix == ".parquet":
            values = pq.read_table(file, columns=["user_id"])["user_id"].cast(pa.string())
            rows = values.to_pylist()
        else:
            rows = file.read_text(encoding="utf-8-sig").splitlines()
            if rows[:1] == ["user_id"]:
                rows[0] = ""
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ValueError(
            f"the customers' file {file} cannot be read ({error}): give a Parquet file with a "
            "column user_id, or a UTF-8 text file with one id a line"
        ) from error
    for number, row in enumerate(rows, 1):
        try:
            if row:
                _USER_ID.validate_python(row)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ValueError(f"{file} row {number}: no customer id: {reason}") from error
    return pa.array(dict.fromkeys(row for row in rows if row), pa.string())


class Histories:
    """The users' histories of a model version, read a few customers at a time.

    file: None: there is none. items: ids of the model's products. The file stays open, so that one
    that an erasure writes at the same time changes nothing.

    ids: string (n,), the customers of the file in its order. end: seconds since 1970 of the newest
    event with a product of the model, 0 without one.

    Raises:
        ValueError: a customer's rows are not together, or the file is damaged.
    """

    def __init__(self, file: Path | None, items: Ids, vocabulary: Vocabulary) -> None:
        self.end = 0
        self._items = items
        self._vocabulary = vocabulary
        self._file = None if file is None else pq.ParquetFile(file)
        self._attributes = None
        runs: list[pa.Array] = []
        starts: list[NDArray[np.int64]] = []
        if file is not None:
            self._scan(runs, starts)
            of_users = attributes_file(file)
            if of_users.exists():
                self._attributes = pq.read_table(of_users)
        self.ids = pa.concat_arrays(runs) if runs else pa.array([], pa.string())
        self._starts = np.concatenate([np.empty(0, np.int64), *starts])
        if len(pc.unique(self.ids)) != len(self.ids):
            raise ValueError(
                f"{file}: a customer's rows are not together: `bowerbird run` writes the file again"
            )

    def _scan(self, runs: list[pa.Array], starts: list[NDArray[np.int64]]) -> None:
        """Append the customers, and the first row of each."""
        assert self._file is not None
        known = pa.array(self._items, pa.large_string())
        row, last = 0, None
        columns = ["user_id", "item_id", "timestamp"]
        for batch in self._file.iter_batches(ROWS_PER_READ, columns=columns):
            users = batch["user_id"].cast(pa.string())
            codes = users.dictionary_encode().indices.to_numpy(zero_copy_only=False)
            first = np.flatnonzero(np.diff(codes, prepend=-1))
            if users[0].as_py() == last:
                first = first[1:]
            last = users[-1].as_py()
            runs.append(users.take(pa.array(first)))
            starts.append(first + row)
            row += len(batch)
            times = batch["timestamp"].filter(
                pc.is_in(batch["item_id"].cast(pa.large_string()), known)
            )
            newest = pc.max(times.cast(pa.timestamp("s", "UTC"), safe=False)).cast(pa.int64())
            self.end = max(self.end, newest.as_py() or 0)

    @property
    def users_with_attributes(self) -> pa.Array:
        """string (n,): ids of the customers with attributes of the training data."""
        if self._attributes is None:
            return pa.array([], pa.string())
        return self._attributes["user_id"].cast(pa.string()).combine_chunks()

    def attribute(self, column: str) -> list[Any]:
        """Return an attribute's values by the order of ``users_with_attributes``, None where
        unknown."""
        if self._attributes is None or column not in self._attributes.column_names:
            return [None] * len(self.users_with_attributes)
        return [as_json(column, cell) for cell in self._attributes[column].to_pandas()]

    def places(self, users: pa.StringArray) -> pa.Int32Array:
        """Return int32 (n,): where ``ids`` has each user, null where it has not."""
        return pc.index_in(users, self.ids)

    def of(self, users: pa.StringArray, places: pa.Int32Array) -> BaseProfiles:
        """Return the histories and attributes of some customers. places: of them."""
        rows = self._rows(users, pc.drop_null(places).to_numpy())
        base = BaseProfiles(rows.to_pandas(), self._items)
        base.end = self.end
        if self._attributes is not None and self._vocabulary.values:
            mine = self._attributes.filter(pc.is_in(self._attributes["user_id"], users))
            base.attributes = BaseAttributes(mine.to_pandas(), self._vocabulary)
        return base

    def _rows(self, users: pa.StringArray, places: NDArray[np.int32]) -> pa.Table:
        """Return the rows of some customers; one row group at a time is in memory."""
        names = ["user_id", "item_id", "timestamp"]
        if self._file is None:
            empty = {name: pa.array([], pa.string()) for name in names[:2]}
            return pa.table({**empty, "timestamp": pa.array([], pa.timestamp("us", "UTC"))})
        names += [name for name in COLUMNS if name in self._file.schema_arrow.names]
        ends = np.append(self._starts, self._file.metadata.num_rows)
        of_groups = map(self._file.metadata.row_group, range(self._file.num_row_groups))
        bounds = np.cumsum([0, *(one.num_rows for one in of_groups)])
        first = np.searchsorted(bounds, self._starts[places], side="right") - 1
        last = np.searchsorted(bounds, ends[places + 1], side="left") - 1
        of_users = {*zip(first.tolist(), last.tolist(), strict=True)}
        groups = {one for low, high in of_users for one in range(low, high + 1)}
        parts = [self._file.schema_arrow.empty_table().select(names)]
        for group in sorted(groups):
            table = self._file.read_row_group(group, columns=names)
            parts.append(table.filter(pc.is_in(table["user_id"], users)))
        return pa.concat_tables(parts)


@dataclass(frozen=True)
class Customers:
    """ids: string (n,). left_out: how many customers get no list, by the reason."""

    ids: pa.StringArray
    left_out: dict[str, int]


def customers(
    histories: Histories,
    database: Database,
    segment: Segment,
    types: Mapping[str, AttributeType],
    erased_at: ErasedAt,
) -> Customers:
    """Return the customers of a segment, those of the histories' file first.

    Customers are all whom the histories, the attributes or the event store name. types: of the
    attributes that the shop declares.

    Raises:
        ValueError: the segment names an attribute that is not declared.
        StoreError: the database failed.
    """
    put = dict(read_users(database))
    stored = pa.array(sorted(_users_with_events(database) | put.keys()), pa.string())
    ids = pc.unique(pa.concat_arrays([histories.ids, histories.users_with_attributes, stored]))
    left_out: dict[str, int] = {}

    def keep(wanted: pa.BooleanArray, reason: str) -> None:
        nonlocal ids
        kept = ids.filter(wanted)
        if len(kept) < len(ids):
            left_out[reason] = len(ids) - len(kept)
        ids = kept

    keep(pc.invert(pc.starts_with(ids, RESERVED)), "sessions that are not signed in")
    if segment.ids is not None:
        ids = pa.concat_arrays([ids, segment.ids.filter(pc.invert(pc.is_in(segment.ids, ids)))])
        keep(pc.is_in(ids, segment.ids), "not in the file of customers")
    for name, value in segment.values.items():
        if name not in types:
            known = ", ".join(types) or "none"
            raise ValueError(f"no attribute {name!r} of users is declared; declared are: {known}")
        column = column_of(name, types[name])
        with_any = histories.users_with_attributes.to_pylist()
        found = dict(zip(with_any, histories.attribute(column), strict=True))
        found |= {user: one[name] for user, one in put.items() if name in one}
        mine = [user for user, cell in found.items() if _has(cell, value)]
        keep(pc.is_in(ids, pa.array(mine, pa.string())), f"{name} is not {value}")
    erased = _erased(ids.to_pylist(), erased_at, set(stored.to_pylist()))
    if erased:
        keep(pc.invert(pc.is_in(ids, pa.array(erased, pa.string()))), "erased")
    return Customers(ids, left_out)


def _users_with_events(database: Database) -> set[str]:
    statement = sa.select(EVENTS.c.user_id).where(EVENTS.c.user_id.is_not(None)).distinct()
    with database.connected(timeout=None) as connection:
        return set(connection.scalars(statement))


def _has(cell: Any, value: str) -> bool:
    """Return whether an attribute's value, or one of a set, is ``value``."""
    if isinstance(cell, list):
        return any(_has(one, value) for one in cell)
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        try:
            return float(cell) == float(value)
        except ValueError:
            return False
    return cell is not None and str(cell).casefold() == value.casefold()


def _erased(ids: Sequence[str], erased_at: ErasedAt, active: Collection[str]) -> list[str]:
    """Return the erased customers of whom the event store knows nothing since."""
    return [user for user in ids if user not in active and erased_at(f"user:{user}") is not None]
