"""The candidate models, each fitted for three windows: the stages ``fit`` and ``fine_tune``.

In: ``data/prepared``, ``models/vectors``, ``data/inputs`` (see ``inputs``), and
``data/impressions`` with the valid interactions for models that learn from logged feedback. Out:
``models/candidates/<window>/<name>``:

- ``validation``: fitted on the data before the validation window; the ranker learns over these;
- ``test``: before the test window; these are evaluated;
- ``all``: on all data; these are served.

Each model and window is a stage of its own, so DVC fits again what changed and nothing else.

A model that ``trains_in_processes`` can be fitted in several:
``torchrun --nproc-per-node 2 -m bowerbird fit --model sequential --window all``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from components.data.dataset import Prepared, load_prepared
from components.data.held_days import load_held_days
from components.data.impressions import VALID_INTERACTIONS, load_log
from components.distributed import is_main_process, n_processes
from components.language.augmentation import purchases
from components.recommenders import inputs
from components.recommenders.base import (
    KeepsCheckpoint,
    NeedsLoggedFeedback,
    Recommender,
    TooLittleFeedback,
)
from components.recommenders.factory import build, load_model, load_models, needs_log
from components.settings import Settings

IMPRESSIONS = "data/impressions"
CANDIDATES = "models/candidates"
CHECKPOINTS = "models/checkpoints"
LEFT_OUT = "left_out.txt"
"""In the folder of a candidate that was left out: why."""


def window_ends(prepared: Prepared) -> dict[str, int]:
    """Return, for each window, the moment before which its candidates' data lie.

    Seconds since 1970.
    """
    return {
        "validation": prepared.validation_start,
        "test": prepared.test_start,
        "all": prepared.end,
    }


def fit(settings: Settings, root: Path, model: str, window: str) -> None:
    """The stages ``fit`` and ``fine_tune``: fit one candidate and save it.

    Raises:
        ValueError: there is no such model or window.
    """
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    fit_candidate(settings, root, prepared, model, window)


def fit_candidate(
    settings: Settings, root: Path, prepared: Prepared, name: str, window: str
) -> None:
    """Fit the candidate ``name`` on everything before the end of ``window`` and save it.

    A candidate with too little logged feedback before the validation window is left out: its folder
    holds the reason and no model.

    Raises:
        ValueError: there is no such model or window; or several processes were started, in which
            the model cannot be fitted.
    """
    ends = window_ends(prepared)
    if window not in ends:
        raise ValueError(f"there is no window {window!r}; there are: {', '.join(ends)}")
    model = build(name, settings, root / inputs.INPUTS / name)
    if n_processes() > 1 and not model.trains_in_processes:
        raise ValueError(
            f"{name} is fitted in one process: run it without torchrun, "
            f"`bowerbird fit --model {name} --window {window}`"
        )
    folder = root / CANDIDATES / window / name
    if is_main_process():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    began = time.perf_counter()
    if isinstance(model, NeedsLoggedFeedback):
        try:
            _start(model, root, prepared, ends[window], folder)
        except TooLittleFeedback as error:
            print(f"{error} (before the validation window). It is left out.")
            (folder / LEFT_OUT).write_text(f"{error}\n")
            return
    if isinstance(model, KeepsCheckpoint):
        model.keep_checkpoint(root / CHECKPOINTS / window / f"{name}.safetensors")
    train = prepared.interactions.where(prepared.interactions.times < ends[window])
    if settings.augment.purchases:
        train, made = purchases(train, prepared.catalogue, settings.augment, settings.seed)
        if is_main_process():
            print(f"{window:<11}{len(made):,} generated purchases are added to the training data")
    model.fit(train, prepared.catalogue)
    if is_main_process():
        model.save(folder)
        print(f"{window:<11}{name:<22}{time.perf_counter() - began:>8.1f} s")


def _start(
    model: NeedsLoggedFeedback, root: Path, prepared: Prepared, until: int, folder: Path
) -> None:
    """Give a model its base, fitted for the same window, and the log before ``until``.

    folder: of the model. Raises ``TooLittleFeedback``.
    """
    files = root / IMPRESSIONS, root / VALID_INTERACTIONS
    log = load_log(*files, prepared, model.event_rewards(), load_held_days(root))
    model.check_log(log.before(prepared.validation_start))
    base = load_model(folder.with_name(model.base_name()))
    model.start_from(base, log.before(until).without_placed())


def load_candidates(folder: str | Path, names: Sequence[str]) -> dict[str, Recommender]:
    """Return the fitted candidates of ``folder`` by name, in the order of ``names``.

    A candidate that had too little logged feedback was left out in training, and is here.
    """
    folder = Path(folder)
    there = [n for n in names if not needs_log(n) or (folder / n / "model.json").exists()]
    return load_models(folder, there)


def run(settings: Settings, root: Path) -> None:
    """Fit every candidate for every window, without DVC: data/prepared → models/candidates."""
    inputs.run(settings, root)
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    shutil.rmtree(root / CANDIDATES, ignore_errors=True)
    for window in window_ends(prepared):
        for name in settings.train.names:
            fit_candidate(settings, root, prepared, name, window)
