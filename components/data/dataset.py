"""The prepared tables in memory: coded interactions with CSR offsets, histories, catalogue.

In: ``data/prepared`` (see ``schema``) and ``models/vectors``. Out: the arrays that recommenders
are fitted on and score. A history is a slice, so nothing loops over interactions in Python.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from components.arrays import (
    BoolArray,
    FloatArray,
    Int8Array,
    Int32Array,
    Int64Array,
    IntArray,
    ObjectArray,
)
from components.data.attribute_codes import UserAttributes
from components.data.attributes import attribute_texts
from components.data.schema import NEWCOMERS, SPLITS

DAY = 86_400


def without_disliked(strengths: FloatArray, pairs: IntArray) -> FloatArray:
    """Return float32 (events,): the strengths, 0 for events on what the same user disliked.

    strengths: float32 (events,), below 0 of a dislike. pairs: int (events,), a number for each user
    and item. A dislike nearly always follows a view or a purchase, which says nothing more.

    >>> without_disliked(np.array([0.5, -1.0, 1.0]), np.array([7, 7, 8])).tolist()
    [0.0, -1.0, 1.0]
    """
    negative = strengths < 0
    if not negative.any():
        return strengths
    return np.where(~negative & np.isin(pairs, pairs[negative]), np.float32(0), strengths)


@dataclass(frozen=True)
class Histories:
    """Events of a batch of users, oldest first, and the time of the prediction for each.

    items: int32 (events,) item codes; user b's are ``items[offsets[b]:offsets[b + 1]]``.
    times: int64 (events,) seconds since 1970.
    offsets: int64 (batch + 1,).
    now: int64 (batch,) seconds since 1970; no event is later.
    ratings: float32 (events,), NaN where an event has none; None where no event has one.
    strengths: float32 (events,), what each event says of the wish for its item, below 0 of a
    dislike; None: 1 each.
    excluding: bool (events,), whether ``exclude_seen`` leaves out the event's item; None: all do.
    attributes: of each user, one row a history; None: none are known.
    """

    items: Int32Array
    times: Int64Array
    offsets: Int64Array
    now: Int64Array
    ratings: FloatArray | None = None
    strengths: FloatArray | None = None
    excluding: BoolArray | None = None
    attributes: UserAttributes | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_lists(cls, items: list[list[int]], now: int = 0) -> Histories:
        """Return histories of item codes alone, one second apart, the last one at ``now``.

        >>> Histories.from_lists([[3, 1], []]).lengths().tolist()
        [2, 0]
        """
        lengths = np.array([len(one) for one in items], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.array([code for one in items for code in one], dtype=np.int32)
        steps_back = np.repeat(offsets[1:], lengths) - 1 - np.arange(len(flat))
        return cls(flat, now - steps_back, offsets, np.full(len(items), now, dtype=np.int64))

    def lengths(self) -> Int64Array:
        """Return int64 (batch,): events in each history."""
        return np.diff(self.offsets)

    def rows(self) -> Int64Array:
        """Return int64 (events,): the row of the batch each event belongs to."""
        return self._rows

    def steps_back(self) -> Int64Array:
        """Return int64 (events,): 0 for a history's newest event, 1 for the one before, …"""
        return self._steps_back

    # Cached, because every model of a hybrid uses them.
    @cached_property
    def _rows(self) -> Int64Array:
        return np.repeat(np.arange(len(self)), self.lengths())

    @cached_property
    def _steps_back(self) -> Int64Array:
        return np.repeat(self.offsets[1:], self.lengths()) - 1 - np.arange(len(self.items))

    def weights(self, decay: float) -> FloatArray:
        """Return float32 (events,): evidence · decay**steps_back. ``decay`` in (0, 1]: 1 counts
        events, less lets old ones fade."""
        faded = np.power(np.float32(decay), self.steps_back(), dtype=np.float32)
        return faded if self._evidence is None else faded * self._evidence

    @cached_property
    def liked(self) -> Histories:
        """The histories without the events that say nothing for their items: those of strength 0
        or less, and all of an item that was disliked."""
        if self._evidence is None or (self._evidence > 0).all():
            return self
        return self.where(self._evidence > 0)

    @cached_property
    def telling(self) -> Histories:
        """The histories without the events of strength 0 before all others: no model learns from
        them, they only exclude their items.

        >>> zero_first = np.array([0, 0, 1, 0], dtype=np.float32)
        >>> histories = replace(Histories.from_lists([[3, 1, 2, 1], []]), strengths=zero_first)
        >>> histories.telling.items.tolist()
        [2, 1]
        """
        if self.strengths is None:
            return self
        told = np.cumsum(self.strengths != 0)
        before = np.concatenate([[0], told])[self.offsets[:-1]]
        keep = told > before[self.rows()]
        return self if keep.all() else self.where(keep)

    @cached_property
    def _evidence(self) -> FloatArray | None:
        if self.strengths is None:
            return None
        return without_disliked(self.strengths, self.rows() << 32 | self.items)

    def excluded(self, seen: bool) -> BoolArray:
        """Return bool (events,): whose items are not to be recommended. What was disliked never is;
        seen: nor is what ``excluding`` names."""
        if not seen:
            excluded = np.zeros(len(self.items), dtype=bool)
        else:
            all_of_them = np.ones(len(self.items), dtype=bool)
            excluded = all_of_them if self.excluding is None else self.excluding
        return excluded if self.strengths is None else excluded | (self.strengths < 0)

    def _of_events(self, index: slice | BoolArray | IntArray) -> dict[str, Any]:
        """Return the optional arrays of the chosen events by name."""
        given = {name: getattr(self, name) for name in ("ratings", "strengths", "excluding")}
        return {name: None if array is None else array[index] for name, array in given.items()}

    def take(self, rows: slice) -> Histories:
        """Return the histories of a slice of the batch (step 1)."""
        start, stop, _ = rows.indices(len(self))
        first, last = self.offsets[start], self.offsets[stop]
        return Histories(
            self.items[first:last],
            self.times[first:last],
            self.offsets[start : stop + 1] - first,
            self.now[start:stop],
            **self._of_events(slice(first, last)),
            attributes=None if self.attributes is None else self.attributes.take(rows),
        )

    def pick(self, rows: IntArray) -> Histories:
        """Return the histories of any rows (int) of the batch, in that order."""
        lengths = self.lengths()[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Histories(
            self.items[index],
            self.times[index],
            offsets,
            self.now[rows],
            **self._of_events(index),
            attributes=None if self.attributes is None else self.attributes.take(rows),
        )

    def where(self, keep: BoolArray, items: Int32Array | None = None) -> Histories:
        """Return the histories with the events where ``keep`` (bool (events,)) is true.

        items: int32 (events,), other item codes for all events; None: they stay.
        """
        kept = np.bincount(self.rows()[keep], minlength=len(self))
        return Histories(
            (self.items if items is None else items)[keep],
            self.times[keep],
            np.concatenate([[0], np.cumsum(kept)]),
            self.now,
            **self._of_events(keep),
            attributes=self.attributes,
        )

    def last(self, n: int) -> Histories:
        """Return the histories cut to their ``n`` newest events."""
        return self.where(self.steps_back() < n)

    def matrix(self, n_items: int, decay: float = 1.0) -> sp.csr_matrix:
        """Return float32 CSR (batch, n_items): the sum of the ``weights`` of an item's events."""
        shape = (len(self), n_items)
        matrix = sp.csr_matrix((self.weights(decay), self.items, self.offsets), shape=shape)
        # Copies: the arrays of this object must not be summed in place below.
        matrix.indices, matrix.indptr = matrix.indices.copy(), matrix.indptr.copy()
        matrix.sum_duplicates()
        return matrix

    def seen(self, n_items: int) -> sp.csr_matrix:
        """Return CSR (batch, n_items) with a 1 at every item of a history."""
        matrix = self.matrix(n_items)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class Interactions:
    """Coded interactions sorted by (user, time).

    users, items: int32 (n,). times: int64 (n,) seconds since 1970. events: int8 (n,), index into
    ``schema.EVENTS``. quantities, prices, ratings: float32 (n,), NaN where unknown. splits: int8
    (n,), index into ``schema.SPLITS``. n_users, n_items: sizes of the vocabularies. authenticated:
    bool (n,), see ``schema``; None: all are. weights: float32 (n,), how far each event is learned
    from, whatever it says; None: each 1. strengths, excluding: as in ``Histories``. targets: bool
    (n,), which events are successes; None: all are. attributes: of the users; None: none are
    declared.
    """

    users: Int32Array
    items: Int32Array
    times: Int64Array
    events: Int8Array
    quantities: FloatArray
    prices: FloatArray
    ratings: FloatArray
    splits: Int8Array
    n_users: int
    n_items: int
    authenticated: BoolArray | None = None
    weights: FloatArray | None = None
    strengths: FloatArray | None = None
    targets: BoolArray | None = None
    excluding: BoolArray | None = None
    attributes: UserAttributes | None = None
    offsets: Int64Array = field(init=False)

    def __post_init__(self) -> None:
        counts = np.bincount(self.users, minlength=self.n_users)
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(counts)]))

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_arrays(
        cls,
        users: IntArray,
        items: IntArray,
        times: IntArray,
        n_users: int | None = None,
        n_items: int | None = None,
        weights: FloatArray | None = None,
    ) -> Interactions:
        """Return purchases of one unit from arrays in any order."""
        order = np.lexsort((times, users))
        n = len(users)
        nan = np.full(n, np.nan, dtype=np.float32)
        return cls(
            np.asarray(users, dtype=np.int32)[order],
            np.asarray(items, dtype=np.int32)[order],
            np.asarray(times, dtype=np.int64)[order],
            np.full(n, 3, dtype=np.int8),
            np.ones(n, dtype=np.float32),
            nan,
            nan,
            np.zeros(n, dtype=np.int8),
            n_users if n_users is not None else int(users.max(initial=-1)) + 1,
            n_items if n_items is not None else int(items.max(initial=-1)) + 1,
            weights=None if weights is None else weights[order],
        )

    def where(self, mask: BoolArray) -> Interactions:
        """Return the interactions where ``mask`` (bool (n,)) is true; vocabularies stay."""
        names = ("users", "items", "times", "events", "quantities", "prices", "ratings", "splits")
        optional = ("authenticated", "weights", "strengths", "targets", "excluding")
        given = [name for name in optional if getattr(self, name) is not None]
        return replace(self, **{name: getattr(self, name)[mask] for name in (*names, *given)})

    def counted(self) -> Interactions:
        """Return the interactions that speak for their item, for models without weights."""
        return self if self.evidence is None else self.where(self.evidence > 0)

    @cached_property
    def evidence(self) -> FloatArray | None:
        """float32 (n,), each event's weight in what models learn of its item: ``weights`` times the
        strength, 0 of a user's events on an item that the user disliked. None: each 1."""
        if self.strengths is None:
            return self.weights
        pairs = self.users.astype(np.int64) * self.n_items + self.items
        strengths = np.maximum(without_disliked(self.strengths, pairs), 0)
        return strengths if self.weights is None else self.weights * strengths

    def successes(self) -> Interactions:
        """Return the interactions that models are to predict."""
        return self if self.targets is None else self.where(self.targets)

    def split(self, *names: str) -> Interactions:
        """Return the interactions of the named splits, for example ``split("train")``."""
        return self.where(np.isin(self.splits, [SPLITS.index(name) for name in names]))

    def histories(self, users: IntArray, now: IntArray | int) -> Histories:
        """Return everything ``users`` (int (batch,)) did strictly before ``now`` (seconds)."""
        users = np.asarray(users)
        before: Int64Array = np.broadcast_to(np.asarray(now, dtype=np.int64), users.shape)
        starts, stops = self.offsets[users], self.offsets[users + 1]
        lengths = stops - starts
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(np.arange(len(users)), lengths)
        index = np.arange(bounds[-1]) - bounds[rows] + starts[rows]
        keep = self.times[index] < before[rows]
        kept = np.bincount(rows[keep], minlength=len(users))
        index = index[keep]
        ratings = self.ratings[index]
        return Histories(
            self.items[index],
            self.times[index],
            np.concatenate([[0], np.cumsum(kept)]),
            before.copy(),
            None if np.isnan(ratings).all() else ratings,
            None if self.strengths is None else self.strengths[index],
            None if self.excluding is None else self.excluding[index],
            None if self.attributes is None else self.attributes.take(users),
        )

    def newest(self, n: int) -> Interactions:
        """Return the interactions without those that lie more than ``n`` of their user's back."""
        place = np.arange(len(self)) - self.offsets[self.users]
        return self.where(np.diff(self.offsets)[self.users] - place <= n)

    def newest_of_pairs(self) -> Int64Array:
        """Return int64 (pairs,): where each (user, item) met last, in order of user and item."""
        pairs = self.users.astype(np.int64) * self.n_items + self.items
        order = np.argsort(pairs, kind="stable")  # stable: a pair's meetings stay in time's order
        pairs = pairs[order]
        return order[np.append(pairs[1:] != pairs[:-1], True)] if len(order) else order

    def matrix(self, half_life_days: float | None = None) -> sp.csr_matrix:
        """Return float32 CSR (n_users, n_items) with a 1 for every pair that met.

        Where events have evidence it is the highest of the pair's, so that a pair that met without
        a list counts in full. With ``half_life_days`` it is halved with every half-life that the
        pair's newest meeting lies before the newest of all.
        """
        at = self.newest_of_pairs()
        weights = np.ones(len(at), dtype=np.float32)
        if self.evidence is not None:
            pairs = self.users.astype(np.int64) * self.n_items + self.items
            order = np.lexsort((self.evidence, pairs))
            last = np.append(np.diff(pairs[order]) != 0, True)[: len(order)]
            weights = self.evidence[order[last]]
        if half_life_days is not None:
            days = (self.times.max(initial=0) - self.times[at]) / DAY
            weights = weights * np.exp2(-days / half_life_days).astype(np.float32)
        matrix = sp.csr_matrix(
            (weights, (self.users[at], self.items[at])), shape=(self.n_users, self.n_items)
        )
        if self.evidence is not None:
            matrix.eliminate_zeros()
        return matrix


@dataclass(frozen=True)
class Catalogue:
    """The items, row number = code.

    table: the prepared items table. vectors: float32 (n_items, width), the language model's unit
    vectors, or None before the encoder ran.
    """

    table: pd.DataFrame
    vectors: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> ObjectArray:
        """Object (n_items,): the shop's own item ids."""
        return self.table["item_id"].to_numpy()


def category_texts(table: pd.DataFrame) -> pd.Series:
    """Return the shop's categories of each product as a text: a path ``a > b``, a set ``a, b``.

    An inferred category is a word of the title: it adds nothing, and its text is "".
    """
    # Products that came in by PUT /items have no such column.
    sets = table.get("categories_set", pd.Series(False, index=table.index)).eq(True)
    texts = [
        (", " if is_set else " > ").join(names)
        for names, is_set in zip(table["categories"], sets, strict=True)
    ]
    return pd.Series(texts, index=table.index, dtype=object).mask(table["categories_inferred"], "")


def item_text(table: pd.DataFrame) -> list[str]:
    """Return the text of each product: title, brand, the shop's categories, description, and
    attributes of the type text."""
    own = category_texts(table)
    columns = [table[name].fillna("") for name in ("title", "brand")]
    columns += [own, table["description"].fillna("")]
    columns += attribute_texts(table)
    parts = pd.concat(columns, axis=1).to_numpy()
    return [". ".join(part for part in row if part).lower() for row in parts]


@dataclass(frozen=True)
class Prepared:
    """Everything ``data/prepared`` holds. validation_start, test_start, end: seconds since 1970.

    newcomers: user_id and attributes of users without an interaction; None: none are declared.
    """

    interactions: Interactions
    catalogue: Catalogue
    users: pd.DataFrame
    validation_start: int
    test_start: int
    end: int
    newcomers: pd.DataFrame | None = None


def load_prepared(folder: str | Path, vectors: str | Path | None = None) -> Prepared:
    """Return the prepared tables of ``folder``, with the item vectors of ``vectors`` if given.

    Raises:
        FileNotFoundError: a file is missing; run ``dvc repro preprocess`` (or ``encode``) first.
    """
    folder = Path(folder)
    table = pd.read_parquet(folder / "items.parquet")
    users = pd.read_parquet(folder / "users.parquet")
    frame = pd.read_parquet(folder / "interactions.parquet")
    times = json.loads((folder / "split.json").read_text())
    # Tables of earlier versions lack them.
    meant = {
        name: frame[column].to_numpy()
        for name, column in (
            ("weights", "weight"),
            ("strengths", "strength"),
            ("targets", "target"),
            ("excluding", "excluding"),
        )
        if column in frame and not (frame[column] == 1).all()
    }
    interactions = Interactions(
        users=frame["user"].to_numpy(),
        items=frame["item"].to_numpy(),
        times=frame["timestamp"].to_numpy(),
        events=frame["event"].to_numpy(),
        quantities=frame["quantity"].to_numpy(),
        prices=frame["price"].to_numpy(),
        ratings=frame["rating"].to_numpy(),
        splits=frame["split"].to_numpy(),
        n_users=len(users),
        n_items=len(table),
        authenticated=frame["authenticated"].to_numpy(),
        **meant,
        attributes=UserAttributes.of(users),
    )
    encoded = np.load(Path(vectors) / "items.npy") if vectors is not None else None
    newcomers = folder / NEWCOMERS
    return Prepared(
        interactions,
        Catalogue(table, encoded),
        users,
        times["validation_start"],
        times["test_start"],
        times["end"],
        pd.read_parquet(newcomers) if newcomers.exists() else None,
    )
