"""Erasure of a person everywhere: the order of the places, and the receipt.

In: a profile's key ("user:…" or "session:…"). Out: the result in each place, also written as a
receipt below ``var/erasures``. The work itself is in ``serving.events.event_erasure`` (event store)
and ``components.file_erasure`` (files).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.file_erasure import (
    Place,
    erase_exports,
    erase_tables,
    places_of_training,
    shops_files,
    write_receipt,
)
from components.settings import Settings
from serving.events.event_erasure import Erased, erase, export_erasures, places_of
from serving.events.store import EventStore

logger = logging.getLogger("bentoml.bowerbird")


@dataclass(frozen=True)
class ErasureResult:
    """erased: what the event store removed. places: the result in each place. receipt: the written
    file, None if it could not be written."""

    erased: Erased
    places: list[Place]
    receipt: Path | None


def erase_person(
    store: EventStore,
    settings: Settings,
    root: Path,
    profile: str,
    forget_erased: Callable[[], None],
) -> ErasureResult:
    """Erase a profile while the endpoint runs; return the result in each place.

    In this order:

    1. the event store: events, impressions, exposures; a keyed hash of the profile stays,
    2. the endpoint's memory, by ``forget_erased``; other workers do so within two seconds,
    3. exported events, exported impressions, and the served profiles,
    4. the pipeline's tables and models: they are listed, the next training replaces them,
    5. the shop's own files: they are listed, this program never writes them,
    6. the receipt; if it cannot be written, that is logged, since the erasure is already done.

    Raises:
        StoreError: the database failed; erase again.
    """
    erased = erase(store, profile)
    forget_erased()
    places = [
        *places_of(store.database, erased),
        Place("memory of the endpoint", "erased", None, "other workers: within two seconds"),
        *erase_exports(settings, root, erased.user_ids),
        *places_of_training(root),
        *shops_files(settings),
    ]
    receipt = None
    try:
        receipt = write_receipt(root, store.database.profile_hash(profile), places)
    except OSError as error:
        logger.error("no receipt of an erasure was written: %s", error.strerror)
    return ErasureResult(erased, places, receipt)


def erase_person_offline(
    store: EventStore, settings: Settings, root: Path, profile: str
) -> ErasureResult:
    """Erase a profile by the command line; return the result in each place.

    As ``erase_person``, with two differences. The list of erased people is exported for ``ingest``;
    a running endpoint reads it from the event store. And the pipeline's tables are changed at once:
    the caller blocks trainings (``file_erasure.no_training``) and stages that are run by hand
    (``data.engine.tables_of_one_command``), which would write the rows again.

    Raises:
        StoreError: the database failed; erase again.
        OSError: the receipt cannot be written.
    """
    erased = erase(store, profile)
    export_erasures(store.database, root)
    places = [
        *places_of(store.database, erased),
        *erase_exports(settings, root, erased.user_ids),
        *erase_tables(settings, root, erased.user_ids),
        *shops_files(settings),
    ]
    receipt = write_receipt(root, store.database.profile_hash(profile), places)
    return ErasureResult(erased, places, receipt)
