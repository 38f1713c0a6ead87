"""The training data's own history as windows and references: what ordinary weeks look like.

In: clean interactions and the vocabulary. Out: for each day the window that ends there, for any
earlier day the reference that ends there, as counts.

A window ends at each midnight, as the daily monitoring sees it, and the reference is the
``monitor.reference_weeks`` windows that end ``age`` windows before the window begins. An item is
new to a reference if its first event is after the reference's end, as in served traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from components.arrays import BoolArray, DoubleArray, Int64Array
from components.data.dataset import DAY
from components.settings import Monitor
from monitoring.counts import CodedTable, Counts
from monitoring.features import Vocabulary, feature_table


@dataclass(frozen=True)
class History:
    """Feature table of all complete days, sorted by day.

    table: see ``feature_table``. coded: the same in codes. days: int (rows,), the day of each row
    relative to the end of the data: -1 is the last day. seconds: int (rows,), since 1970. draw:
    (rows,) a random number in [0, 1), the same for all rows of a visit.
    """

    table: pd.DataFrame
    coded: CodedTable
    days: Int64Array
    seconds: Int64Array
    draw: DoubleArray
    settings: Monitor

    @classmethod
    def of(
        cls, frame: pd.DataFrame, vocabulary: Vocabulary, end: int, settings: Monitor, seed: int
    ) -> History:
        """Return the history of a ``clean_window`` that ends at midnight ``end`` (seconds)."""
        table = feature_table(frame, vocabulary)
        seconds = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
        days = (seconds - end) // DAY  # the frame is sorted by time
        draw = np.random.default_rng(seed).random(int(table["visit"].max()) + 1)
        return cls(table, CodedTable.of(table), days, seconds, draw[table["visit"]], settings)

    @cached_property
    def first_of_item(self) -> Int64Array:
        """Int (items,): the day of each item's first event."""
        return self._first("item")

    @cached_property
    def first_of_user(self) -> Int64Array:
        """Int (users,): the day of each user's first event."""
        return self._first("user_id")

    @cached_property
    def without_vector(self) -> BoolArray:
        """Bool (items,): items that the language model has not encoded."""
        found = np.zeros(len(self.coded.values["item"]), dtype=bool)
        found[self.coded.codes["item"]] = self.table["new_text"]
        return found

    @cached_property
    def hours(self) -> Int64Array:
        """Int (rows,): hours since 1970."""
        return (self.seconds // 3600).astype(np.int64)

    def _first(self, name: str) -> Int64Array:
        first = np.zeros(len(self.coded.values[name]), dtype=np.int64)
        np.minimum.at(first, self.coded.codes[name], self.days)
        return first

    def rows(self, first: int, last: int) -> slice:
        """Return the rows of the days ``first`` to ``last - 1``."""
        start, stop = np.searchsorted(self.days, [first, last])
        return slice(int(start), int(stop))

    def drawn(self, rows: slice, share: float) -> slice | BoolArray:
        """Return a share of the visits in ``rows``; the same visits for each call."""
        if share >= 1:
            return rows
        chosen = np.zeros(len(self.days), dtype=bool)
        chosen[rows] = self.draw[rows] < share
        return chosen

    def capped(self, rows: slice) -> slice | BoolArray:
        """Return whole visits in ``rows``, about ``monitor.sample_rows`` rows at most."""
        return self.drawn(rows, self.settings.sample_rows / max(rows.stop - rows.start, 1))

    def visits(self, rows: slice) -> int:
        """Return the number of visits in ``rows``."""
        visit = self.table["visit"].to_numpy()[rows]
        return len(np.unique(visit))

    def week(self, end: int) -> int:
        """Return the number of the week in which a window ends; -1 is the last one."""
        return (end - 1) // self.settings.window_days

    def has_reference(self, last: int) -> bool:
        """Return whether the data has all of the reference that ends with the day ``last - 1``."""
        length = self.settings.window_days * self.settings.reference_weeks
        return last - length > int(self.days[0])

    def reference(self, last: int) -> Counts:
        """Return the counts of the reference that ends with the day ``last - 1``."""
        length = self.settings.window_days * self.settings.reference_weeks
        return self.coded.count(self.capped(self.rows(last - length, last)))

    def dates(self, first: int, last: int) -> pd.DatetimeIndex:
        """Return the UTC midnights of the days ``first`` to ``last - 1``."""
        end = pd.Timestamp(int(self.seconds[-1]), unit="s", tz="UTC").floor("D")
        zero = end - pd.Timedelta(days=int(self.days[-1]))
        return pd.date_range(
            zero + pd.Timedelta(days=first), periods=last - first, freq="D", tz="UTC"
        )

    def visits_by_day(self) -> pd.Series:
        """Return the number of visits of each day, 0 included; index: UTC midnight."""
        return self._visits_by_day

    @cached_property
    def _visits_by_day(self) -> pd.Series:
        first = int(self.days[0])
        one = pd.Series(self.days).groupby(self.table["visit"].to_numpy()).first()
        counts = np.bincount(one - first, minlength=-first)
        return pd.Series(counts, index=self.dates(first, 0))

    def ends(self, age: int = 0, least_visits: int = 0) -> list[int]:
        """Return the days at whose midnight a window ends that has a complete reference ``age``
        windows earlier and at least so many visits, oldest first."""
        days = self.settings.window_days
        ends = range(int(self.days[0]), 1)
        return [
            end
            for end in ends
            if self.has_reference(end - days - age * days)
            and self.visits(self.rows(end - days, end)) >= least_visits
        ]
