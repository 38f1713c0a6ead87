"""Clean tables → dense codes, features and a split by time: the stage ``preprocess``.

In: ``data/valid``. Out: ``data/prepared/{interactions,items,users}.parquet`` and ``split.json``.

The split is global in time: the events of all users before ``validation_start`` are training data,
so nothing that is learned has seen the future. (A split by user, as leave-one-out, leaks: other
users' later events reveal what became popular. Meng et al., RecSys 2020.)
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow.parquet as pq
from ibis import _

from components.data.cleaning import at_least, clean_interactions, clean_items
from components.data.features import DAY, item_features, user_features
from components.data.schema import EVENTS, PREPARED_INTERACTIONS, SPLITS
from components.settings import Preprocess, Settings


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
    interactions: ir.Table, users: ir.Table, items: ir.Table, times: dict[str, int]
) -> ir.Table:
    """Return the interactions with dense codes and splits, sorted by (user, timestamp, item)."""
    event = interactions.event.cases(*((name, code) for code, name in enumerate(EVENTS)))
    window = ibis.cases(
        (interactions.seconds < times["validation_start"], SPLITS.index("train")),
        (interactions.seconds < times["test_start"], SPLITS.index("validation")),
        else_=SPLITS.index("test"),
    )
    return (
        interactions.mutate(event=event, split=window)
        .join(users.select("user_id", "user"), "user_id")
        .join(items.select("item_id", "item"), "item_id")
        .mutate(timestamp=_.seconds)
        .select(*PREPARED_INTERACTIONS.names)
        .order_by(["user", "timestamp", "item", "event"])
    )


def run(settings: Settings, root: Path) -> None:
    """The stage ``preprocess``: data/valid → data/prepared.

    Raises:
        ValueError: no interaction is left, or the windows leave nothing to train on.
    """
    con = ibis.duckdb.connect()
    valid = {
        name: con.read_parquet(str(root / "data/valid" / f"{name}.parquet"))
        for name in ("interactions", "items", "users")
    }
    items = con.create_table("items", clean_items(valid["items"]), temp=True)
    clean = clean_interactions(valid["interactions"], items)
    clean = at_least(clean, "item_id", settings.preprocess.min_item_interactions)
    clean = at_least(clean, "user_id", settings.preprocess.min_user_interactions)
    clean = clean.mutate(seconds=_.timestamp.epoch_seconds().cast("int64"))
    interactions = con.create_table("interactions", clean, temp=True)

    span = interactions.aggregate(first=_.seconds.min(), last=_.seconds.max()).execute()
    if span["first"].isna()[0]:
        raise ValueError(
            "preprocess: no interaction is left after validation and the minima of "
            "preprocess.min_item_interactions and min_user_interactions; look at data/quarantine"
        )
    times = boundaries(int(span["last"][0]), int(span["first"][0]), settings.preprocess)

    partial = root / "data/.prepared"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # The row number in these two files is the code: they are the vocabularies.
    active = valid["users"].semi_join(interactions, "user_id")
    users = user_features(active, interactions, times["validation_start"])
    products = item_features(items, interactions, times["validation_start"])
    users.to_parquet(str(partial / "users.parquet"))
    products.to_parquet(str(partial / "items.parquet"))
    rows = coded(
        interactions,
        con.read_parquet(str(partial / "users.parquet")).mutate(user=ibis.row_number()),
        con.read_parquet(str(partial / "items.parquet")).mutate(item=ibis.row_number()),
        times,
    ).to_pyarrow()
    pq.write_table(rows.cast(PREPARED_INTERACTIONS), partial / "interactions.parquet")
    (partial / "split.json").write_text(json.dumps(times))
    out = root / "data/prepared"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    sizes = np.bincount(rows["split"].to_numpy(), minlength=len(SPLITS))
    print(
        f"{len(rows):,} interactions: "
        + ", ".join(f"{name} {n:,}" for name, n in zip(SPLITS, sizes, strict=True))
    )
