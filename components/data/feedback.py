"""Limits on feedback: by user, client, product and day, and by how the sender was authenticated.

In: rows of the contract's interactions. A row is feedback if its ``authentication`` is not null.
Out: the rows above a limit, with the reason; the rows of clients that send mostly bad ones; the
rows without the values that their sender may not set. ``validate`` applies the limits before
training, and monitoring applies the same ones, so that both see the same events.

User ids and sessions can be made at will, an address cannot. So a client (an address with all its
sessions) is limited, whatever users it names.
The shop's key is not limited by client, because all of the shop's events come from it.
"""

from __future__ import annotations

import re
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from components.clock import CLOCK_SKEW
from components.data.schema import AUTHENTICATIONS, INTERACTIONS, NONE, SHOP
from components.settings import Validate

BAD_CLIENT = "from a client whose feedback is mostly bad"
USER_ITEM_DAY = "too many events of a user on one product a day"
CLIENT_ITEM_DAY = "too many events of a client on one product a day"
CLIENT_DAY = "too many events of a client a day"

_FIRST = ("purchase", "rating", "cart", "click", "view")
"""Events by value, the most informative first: above a limit the last ones are left out."""

_EXPORTED = r"events-(\d{4}-\d{2}-\d{2})\.parquet$"
"""A file of ``bowerbird export-feedback``, named by the day on which its events were received."""


def authentication_of(column: ir.StringColumn) -> ir.StringValue:
    """Return a feedback file's authentication: "none" where it is null or unknown."""
    return ibis.ifelse(column.isin(AUTHENTICATIONS), column, NONE)


def day_of(file: Path) -> pd.Timestamp | None:
    """Return the UTC day in the name of a file of ``bowerbird export-feedback``, None without one.

    >>> day_of(Path("events-2026-11-24.parquet")).isoformat()
    '2026-11-24T00:00:00+00:00'
    """
    found = re.search(r"-(\d{4}-\d{2}-\d{2})\.parquet$", file.name)
    day = pd.to_datetime(found.group(1), utc=True, errors="coerce") if found else pd.NaT
    return None if pd.isna(day) else day


def read_newest(folder: str | Path, days: int, now: pd.Timestamp) -> pd.DataFrame:
    """Return the feedback of the newest ``days`` below ``folder``, counted from its last event.

    Rows are those of the contract's interactions with ``client``, ``authentication`` and
    ``source``, the name of the file; times are UTC. Events dated more than CLOCK_SKEW after ``now``
    are left out and do not move the window. Exported files are opened from the newest day on,
    until no event of an older one can lie in the window: their events are dated CLOCK_SKEW after
    the day of receipt at the latest. Events received late lie in newer files and count. Files
    without a day in their name are always read.

    Raises:
        ValueError: a file that is needed cannot be read.
    """
    span = pd.Timedelta(days=days)
    files = sorted(Path(folder).rglob("*.parquet"))
    parts: dict[Path, pd.DataFrame] = {}
    start: pd.Timestamp | None = None  # of the window, as far as files were read
    for file in sorted(files, key=_latest_event, reverse=True):
        if start is not None and _latest_event(file) <= start:
            break
        part = _read_file(file)
        parts[file] = part[part["timestamp"] <= now + CLOCK_SKEW]
        if len(parts[file]):
            start = max(filter(None, [start, parts[file]["timestamp"].max() - span]))
    if not parts:
        return INTERACTIONS.empty_table().to_pandas()
    frame = pd.concat([parts[file] for file in files if file in parts], ignore_index=True)
    return frame if start is None else frame[frame["timestamp"] > start].reset_index(drop=True)


def _latest_event(file: Path) -> pd.Timestamp:
    """Return the latest time that an event of a file can have, by the file's name."""
    day = day_of(file)
    if day is None:
        return pd.Timestamp.max.tz_localize("UTC")
    return day + pd.Timedelta(days=1) + CLOCK_SKEW


def _read_file(file: Path) -> pd.DataFrame:
    try:
        part = pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{file} cannot be read ({reason}): take it away or export it again with "
            "`bowerbird export-feedback`"
        ) from error
    part = part.assign(source=file.name)
    # Files exported before these columns existed.
    missing = {"client", "authentication"} - set(part.columns)
    part = part.assign(**dict.fromkeys(missing))
    known = part["authentication"].isin(AUTHENTICATIONS)
    return part.assign(
        authentication=part["authentication"].where(known, NONE),
        timestamp=pd.to_datetime(part["timestamp"], utc=True),
    )


def over_limits(rows: pd.DataFrame, settings: Validate) -> pd.Series:
    """Return why feedback is above a limit: index = the row's label in ``rows``, value = reason.

    A day is that of the event and also that of the export file, if the file's name has the day of
    receipt: backdating events does not let more of them count. All feedback without a client counts
    as that of one client. Each limit counts only rows that met the limits before it.
    """
    rows = rows[rows["authentication"].notna()]
    day = rows["timestamp"].dt.floor("D")
    received = rows["source"].str.extract(_EXPORTED, expand=False)
    keys = pd.DataFrame(
        {
            # Numbers instead of strings: grouping them, five times, is several times faster.
            "user_id": pd.factorize(rows["user_id"])[0],
            "item_id": pd.factorize(rows["item_id"])[0],
            "client": pd.factorize(rows["client"])[0],
            "day": day,
            "received": pd.to_datetime(received, utc=True, errors="coerce").fillna(day),
            "trust": rows["authentication"].map(AUTHENTICATIONS.index),
            "value": rows["event"].map({name: n for n, name in enumerate(_FIRST)}),
            "timestamp": rows["timestamp"],
        },
        index=rows.index,
    ).sort_values(["trust", "value", "timestamp"], kind="stable")
    by_client = keys["trust"] > AUTHENTICATIONS.index(SHOP)
    everyone = pd.Series(True, index=keys.index)
    found = []
    for of, columns, most, reason in (
        (everyone, ["user_id", "item_id", "day"], settings.max_user_item_day, USER_ITEM_DAY),
        (by_client, ["client", "item_id", "day"], settings.max_client_item_day, CLIENT_ITEM_DAY),
        (
            by_client,
            ["client", "item_id", "received"],
            settings.max_client_item_day,
            CLIENT_ITEM_DAY,
        ),
        (by_client, ["client", "day"], settings.max_client_day, CLIENT_DAY),
        (by_client, ["client", "received"], settings.max_client_day, CLIENT_DAY),
    ):
        counted = keys[of.loc[keys.index]]
        above = counted.index[counted.groupby(columns, sort=False, dropna=False).cumcount() >= most]
        keys = keys.drop(index=above)
        found.append(pd.Series(reason, index=above, dtype=object))
    return pd.concat(found)


def of_bad_clients(rows: pd.DataFrame, bad: pd.Series, settings: Validate) -> pd.Series:
    """Return bool (rows,): the feedback of clients of whose rows too large a share is bad.

    bad: bool (rows,). A client with fewer than ``validate.min_client_rows`` is not judged.
    """
    feedback = rows["authentication"].notna()
    keys = [rows.loc[feedback, "client"].fillna(""), rows.loc[feedback, "authentication"]]
    client = bad[feedback].groupby(keys, sort=False)
    judged = client.transform("size") >= settings.min_client_rows
    mostly = judged & (client.transform("mean") > settings.max_bad_share)
    return mostly.reindex(rows.index, fill_value=False)


def without_untrusted_values(rows: pd.DataFrame, settings: Validate) -> pd.DataFrame:
    """Return ``rows`` without the values that their senders may not set.

    Without the shop's key an event has no price and at most
    ``validate.max_client_quantity`` units.
    """
    client = rows["authentication"].notna() & (rows["authentication"] != SHOP)
    most = settings.max_client_quantity
    return rows.assign(
        price=rows["price"].mask(client),
        quantity=rows["quantity"].mask(client & (rows["quantity"] > most), most),
    )
