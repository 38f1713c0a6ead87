"""The served twin of the evaluated model, fitted on all data: the stage ``refit``.

In: ``models/hybrid``, ``data/prepared``, ``models/vectors``. Out: ``models/served``.

A recipe has two twins. The *judged* twin (``models/hybrid``) learned from what lies before the test
window, so the test window can judge it. It knows nothing of the newest weeks, therefore it is not
served. The *served* twin has the same settings and the same ranker, over candidates and item
statistics that are fitted on all data. Nothing held out is left to judge it by: its figures are
those of the judged twin.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from components.data.dataset import load_prepared
from components.manifest import write_manifest
from components.recommenders.train import fit_candidates, served
from components.recommenders.two_stage.hybrid import Hybrid, load_candidates
from components.settings import Settings


def run(settings: Settings, root: Path) -> None:
    """The stage ``refit``: models/hybrid and data/prepared → models/served."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    judged = Hybrid.load(root / "models/hybrid")
    names = list(judged.candidates)
    folder = root / "models/.refit/all"
    # A killed run goes on with the candidates that it had finished.
    fit_candidates(
        settings, root, prepared, prepared.end, names, served(settings, root, prepared), folder
    )
    model = Hybrid(
        judged.settings,
        load_candidates(folder, names),
        ranker=judged.ranker,
        seed=judged.seed,
        weights=judged.weights,
    ).fit(prepared.interactions, prepared.catalogue)

    partial, out = root / "models/.served", root / "models/served"
    shutil.rmtree(partial, ignore_errors=True)
    model.save(partial)
    write_manifest(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    shutil.rmtree(folder.parent)
