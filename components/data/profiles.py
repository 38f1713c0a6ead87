"""User profiles: the interactions of every user, in one file outside the model folders.

In: ``Prepared`` tables. Out: ``models/profiles``. No model folder holds personal data, so erasing a
user leaves the models as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from components.data.dataset import Prepared
from components.file_erasure import replace_table

PROFILES = Path("models/profiles/profiles.parquet")


def profiles_file(root: Path, model: Path) -> Path:
    """Return the file of the users' histories for a model folder below ``root``.

    Model folders of earlier versions hold it themselves.
    """
    file = root / PROFILES
    return file if file.exists() else model / "profiles.parquet"


def write_profiles(prepared: Prepared, file: Path) -> None:
    """Write every interaction by the shop's ids: user_id, item_id, timestamp, and rating, strength
    and excluding (see ``Histories``) if any interaction has a rating, if not all have strength 1,
    or if not all exclude their item. Serving reads it."""
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
    replace_table(file, pa.Table.from_pandas(frame, preserve_index=False))
