"""User profiles: the interactions of every user, in one file outside the model folders.

In: ``Prepared`` tables. Out: ``models/profiles``, with the users' attributes in a second file. No
model folder holds personal data, so erasing a user leaves the models as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from components.data.attributes import attribute_columns, with_attributes
from components.data.dataset import Prepared
from components.data.schema import EVENTS
from components.file_erasure import replace_table

PROFILES = Path("models/profiles/profiles.parquet")
PURCHASE = EVENTS.index("purchase")


def profiles_file(root: Path, model: Path) -> Path:
    """Return the file of the users' histories for a model folder below ``root``.

    Model folders of earlier versions hold it themselves.
    """
    file = root / PROFILES
    return file if file.exists() else model / "profiles.parquet"


def attributes_file(profiles: Path) -> Path:
    """Return the file of the users' attributes that belongs to a file of profiles.

    >>> attributes_file(Path("profiles/3.parquet")).name
    '3.attributes.parquet'
    """
    return profiles.with_suffix(".attributes.parquet")


def write_profiles(prepared: Prepared, file: Path) -> None:
    """Write every interaction by the shop's ids: user_id, item_id, timestamp, and rating, strength
    and excluding (see ``Histories``) if any interaction has a rating, if not all have strength 1,
    or if not all exclude their item, and event (index into ``schema.EVENTS``) if not all are
    purchases. Serving reads it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    interactions = prepared.interactions
    frame = pd.DataFrame(
        {
            "user_id": prepared.users["user_id"].to_numpy()[interactions.users],
            "item_id": prepared.catalogue.ids[interactions.items],
            "timestamp": pd.to_datetime(interactions.times, unit="s", utc=True),
        }
    )
    if not np.isnan(interactions.ratings).all():
        frame["rating"] = interactions.ratings
    if interactions.strengths is not None:
        frame["strength"] = interactions.strengths
    if interactions.excluding is not None:
        frame["excluding"] = interactions.excluding
    if (interactions.events != PURCHASE).any():
        frame["event"] = interactions.events
    replace_table(file, pa.Table.from_pandas(frame, preserve_index=False))
    _write_attributes(prepared, attributes_file(file))


def _write_attributes(prepared: Prepared, file: Path) -> None:
    """Write the attributes of all users, also of those without an interaction, if any has one."""
    columns = attribute_columns(prepared.users.columns)
    known = [prepared.users[["user_id", *columns]], prepared.newcomers]
    frame = pd.concat([one for one in known if one is not None], ignore_index=True)
    frame = frame[frame[columns].notna().any(axis=1)]
    if frame.empty:
        file.unlink(missing_ok=True)
        return
    schema = with_attributes(pa.schema([("user_id", pa.string())]), columns)
    replace_table(file, pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
