"""Columns of a catalogue as sequences: texts, lists of texts, and ids with their codes.

In: columns of a catalogue's table, row number = code. Out: sequences that read an Arrow column in
place. A Python list of strings takes some 70 bytes an entry more, a dictionary of ids some 100.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.data.item_table import READ, arrow_column, each_text
from components.recommenders.base import MISSING

MANY = 1_000
"""Ids from which on codes are sought together."""
LATELY = 65_536
"""Ids whose codes are kept in a dictionary, which is ten times as fast."""


class Texts(Sequence[str]):
    """The texts of a column, "" where there is none.

    >>> texts = Texts(pd.Series(["mug", None, "cup"]))
    >>> texts[0], texts[1], texts[1:], len(texts)
    ('mug', '', ['', 'cup'], 3)
    """

    def __init__(self, column: pd.Series | pa.ChunkedArray) -> None:
        arrow = arrow_column(column) if isinstance(column, pd.Series) else column
        if arrow.null_count:
            arrow = pc.fill_null(arrow, "")
        self._arrow = arrow
        chunks = [chunk for chunk in arrow.chunks if len(chunk)]
        self._starts = [0, *np.cumsum([len(chunk) for chunk in chunks]).tolist()]
        # As memory views: a scalar of Arrow takes ten times as long.
        self._chunks = [_views(chunk) for chunk in chunks]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        row = int(at) if at >= 0 else int(at) + len(self)
        if not 0 <= row < len(self):
            raise IndexError(at)
        number = 0 if len(self._chunks) == 1 else bisect_right(self._starts, row) - 1
        offsets, characters = self._chunks[number]
        row -= self._starts[number]
        return str(characters[offsets[row] : offsets[row + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        yield from each_text(self._arrow)

    def distinct(self) -> list[str]:
        """Return each text once."""
        return pc.unique(self._arrow).to_pylist()


def _views(chunk: pa.LargeStringArray) -> tuple[memoryview[int], memoryview[int]]:
    """Return the offsets and the characters of an array of texts."""
    _, offsets, characters = chunk.buffers()
    starts = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    return starts.data, memoryview(b"" if characters is None else characters)


class Lists(Sequence[list[str]]):
    """The lists of texts of a column, empty where there is none.

    >>> Lists(pd.Series([["mug", "cup"], None]))[1]
    []
    """

    def __init__(self, column: pd.Series) -> None:
        self._arrow = arrow_column(column)

    def __len__(self) -> int:
        return len(self._arrow)

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[str]]: ...
    def __getitem__(self, at: int | slice) -> list[str] | list[list[str]]:
        if isinstance(at, slice):
            return [one or [] for one in self._arrow[at].to_pylist()]
        return self._arrow[int(at)].as_py() or []

    def __iter__(self) -> Iterator[list[str]]:
        for start in range(0, len(self), READ):
            yield from self[start : start + READ]


class Hashes:
    """Where the texts of a long sequence are: 12 bytes a text.

    Sorted hashes and the place of each. A caller compares the text itself, since two texts may have
    one hash.
    """

    def __init__(self, texts: Iterable[Any], n: int) -> None:
        hashes = np.fromiter(map(hash, texts), np.int64, n)
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.order = hashes[order], order.astype(np.int32)
        self._view = self.hashes.data  # numpy takes five times as long for one

    def places(self, text: str) -> Iterator[int]:
        """Yield the places, ascending, of texts with the hash of ``text``."""
        wanted = hash(text)
        at = bisect_left(self._view, wanted)
        while at < len(self._view) and self._view[at] == wanted:
            yield int(self.order[at])
            at += 1

    def first_places(self, texts: Iterable[str], n: int) -> NDArray[np.int32]:
        """Return int32 (n,): the first of the places of each text, MISSING where there is none."""
        wanted = np.fromiter(map(hash, texts), np.int64, n)
        at = np.minimum(self.hashes.searchsorted(wanted), max(len(self.hashes) - 1, 0))
        if not len(self.hashes):
            return np.full(n, MISSING, dtype=np.int32)
        return np.where(self.hashes[at] == wanted, self.order[at], np.int32(MISSING))


class Ids(Texts):
    """Distinct ids, code = position, and the code of each.

    >>> ids = Ids.of(["p1", "p2"]).extended(["p3"])
    >>> ids[1], ids.code("p3"), ids.get_indexer(["p2", "p9"]).tolist()
    ('p2', 2, [1, -1])
    """

    def __init__(self, column: pd.Series | pa.ChunkedArray) -> None:
        super().__init__(column)
        self._hashed = Hashes(iter(self), len(self))
        self._later: dict[str, int] = {}
        self._lately: dict[str, int] = {}

    @classmethod
    def of(cls, ids: Iterable[str]) -> Ids:
        """Return the ids of Python strings."""
        return cls(pa.chunked_array([pa.array(ids, pa.large_string())]))

    def extended(self, new: Sequence[str]) -> Ids:
        """Return these ids and new ones after them."""
        made = object.__new__(Ids)
        more = pa.array(new, pa.large_string())
        Texts.__init__(made, pa.chunked_array([*self._arrow.chunks, more]))
        made._hashed, made._lately = self._hashed, {}
        made._later = {**self._later, **{one: len(self) + at for at, one in enumerate(new)}}
        return made

    def code(self, one: str) -> int:
        """Return the code of an id, MISSING where there is none."""
        known = self._lately
        if (found := known.get(one)) is None:
            found = self._sought(one)
            if found != MISSING:
                if len(known) >= LATELY:
                    known = self._lately = {}
                known[one] = found
        return found

    def get_indexer(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Return int32 (n,): as ``code``."""
        if len(ids) < MANY or self._later:
            return np.fromiter(map(self.code, ids), np.int32, len(ids))
        codes = self._hashed.first_places(ids, len(ids))
        found = self._arrow.take(pa.array(np.maximum(codes, 0))).to_pylist() if len(self) else ids
        for at, (one, other) in enumerate(zip(ids, found, strict=True)):
            if one != other:
                codes[at] = self.code(one)
        return codes

    def _sought(self, one: str) -> int:
        if (found := self._later.get(one)) is not None:
            return found
        return next((at for at in self._hashed.places(one) if self[at] == one), MISSING)
