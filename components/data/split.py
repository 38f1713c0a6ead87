"""Clean tables → dense codes, features and a split by time: the stage ``preprocess``.

In: ``data/valid``. Out: ``data/prepared/{interactions,items,users}.parquet`` and ``split.json``;
where users have attributes, ``newcomers.parquet`` with those of users without an interaction.

The split is global in time: the events of all users before ``validation_start`` are training data,
so nothing that is learned has seen the future. (A split by user, as leave-one-out, leaks: other
users' later events reveal what became popular. Meng et al., RecSys 2020.)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
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
from components.settings import Preprocess, Settings

MEANINGS = ("strength", "target", "excluding")
"""Columns of the prepared interactions that ``event_kinds`` makes of the others."""


def boundaries(last: int, first: int, settings: Preprocess) -> dict[str, int]:
    """Return validation_start, test_start and end (seconds since 1970), all at UTC midnight.

    first, last: the earliest and the latest event, seconds since 1970. ``end`` is the midnight
    after the last event.

    Raises:
        ValueError: the windows leave nothing to train on.

    >>> settings = Preprocess(validation_days=7, test_days=7)
    >>> times = boundaries(last=30 * DAY - 1, first=0, settings=settings)
    >>> {name: seconds // DAY for name, seconds in times.items()}
    {'validation_start': 16, 'test_start': 23, 'end': 30}
    """
    end = (last // DAY + 1) * DAY
    test_start = end - settings.test_days * DAY
    validation_start = test_start - settings.validation_days * DAY
    if first >= validation_start:
        raise ValueError(
            f"preprocess: the interactions span {(last - first) / DAY:.1f} days, but "
            f"validation_days + test_days are {settings.validation_days + settings.test_days}: "
            "shorten them in params.yaml or bring older data"
        )
    return {"validation_start": validation_start, "test_start": test_start, "end": end}


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
        sizes = _prepare(engine, settings.preprocess, root / "data/valid", partial)
    out = root / "data/prepared"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    print(
        f"{sizes.sum():,} interactions: "
        + ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True))
    )


def _prepare(engine: Engine, settings: Preprocess, valid: Path, out: Path) -> Int64Array:
    """Write the prepared tables to ``out``; return the number of interactions of each split."""
    given = {
        name: engine.read(valid / f"{name}.parquet") for name in ("interactions", "items", "users")
    }
    items = engine.keep("items", numbered(clean_items(given["items"]), "item_id", "item"))
    users = engine.keep("users", numbered(given["users"], "user_id", "user"))
    clean = clean_interactions(given["interactions"], users, items)
    clean = at_least(clean, "item", settings.min_item_interactions)
    clean = at_least(clean, "user", settings.min_user_interactions)
    interactions = engine.keep("interactions", clean)

    span = interactions.aggregate(first=_.seconds.min(), last=_.seconds.max()).execute()
    if span["first"].isna()[0]:
        raise ValueError(
            "preprocess: no interaction is left after validation and the minima of "
            "preprocess.min_item_interactions and min_user_interactions; look at data/quarantine"
        )
    times = boundaries(int(span["last"][0]), int(span["first"][0]), settings)
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
    codes = interactions.event.value_counts(name="n").execute()
    counts = {EVENTS[code]: int(n) for code, n in zip(codes["event"], codes["n"], strict=True)}
    check_targets(counts, settings.targets)
    batches = engine.batches(prepared)
    return _write_interactions(batches, EventKinds.of(settings), out / "interactions.parquet")


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
