"""Training, refresh, comparison and drift check in a week, by the platform's own functions.

Each depends only on the week (a refresh also on the model, a comparison on both models), so all
strategies share the records.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.replay.shop import SeesTheFuture, Shop
from benchmarks.replay.work import Record
from components.data.dataset import Catalogue, Prepared
from components.evaluation.compare import compare
from components.recommenders import inputs, rank, refit
from components.recommenders.base import refreshed as refreshed_candidate
from components.recommenders.factory import load_model
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.refresh import refresh
from components.recommenders.train import CANDIDATES, fit_candidate, window_ends
from components.recommenders.two_stage.hybrid import Hybrid
from monitoring import reference
from monitoring.detection import detect
from monitoring.features import by_shop_ids
from monitoring.run import should_retrain

SHARED = Sequential.name
"""The candidate that costs most: fitted once for each moment at which its data end, by the first
training that needs it. The next two trainings have it for their earlier windows."""
JUDGED, SERVED = "models/hybrid", "models/served"


def train(shop: Shop, week: int) -> Record:
    """Train at the start of ``week``: JUDGED and SERVED of the week's folder."""
    data = shop.tables(week)["cpu"]
    shared = 0.0
    if SHARED in shop.settings.train.names:
        shared = sum(_fit_shared(shop, week, window) for window in window_ends(shop.prepared(week)))
    record = shop.work.once(f"weeks/{week:02}/trained", lambda: _train(shop, week))
    return {**record, "cpu": record["cpu"] + shared + data}


def _train(shop: Shop, week: int) -> Record:
    settings, root, prepared = shop.settings, shop.root(week), shop.prepared(week)
    with contextlib.redirect_stdout(io.StringIO()):
        inputs.run(settings, root)
        for window in window_ends(prepared):
            for name in settings.train.names:
                if name == SHARED:
                    _place_shared(shop, week, window)
                else:
                    fit_candidate(settings, root, prepared, name, window)
        rank.run(settings, root)
        refit.run(settings, root)
    shutil.rmtree(root / CANDIDATES)
    return {}


def _shared_name(shop: Shop, week: int, window: str) -> str:
    return f"shared/{SHARED}-{window_ends(shop.prepared(week))[window]}"


def _fit_shared(shop: Shop, week: int, window: str) -> float:
    """Fit SHARED for the window if there is none with the same end; return processor seconds."""
    name = _shared_name(shop, week, window)
    folder, prepared = shop.work.folder / name, shop.prepared(week)

    def make() -> Record:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.redirect_stdout(io.StringIO()):
            fit_candidate(shop.settings, shop.root(week), prepared, SHARED, window)
        shutil.move(shop.root(week) / CANDIDATES / window / SHARED, folder)
        (folder / "items.json").write_text(json.dumps(prepared.catalogue.ids.tolist()))
        return {"week": week}

    return float(shop.work.once(name, make)["cpu"])


def _place_shared(shop: Shop, week: int, window: str) -> None:
    """Write SHARED of the window, for the week's catalogue, where ``rank`` reads it.

    Raises:
        SeesTheFuture: it was fitted on products that the catalogue does not have yet.
    """
    folder, prepared = shop.work.folder / _shared_name(shop, week, window), shop.prepared(week)
    fitted = pd.Index(json.loads((folder / "items.json").read_text()))
    if not fitted.isin(prepared.catalogue.ids).all():
        raise SeesTheFuture(f"{folder} was fitted on products of a week after {week}")
    known = fitted.get_indexer(prepared.catalogue.ids)  # -1 is MISSING
    model = refreshed_candidate(
        load_model(folder), prepared.interactions, prepared.catalogue, known
    )
    model.save(shop.root(week) / CANDIDATES / window / SHARED)


def of_rows(catalogue: Catalogue, rows: np.ndarray) -> Catalogue:
    """Return the catalogue of the rows (int), in that order."""
    vectors = catalogue.vectors
    return Catalogue(
        catalogue.table.iloc[rows].reset_index(drop=True),
        None if vectors is None else np.asarray(vectors)[rows],
    )


def model_of(shop: Shop, trained: int, kind: str) -> Hybrid:
    """Return JUDGED or SERVED of the training of a week."""
    return Hybrid.load(shop.root(trained) / kind)


def refreshed(shop: Shop, trained: int, week: int) -> Hybrid:
    """Return the served model of a training, refreshed with all data before ``week``."""
    prepared, model = shop.prepared(week), model_of(shop, trained, SERVED)
    with contextlib.redirect_stdout(io.StringIO()):
        return refresh(model, prepared.interactions, prepared.catalogue)


def promotion(shop: Shop, week: int, champion: int, baseline: int | None) -> Record:
    """Return the comparison of the training of ``week`` with those of earlier weeks."""

    def make() -> Record:
        folders = {one: shop.root(one) / JUDGED for one in (champion, week)}
        before = None if baseline is None else shop.root(baseline) / JUDGED
        found = compare(
            folders[champion], folders[week], shop.prepared(week), shop.settings, before
        )
        return found.as_dict()

    return shop.work.once(f"weeks/{week:02}/compared-{champion}-{baseline}", make)


def watch(shop: Shop, trained: int) -> Record:
    """Make the reference of the training of a week, which later weeks are compared with."""

    def make() -> Record:
        with contextlib.redirect_stdout(io.StringIO()):
            reference.run(shop.settings, _without_model(shop.root(trained)))
        return {}

    return shop.work.once(f"weeks/{trained:02}/reference", make)


def drift(shop: Shop, week: int, trained: int) -> Record:
    """Return the verdict on the events of the week before ``week``.

    trained: week of the last training, whose reference is used.
    """

    def make() -> Record:
        window = by_shop_ids(newest_week(shop.prepared(week), shop.begins(week - 1)))
        verdict = detect(window, _without_model(shop.root(trained)) / "models/reference")
        return {
            "drifted": should_retrain(verdict),
            "reasons": verdict.reasons,
            "rows": verdict.rows,
        }

    return shop.work.once(f"weeks/{week:02}/drift-{trained:02}", make)


def _without_model(root: Path) -> Path:
    """Return a folder with the tables of ``root`` and no model: scores do not decide on drift."""
    folder = root / "watch"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name in ("data", "models/vectors"):
        if not (folder / name).exists():
            (folder / name).symlink_to((root / name).resolve())
    return folder


def newest_week(prepared: Prepared, since: int) -> Prepared:
    """Return the tables with the interactions since a moment only."""
    x = prepared.interactions
    return replace(prepared, interactions=x.where(x.times >= since))
