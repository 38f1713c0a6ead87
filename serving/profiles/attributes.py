"""Users' attributes as of the training, by the codes of one model.

In: ``data.profiles.attributes_file``, next to the users' histories. Out: a user's codes.
Attributes put by ``PUT /users`` since are in the event store, see ``profiles.LiveProfiles``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from components.data.attribute_codes import Vocabulary
from components.data.attributes import as_json, attribute_columns, name_of
from components.file_erasure import change_table, profiles_named
from serving.profiles.history import NO_CODES, Codes


class BaseAttributes:
    """Codes and values of the attributes of each user that has any."""

    def __init__(self, frame: pd.DataFrame, vocabulary: Vocabulary) -> None:
        """Encode ``frame`` (user_id and the columns of attributes)."""
        self.vocabulary = vocabulary
        codes = vocabulary.encode(frame.reset_index(drop=True))
        self._codes, self._offsets = codes.indices.astype(np.int32), codes.indptr
        self._row = {user: row for row, user in enumerate(frame["user_id"].astype(str))}
        columns = attribute_columns(frame.columns)
        self._values = pa.Table.from_pandas(frame[columns], preserve_index=False)

    @classmethod
    def load(
        cls,
        file: Path,
        vocabulary: Vocabulary,
        erased_at: Callable[[str], int | None] | None = None,
    ) -> BaseAttributes:
        """Return the attributes of a file, none where there is no file.

        erased_at: when a profile was erased; its row, which has no time, is removed from the file
        too, if this process may write it.
        """
        if not file.exists():
            return cls.empty()
        frame = pd.read_parquet(file)
        if erased_at is not None:
            gone = _erased(frame["user_id"], erased_at)
            if gone.any():
                frame = frame[~gone]
                with suppress(OSError):
                    change_table(file, lambda table: _without(table, erased_at))
        return cls(frame, vocabulary)

    @classmethod
    def empty(cls) -> BaseAttributes:
        """Return the attributes of a shop that declares none."""
        return cls(pd.DataFrame({"user_id": []}), Vocabulary({}))

    def get(self, user_id: str | None) -> Codes:
        """Return int32 (n,): the codes of a user's values."""
        row = self._row.get(user_id or "", -1)
        return NO_CODES if row < 0 else self._codes[self._offsets[row] : self._offsets[row + 1]]

    def values_of(self, user_id: str | None) -> dict[str, float | str | list[str]]:
        """Return a user's values by name, as JSON can hold them; what is not known is absent."""
        row = self._row.get(user_id or "", -1)
        if row < 0:
            return {}
        cells = {
            column: as_json(column, self._values[column][row].as_py())
            for column in self._values.column_names
        }
        return {name_of(column): value for column, value in cells.items() if value is not None}

    def forget(self, erased_at: Callable[[str], int | None]) -> None:
        """Remove the erased users from memory."""
        users = pd.Series(list(self._row), dtype=object)
        gone: list[int] = []
        for user in users[_erased(users, erased_at)]:
            self._codes[slice(*self._offsets[self._row[user] : self._row[user] + 2])] = 0
            gone.append(self._row.pop(user))
        if gone:
            stays = np.ones(len(self._values), dtype=bool)
            stays[gone] = False
            names = self._values.column_names
            kept = [pc.if_else(pa.array(stays), one, None) for one in self._values.columns]
            self._values = pa.table(kept, names)


def _erased(users: pd.Series, erased_at: Callable[[str], int | None]) -> pd.Series:
    """Return bool (rows,): which users were erased, at any time."""
    return users.map(
        lambda user: any(erased_at(profile) is not None for profile in profiles_named(user))
    ).astype(bool)


def _without(table: pa.Table, erased_at: Callable[[str], int | None]) -> pa.Table:
    gone = _erased(table["user_id"].to_pandas(), erased_at)
    return table.filter(pa.array(~gone.to_numpy()))
