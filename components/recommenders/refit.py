"""The served model, fitted on all data: the stage ``refit``.

In: ``models/hybrid``, ``models/candidates/all``, ``data/prepared``, ``models/vectors``. Out:
``models/served``.

The evaluated model (``models/hybrid``) was fitted on the data before the test window, so that the
test window can evaluate it. It does not know the newest weeks, so it is not served. The served
model has the same settings and the same ranker, with candidates and item statistics fitted on all
data.
No held-out data are left to evaluate it: its metrics are those of the evaluated model.
"""

from __future__ import annotations

from pathlib import Path

from components.data.dataset import load_prepared
from components.recommenders.rank import replace_model
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


def run(settings: Settings, root: Path) -> None:
    """The stage ``refit``: models/hybrid and models/candidates/all → models/served."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    evaluated = Hybrid.load(root / "models/hybrid")
    model = Hybrid(
        evaluated.settings,
        load_candidates(root / CANDIDATES / "all", list(evaluated.candidates)),
        ranker=evaluated.ranker,
        seed=evaluated.seed,
        weights=evaluated.weights,
        ranked_attributes=evaluated.attributes,
    ).fit(prepared.interactions, prepared.catalogue)
    replace_model(model, ShelfStatistics.of_prepared(prepared), root / "models/served")
