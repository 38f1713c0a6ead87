"""The ranker over the candidates, and the hybrid made of them: the stage ``rank``.

In: ``models/candidates/{validation,test}`` (the fitted candidates), ``data/prepared``,
``models/vectors``. Out: ``models/hybrid``, the model folder that is evaluated (``refit`` makes the
served one), and ``models/profiles``, the histories of all users.

The ranker is fitted on the validation window with candidates fitted before that window, and is then
used with candidates fitted before the test window.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from components.data.dataset import load_prepared
from components.data.holdout import window_task
from components.data.profiles import PROFILES, write_profiles
from components.manifest import write_manifest
from components.recommenders.shelves.statistics import FOLDER as SHELVES
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.blending import fit_weights
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


def run(settings: Settings, root: Path) -> None:
    """The stage ``rank``: models/candidates → models/hybrid and models/profiles."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    interactions, catalogue = prepared.interactions, prepared.catalogue
    names, exclude = settings.train.names, settings.train.exclude_seen
    folder = root / CANDIDATES

    earlier = interactions.where(interactions.times < prepared.validation_start)
    validation = load_candidates(folder / "validation", names)
    learner = Hybrid(settings.rank, validation, seed=settings.seed).fit(earlier, catalogue)
    task = window_task(prepared, "validation", exclude)
    learner.fit_ranker(task.histories, task.targets, exclude)
    weights = fit_weights(validation, task.histories, task.targets, exclude)

    until_test = interactions.where(interactions.times < prepared.test_start)
    model = Hybrid(
        settings.rank,
        load_candidates(folder / "test", names),
        ranker=learner.ranker,
        seed=settings.seed,
        weights=weights,
        ranked_attributes=learner.attributes,
    ).fit(until_test, catalogue)

    write_profiles(prepared, root / PROFILES)
    shelves = ShelfStatistics.of_prepared(prepared, prepared.test_start)
    replace_model(model, shelves, root / "models/hybrid")


def replace_model(model: Hybrid, shelves: ShelfStatistics, folder: Path) -> None:
    """Write the model folder; a killed run leaves the one before as it was."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    model.save(partial)
    shelves.save(partial / SHELVES)
    write_manifest(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
