"""Limits on feedback: by user, client, product and day, and by how the sender was authenticated.

In: rows of the contract's interactions. A row is feedback if its ``authentication`` is not null.
Out: the rows above a limit, with the reason; the rows of clients that send mostly bad ones; the
rows without the values that their sender may not set. ``validate`` applies the limits before
training, and monitoring applies the same ones, so that both see the same events.

User ids and sessions can be made at will, an address cannot. So a client (an address with all its
sessions) is limited, whatever users it names. The shop's key is not limited by client, because all
of the shop's events come from it.
"""

from __future__ import annotations

import re
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from ibis import _

from components.clock import CLOCK_SKEW
from components.data.schema import AUTHENTICATIONS, INTERACTIONS, NONE, SHOP, codes_of
from components.settings import Validate

BAD_CLIENT = "from a client whose feedback is mostly bad"
USER_ITEM_DAY = "too many events of a user on one product a day"
CLIENT_ITEM_DAY = "too many events of a client on one product a day"
CLIENT_DAY = "too many events of a client a day"

_FIRST = ("purchase", "rating", "cart", "click", "view")
"""Events by value, the most informative first: above a limit the last ones are left out."""

_EXPORTED = r"events-(\d{4}-\d{2}-\d{2})\.parquet$"
"""A file of ``bowerbird export-feedback``, named by the day on which its events were received."""

_COUNTED = pa.schema(
    [
        *((name, INTERACTIONS.field(name).type) for name in ("user_id", "item_id", "client")),
        *((name, pa.string()) for name in ("authentication", "event", "source")),
        ("timestamp", INTERACTIONS.field("timestamp").type),
        ("row", pa.int64()),
    ]
)
"""Columns that the limits need."""


def authentication_of(column: ir.StringColumn) -> ir.StringValue:
    """Return a feedback file's authentication: "none" where it is null or unknown."""
    return ibis.ifelse(column.isin(AUTHENTICATIONS), column, NONE)


def received_day(source: ir.StringColumn) -> ir.DateValue:
    """Return the UTC day of receipt in the name of an exported file, null without one."""
    return source.re_extract(_EXPORTED, 1).nullif("").try_cast("date")


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


def unreadable_feedback(shown: str | Path, error: Exception) -> ValueError:
    """Return the error of a file that cannot be read, with its remedy."""
    return ValueError(
        f"{shown} cannot be read ({str(error).splitlines()[0]}): take it away or export it again "
        "with `bowerbird export-feedback`"
    )


def read_columns(file: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Return columns of a feedback file, by default all.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return pd.read_parquet(file, columns=columns)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise unreadable_feedback(file, error) from error


def _read_file(file: Path) -> pd.DataFrame:
    part = read_columns(file)
    part = part.assign(source=file.name)
    # Files exported before these columns existed.
    missing = {"client", "authentication"} - set(part.columns)
    part = part.assign(**dict.fromkeys(missing))
    known = part["authentication"].isin(AUTHENTICATIONS)
    return part.assign(
        authentication=part["authentication"].where(known, NONE),
        timestamp=pd.to_datetime(part["timestamp"], utc=True),
    )


def above_limits(rows: ir.Table, settings: Validate) -> ir.Table:
    """Return (row, reason) of the feedback that is above a limit.

    rows: interactions with their number as ``row``; of equals the first counts first. A day is that
    of the event and also that of the export file, if the file's name has the day of receipt:
    backdating events does not let more of them count. All feedback without a client counts as that
    of one client. Each limit counts only rows that met the limits before it.
    """
    rows = rows.filter(rows.authentication.notnull())
    day = rows.timestamp.date()
    received = received_day(rows.source)
    keys = rows.select(
        *("row", "user_id", "item_id", "client", "timestamp"),
        day=day,
        received=ibis.coalesce(received, day),
        trust=rows.authentication.cases(*codes_of(AUTHENTICATIONS)),
        value=rows.event.cases(*codes_of(_FIRST)),
        reason=ibis.null("string"),
    )
    order = ["trust", "value", "timestamp", "row"]
    for by_client, columns, most, reason in (
        (False, ["user_id", "item_id", "day"], settings.max_user_item_day, USER_ITEM_DAY),
        (True, ["client", "item_id", "day"], settings.max_client_item_day, CLIENT_ITEM_DAY),
        (True, ["client", "item_id", "received"], settings.max_client_item_day, CLIENT_ITEM_DAY),
        (True, ["client", "day"], settings.max_client_day, CLIENT_DAY),
        (True, ["client", "received"], settings.max_client_day, CLIENT_DAY),
    ):
        counted = keys.reason.isnull()
        if by_client:
            counted = counted & (keys.trust > AUTHENTICATIONS.index(SHOP))
        keys = keys.mutate(counted=counted)
        keys = keys.mutate(n=ibis.row_number().over(group_by=["counted", *columns], order_by=order))
        keys = keys.mutate(reason=ibis.ifelse(keys.counted & (keys.n >= most), reason, keys.reason))
    return keys.filter(keys.reason.notnull()).select("row", "reason")


def over_limits(rows: pd.DataFrame, settings: Validate) -> pd.Series:
    """Return why feedback is above a limit: index = the row's label in ``rows``, value = reason.

    See ``above_limits``.
    """
    columns = ["user_id", "item_id", "client", "authentication", "event", "source"]
    texts = rows[columns].astype(object).where(rows[columns].notna(), None)
    table = pa.Table.from_pandas(
        texts.assign(timestamp=rows["timestamp"], row=range(len(rows))), _COUNTED, False
    )
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    found = above_limits(con.create_table("rows", table), settings).order_by("row").execute()
    return found.set_index(rows.index[found["row"]])["reason"]


def of_bad_clients(rows: ir.Table, settings: Validate) -> ir.Table:
    """Return the feedback of clients of whose rows too large a share is bad.

    rows: interactions with the column ``bad``. A client with fewer than
    ``validate.min_client_rows`` is not judged.
    """
    feedback = rows.filter(rows.authentication.notnull()).mutate(client=rows.client.fill_null(""))
    clients = feedback.group_by(["client", "authentication"]).aggregate(
        n=_.count(), share=_.bad.cast("float64").mean()
    )
    mostly = clients.filter(
        (clients.n >= settings.min_client_rows) & (clients.share > settings.max_bad_share)
    )
    return feedback.semi_join(mostly, ["client", "authentication"])


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
