"""Clean tables → dense codes, features and a split by time: the stage ``preprocess``.

In: ``data/valid``. Out: ``data/prepared/{interactions,items,users}.parquet`` and ``split.json``;
where users have attributes, ``newcomers.parquet`` with those of users without an interaction; and
``reports/preprocess.json``.

The split is global in time: the events of all users before ``validation_start`` are training data,
so nothing that is learned has seen the future. (A split by user, as leave-one-out, leaks: other
users' later events reveal what became popular. Meng et al., RecSys 2020.)

A *gap* is a run of days without an event that is longer than half of the shorter window, such as
that between the data of a past year and a click today. It counts as that half, so no window lies
within it, unless events are so rare that nothing would be left to train on. Models weigh events by
their age, so a few events after a gap would decide alone what is popular: they are left out, and
the stage says so, until they are enough (``last_day``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import _

from components.arrays import Int64Array
from components.data.attributes import attribute_columns
from components.data.cleaning import at_least, clean_interactions, clean_items, numbered
from components.data.engine import Engine, open_engine
from components.data.event_kinds import EventKinds, check_targets
from components.data.features import DAY, item_features, user_features
from components.data.influence import counts
from components.data.schema import EVENTS, NEWCOMERS, PREPARED_INTERACTIONS, SPLITS
from components.json_files import write_json
from components.settings import Preprocess, Settings

MEANINGS = ("strength", "target", "excluding")
"""Columns of the prepared interactions that ``event_kinds`` makes of the others."""


LATE_SHARE, LATE_SUCCESSES = 0.1, 100
"""Successes after a gap that are enough to learn from: this share of those of the test window's
length before it, at most this number."""


def longest_gap(settings: Preprocess) -> int:
    """Return the days that a gap counts as."""
    return max(1, min(settings.test_days, settings.validation_days) // 2)


def last_day(days: Int64Array, successes: Int64Array, settings: Preprocess) -> int:
    """Return the last day that is learned from: events after a gap may be too few.

    days: int64 (n,), the days with events (since 1970), increasing. successes: int64 (n,), their
    events of ``preprocess.targets``.

    >>> settings = Preprocess(validation_days=7, test_days=7)
    >>> days, sold = np.append(np.arange(30), [5000, 5001]), np.append(np.full(30, 20), [1, 13])
    >>> last_day(days[:31], sold[:31], settings), last_day(days, sold, settings)
    (29, 5001)
    """
    last = len(days) - 1
    before_gaps = np.flatnonzero(np.diff(days) > longest_gap(settings))
    for at in before_gaps[::-1]:
        first = np.searchsorted(days, days[at] - settings.test_days, side="right")
        enough = min(LATE_SHARE * successes[first : at + 1].sum(), LATE_SUCCESSES)
        if successes[at + 1 : last + 1].sum() >= enough:
            break
        last = at
    return int(days[last])


def boundaries(days: Int64Array, settings: Preprocess) -> dict[str, int]:
    """Return validation_start, test_start and end (seconds since 1970), all at UTC midnight.

    days: int64 (n,), the days with events (since 1970), increasing. ``end`` is the midnight after
    the last one.

    Raises:
        ValueError: the windows leave nothing to train on.

    >>> settings = Preprocess(validation_days=7, test_days=7)
    >>> times = boundaries(np.arange(30), settings)
    >>> {name: seconds // DAY for name, seconds in times.items()}
    {'validation_start': 16, 'test_start': 23, 'end': 30}

    A gap counts as 3 days:

    >>> times = boundaries(np.append(np.arange(30), 5000), settings)
    >>> {name: seconds // DAY for name, seconds in times.items()}
    {'validation_start': 19, 'test_start': 26, 'end': 5001}

    unless that leaves nothing to train on:

    >>> times = boundaries(np.array([0, 20, 29]), settings)
    >>> {name: seconds // DAY for name, seconds in times.items()}
    {'validation_start': 16, 'test_start': 23, 'end': 30}
    """
    counted = np.minimum(np.diff(days, prepend=days[:1]), longest_gap(settings)).cumsum()
    widths = np.array([settings.validation_days + settings.test_days, settings.test_days])
    wanted = counted[-1] + 1 - widths
    at = np.searchsorted(counted, wanted)
    starts = days[at] - (counted[at] - wanted)
    if days[0] >= starts[0]:  # few days have events: their gaps count in full
        starts = days[-1] + 1 - widths
    if days[0] >= starts[0]:
        raise ValueError(
            f"preprocess: the interactions span {days[-1] - days[0] + 1} days, but "
            f"validation_days + test_days are {settings.validation_days + settings.test_days}: "
            "shorten them in params.yaml or bring older data"
        )
    moments = np.append(starts, days[-1] + 1) * DAY
    return dict(zip(("validation_start", "test_start", "end"), moments.tolist(), strict=True))


def check_windows(
    days: Int64Array, successes: Int64Array, times: dict[str, int], settings: Preprocess
) -> None:
    """Check that the ranker and the evaluation have something to learn and to judge by.

    Raises:
        ValueError: there is no success in the validation or the test window.
    """
    moments = [time // DAY for time in times.values()]
    for name, first, end in zip(SPLITS[1:], moments[:-1], moments[1:], strict=True):
        if not successes[(days >= first) & (days < end)].any():
            raise ValueError(
                f"preprocess: no {' or '.join(settings.targets)} is in the {name} window, "
                f"{_date(first)} to {_date(end - 1)}: lengthen {name}_days in params.yaml, bring "
                "newer data, or add kinds of events to targets"
            )


def _date(day: int) -> np.datetime64:
    return np.datetime64(int(day), "D")


def coded(
    interactions: ir.Table, users: ir.Table, times: dict[str, int], settings: Preprocess
) -> ir.Table:
    """Return the interactions with dense codes and splits, sorted by (user, timestamp, item),
    without ``MEANINGS``.

    users: (user, code), the code of each user's number. The weight of events that a served list
    led to is ``settings.recommended_weight``, that of events above the limits of ``influence`` 0.
    """
    window = ibis.cases(
        (interactions.seconds < times["validation_start"], SPLITS.index("train")),
        (interactions.seconds < times["test_start"], SPLITS.index("validation")),
        else_=SPLITS.index("test"),
    )
    return (
        interactions.mutate(
            split=window,
            weight=ibis.cases(
                (~counts(interactions, settings), 0.0),
                (_.recommended, settings.recommended_weight),
                else_=1.0,
            ),
        )
        .join(users, "user")
        .mutate(timestamp=_.seconds, user=_.code)
        .select(*(name for name in PREPARED_INTERACTIONS.names if name not in MEANINGS))
        .order_by(["user", "timestamp", "item", "event"])
    )


def run(settings: Settings, root: Path) -> None:
    """The stage ``preprocess``: data/valid → data/prepared.

    Raises:
        ValueError: no interaction is left, or the windows leave nothing to train on.
    """
    partial = root / "data/.prepared"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with open_engine(settings, root) as engine:
        sizes, note = _prepare(engine, settings.preprocess, root / "data/valid", partial)
    out = root / "data/prepared"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    # Not in data/prepared: a click that is left out must not change what later stages read.
    report = dict(zip(SPLITS, sizes.tolist(), strict=True)) | ({"note": note} if note else {})
    write_json(root / "reports/preprocess.json", report)
    print(
        f"{sizes.sum():,} interactions: "
        + ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True))
    )


def _prepare(
    engine: Engine, settings: Preprocess, valid: Path, out: Path
) -> tuple[Int64Array, str]:
    """Write the prepared tables to ``out``; return the number of interactions of each split, and
    the sentence of ``_late``."""
    given = {
        name: engine.read(valid / f"{name}.parquet") for name in ("interactions", "items", "users")
    }
    items = engine.keep("items", numbered(clean_items(given["items"]), "item_id", "item"))
    users = engine.keep("users", numbered(given["users"], "user_id", "user"))
    clean = clean_interactions(given["interactions"], users, items)
    interactions = engine.keep("interactions", _frequent(clean, settings))
    days = _by_day(interactions, settings).execute()
    if days.empty:
        raise ValueError(
            "preprocess: no interaction is left after validation and the minima of "
            "preprocess.min_item_interactions and min_user_interactions; look at data/quarantine"
        )
    codes = interactions.event.value_counts(name="n").execute()
    counts = {EVENTS[code]: int(n) for code, n in zip(codes["event"], codes["n"], strict=True)}
    check_targets(counts, settings.targets)
    last = last_day(days["day"].to_numpy(), days["successes"].to_numpy(), settings)
    note = _late(days[days["day"] > last], last)
    if note:
        print(note)
        kept = _frequent(interactions.filter(_.seconds < (last + 1) * DAY), settings)
        interactions = engine.keep("interactions_until_gap", kept)
        days = _by_day(interactions, settings).execute()
    times = boundaries(days["day"].to_numpy(), settings)
    check_windows(days["day"].to_numpy(), days["successes"].to_numpy(), times, settings)
    start = times["validation_start"]

    # The row number in these two files is the code: they are the vocabularies.
    active = users.semi_join(interactions, "user")
    features = user_features(active, interactions, start).drop("user")
    _write(engine, features, out / "users.parquet")
    if attributes := attribute_columns(users.columns):
        others = users.anti_join(interactions, "user").select("user_id", *attributes)
        known = ibis.or_(*(others[name].notnull() for name in attributes))
        _write(engine, others.filter(known).order_by("user_id"), out / NEWCOMERS)
    features = item_features(items, interactions, start).drop("item")
    _write(engine, features, out / "items.parquet")
    codes = engine.keep("codes", numbered(active.select("user"), "user", "code"))
    (out / "split.json").write_text(json.dumps(times))
    prepared = coded(interactions, codes, times, settings)
    batches = engine.batches(prepared)
    rows = _write_interactions(batches, EventKinds.of(settings), out / "interactions.parquet")
    return rows, note


def _frequent(interactions: ir.Table, settings: Preprocess) -> ir.Table:
    """Return the interactions of items and users that have enough of them."""
    frequent = at_least(interactions, "item", settings.min_item_interactions)
    return at_least(frequent, "user", settings.min_user_interactions)


def _by_day(interactions: ir.Table, settings: Preprocess) -> ir.Table:
    """Return day (since 1970), events and successes of each day with events, in their order."""
    kinds = [EVENTS.index(event) for event in settings.targets]
    low = (_.rating <= settings.low_rating).fill_null(False)
    return (
        interactions.group_by(day=(_.seconds // DAY).cast("int64"))
        .aggregate(events=_.count(), successes=(_.event.isin(kinds) & ~low).sum().cast("int64"))
        .order_by("day")
    )


def _late(days: pd.DataFrame, last: int) -> str:
    """Return the sentence about events after a gap that are left out, "" without any.

    days: of ``_by_day``, those after ``last``.
    """
    if days.empty:
        return ""
    first, newest = days["day"].iloc[[0, -1]]
    when = f"{_date(first)}" if first == newest else f"{_date(first)} to {_date(newest)}"
    return (
        f"not learned from yet: the events of {when} ({days['events'].sum():,}); none was in the "
        f"{first - last - 1:,} days before them, and they are too few to show what is popular now"
    )


def _write(engine: Engine, table: ir.Table, file: Path) -> None:
    with pq.ParquetWriter(file, table.schema().to_pyarrow()) as writer:
        for batch in engine.batches(table):
            writer.write_batch(batch)


def _write_interactions(
    batches: Iterator[pa.RecordBatch], kinds: EventKinds, file: Path
) -> Int64Array:
    """Write the prepared interactions with ``MEANINGS``; return the rows of each split."""
    sizes = np.zeros(len(SPLITS), dtype=np.int64)
    with pq.ParquetWriter(file, PREPARED_INTERACTIONS) as writer:
        for batch in batches:
            writer.write_table(_with_meanings(pa.Table.from_batches([batch]), kinds))
            sizes += np.bincount(batch["split"].to_numpy(), minlength=len(SPLITS))
    return sizes


def _with_meanings(batch: pa.Table, kinds: EventKinds) -> pa.Table:
    """Return the prepared rows with ``MEANINGS``."""
    events = batch["event"].to_numpy()
    ratings = batch["rating"].to_pandas().to_numpy(dtype=np.float32)  # NaN for null
    columns = {name: batch[name] for name in batch.column_names} | {
        "strength": kinds.strengths(events, ratings),
        "target": kinds.are_targets(events, ratings),
        "excluding": kinds.are_excluding(events, ratings),
    }
    return pa.table(columns).select(PREPARED_INTERACTIONS.names).cast(PREPARED_INTERACTIONS)
