"""Hyper-parameter search on the validation window: ``bowerbird tune MODEL``.

In: ``data/prepared``, ``models/vectors``. Out: ``var/search/<model>``: ``best.yaml`` (to paste into
params.yaml), ``trials.csv`` and ``trials.png``. The test window is never read.

Optuna (Akiba et al., KDD 2019) proposes values by tree-structured Parzen estimators. A trial is
evaluated by NDCG@10 on growing samples of users, and pruned where it is below the median of earlier
trials. Every finished trial is in the study's database: an interrupted search is continued, and
with a PostgreSQL URL any number of processes share one (``flows.tuning`` starts them).
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
import scipy.sparse as sp
import sqlalchemy as sa
import yaml
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from components.arrays import DoubleArray, Int32Array
from components.data.dataset import Prepared, load_prepared
from components.data.holdout import Task, window_task
from components.recommenders.factory import MODELS, build
from components.recommenders.search_space import INTEGER, LOG_FLOAT, LOG_INTEGER
from components.settings import Settings

mpl.use("Agg")
import matplotlib.pyplot as plt

# Heartbeats and the multivariate sampler, both years old, are called experimental.
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

Metric: TypeAlias = Callable[[Int32Array, sp.csr_matrix], DoubleArray]
"""(lists int32 (users, 10), targets CSR (users, items)) → one value a user."""

REPORTS = Path("var/search")
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HEARTBEAT = 10
"""Seconds between a trial's signs of life."""
SILENT = 6 * HEARTBEAT
"""Seconds without one after which a trial's process is dead, and the trial is tried again."""
SEEDS = 10_007
"""Between the samplers of two workers: more than a search has trials."""


def spaces() -> dict[str, dict[str, Any]]:
    """Return what is searched of each model (see ``search_space``), by name."""
    return {name: model.search_space for name, model in MODELS.items() if model.search_space}


def suggest(trial: optuna.Trial, space: dict[str, Any]) -> dict[str, Any]:
    """Return values for all of ``space``."""
    found: dict[str, Any] = {}
    for name, one in space.items():
        if isinstance(one, list):
            found[name] = trial.suggest_categorical(name, one)
        else:
            kind, low, high = one
            draw = trial.suggest_int if kind in (INTEGER, LOG_INTEGER) else trial.suggest_float
            found[name] = draw(name, low, high, log=kind in (LOG_FLOAT, LOG_INTEGER))
    return found


def inside(value: Any, one: Any) -> bool:
    """Return whether a search may propose ``value``."""
    return value in one if isinstance(one, list) else one[1] <= value <= one[2]


def sample(prepared: Prepared, task: Task, share: float, seed: int) -> tuple[Prepared, Task]:
    """Return the interactions and the task of a share of the users; samples are nested."""
    n = prepared.interactions.n_users
    order = np.random.default_rng(seed).permutation(n)
    chosen = np.zeros(n, dtype=bool)
    chosen[order[: max(1, round(share * n))]] = True
    rows = np.flatnonzero(chosen[task.users])
    kept = prepared.interactions.where(chosen[prepared.interactions.users])
    return (
        replace(prepared, interactions=kept),
        Task(task.users[rows], task.histories.pick(rows), task.targets[rows]),
    )


class Objective:
    """The mean of a metric on the validation window, after each of ``search.user_shares``."""

    def __init__(
        self, model: str, settings: Settings, prepared: Prepared, root: Path, metric: Metric
    ) -> None:
        self.model, self.settings, self.root, self.metric = model, settings, root, metric
        exclude = settings.train.exclude_seen
        task = window_task(prepared, "validation", exclude)
        x = prepared.interactions
        before = replace(prepared, interactions=x.where(x.times < prepared.validation_start))
        self.rungs = [
            sample(before, task, share, settings.seed) for share in settings.search.user_shares
        ]

    def __call__(self, trial: optuna.Trial) -> float:
        values = suggest(trial, spaces()[self.model])
        section = self.settings.train.section(self.model).model_copy(update=values)
        train = self.settings.train.model_copy(update={self.model: section})
        settings = self.settings.model_copy(update={"train": train})
        value = 0.0
        for rung, (prepared, task) in enumerate(self.rungs):
            fitted = build(self.model, settings, self.root).fit(
                prepared.interactions, prepared.catalogue
            )
            ids, _ = fitted.recommend(task.histories, 10, exclude_seen=train.exclude_seen)
            found = self.metric(ids, task.targets)
            value = float(found.mean()) if len(found) else 0.0
            trial.report(value, rung)
            if rung < len(self.rungs) - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return value


def open_storage(url: str, root: Path) -> RDBStorage:
    """Return the studies' database; a relative SQLite file lies below ``root``.

    Raises:
        ValueError: the URL is no SQLite or PostgreSQL URL.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ValueError("search.storage is no database URL") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        file = root / parsed.database
        file.parent.mkdir(parents=True, exist_ok=True)
        parsed = parsed.set(database=str(file))
    elif backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    else:
        raise ValueError(f"search.storage names {backend}: use sqlite:///file or postgresql://")
    return RDBStorage(
        parsed.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": {"timeout": 60}} if backend == "sqlite" else None,
        heartbeat_interval=HEARTBEAT,
        grace_period=SILENT,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
    )


def study_name(model: str, settings: Settings, root: Path) -> str:
    """Return a name that changes with the data, the protocol and the space."""
    digest = hashlib.blake2b(digest_size=6)
    protocol = (settings.seed, settings.search.user_shares, settings.train.exclude_seen)
    digest.update(repr((protocol, spaces()[model])).encode())
    files = [*sorted((root / "data/prepared").iterdir()), root / "models/vectors/items.npy"]
    for file in filter(Path.exists, files):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return f"{model}-{digest.hexdigest()}"


def check_shareable(model: str, settings: Settings) -> None:
    """Check that several processes can search a model together.

    Raises:
        ValueError: the model has nothing to search, or the studies are in a file.
    """
    _space(model)
    if settings.search.storage.get_secret_value().startswith("sqlite"):
        raise ValueError(
            "search.storage is a file, which several workers cannot share: set "
            "BOWERBIRD_SEARCH__STORAGE to a PostgreSQL URL"
        )


def _space(model: str) -> dict[str, Any]:
    space = spaces().get(model)
    if space is None:
        raise ValueError(f"{model} has nothing to search; there are: {', '.join(spaces())}")
    return space


def open_study(
    model: str, settings: Settings, root: Path, worker: int = 0, expected: str | None = None
) -> optuna.Study:
    """Return the study of a model on the present data, with the present settings as first trial.

    worker: number of this process among those that share the study, each with a sampler of its own.
    expected: the study's name, where it is to be one that others work on.

    Raises:
        ValueError: the model has nothing to search, the storage's URL is wrong, or the study is
            another one than expected.
        FileNotFoundError: the data are not prepared.
    """
    space = _space(model)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = study_name(model, settings, root)
    if expected is not None and name != expected:
        raise ValueError(
            f"the search {expected} is not of the data and settings of {root.resolve()}: they "
            "changed since it began, or are not those of its first process; start it again"
        )
    storage = open_storage(settings.search.storage.get_secret_value(), root)
    before = 0
    if name in optuna.get_all_study_names(storage):
        before = len(optuna.load_study(study_name=name, storage=storage).trials)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        # Another seed after a resumption, or it would propose the same again; of several workers
        # each counts the running trials of the others as bad, not to propose the same.
        sampler=optuna.samplers.TPESampler(
            seed=(settings.seed + before + SEEDS * worker) % 2**32,  # NumPy's largest
            multivariate=True,
            constant_liar=worker > 0,
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    # Begin with the present settings, as far as they lie in the search space.
    section = settings.train.section(model)
    now = {key: getattr(section, key) for key in space}
    known = {key: value for key, value in now.items() if inside(value, space[key])}
    study.enqueue_trial(known, skip_if_exists=True)
    return study


def n_finished(study: optuna.Study) -> int:
    """Return the number of trials that ended by themselves."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def tune(
    model: str,
    settings: Settings,
    root: Path,
    trials: int,
    timeout: float | None = None,
    *,
    metric: Metric,
    worker: int = 0,
    expected: str | None = None,
) -> optuna.Study:
    """Search until ``trials`` are finished, those of earlier runs included, or ``timeout`` passed.

    timeout: seconds. metric: NDCG@10 (``evaluation.metrics.ndcg``), which the caller passes since
    recommenders do not know the evaluation. worker, expected: as in ``open_study``; of several
    workers that end at once each may finish one trial more. The first trial is what params.yaml has
    now. Writes the report, unless it is a worker above 0.

    Raises:
        ValueError: as ``open_study``.
        FileNotFoundError: the data are not prepared.
    """
    study = open_study(model, settings, root, worker, expected)
    if n_finished(study) < trials:
        vectors = root / "models/vectors"
        prepared = load_prepared(root / "data/prepared", vectors if vectors.exists() else None)
        study.optimize(
            Objective(model, settings, prepared, root, metric),
            timeout=timeout,
            callbacks=[_say, optuna.study.MaxTrialsCallback(trials, states=FINISHED)],
        )
    if not worker:
        write_report(study, model, root / REPORTS / model)
    return study


def fail_dead_trials(study: optuna.Study) -> None:
    """Mark the trials of killed processes as failed, once they are known to be dead: for each one
    another trial with its values waits for the next search.

    One that was killed in the milliseconds before its first heartbeat stays as running.
    """
    latest = time.monotonic() + SILENT + HEARTBEAT
    while study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        optuna.storages.fail_stale_trials(study)
        if time.monotonic() > latest:  # those of a search elsewhere
            return
        time.sleep(1)


def _say(study: optuna.Study, trial: FrozenTrial) -> None:
    values = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.params.items()
    )
    value = f"{trial.value:.4f}" if trial.value is not None else "   -  "
    print(f"{trial.number:>4}  {value}  {trial.state.name.lower():<9} {values}", flush=True)


def snippet(study: optuna.Study, model: str) -> str:
    """Return the best values as params.yaml spells them."""
    values = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in study.best_params.items()
    }
    return yaml.safe_dump({"train": {model: values}}, sort_keys=False)


def write_report(study: optuna.Study, model: str, folder: Path) -> None:
    """Write best.yaml, trials.csv and trials.png; without a complete trial only the table."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = study.get_trials(deepcopy=False)
    table = pd.DataFrame(
        [
            {
                "trial": one.number,
                "state": one.state.name.lower(),
                "ndcg@10": one.value if one.state is TrialState.COMPLETE else None,
                "seconds": one.duration.total_seconds() if one.duration else None,
                **{f"after rung {step}": value for step, value in one.intermediate_values.items()},
                **one.params,
            }
            for one in trials
        ]
    )
    table.to_csv(folder / "trials.csv", index=False)
    done = table[table["state"] == "complete"] if len(table) else table
    if done.empty:
        return
    (folder / "best.yaml").write_text(snippet(study, model), encoding="utf-8")
    names = list(spaces()[model])
    figure, axes = plt.subplots(
        1, 1 + len(names), figsize=(3 + 2.4 * len(names), 3), sharey=True, squeeze=False
    )
    axes[0, 0].plot(done["trial"], done["ndcg@10"], ".", color="#3b6ea5")
    axes[0, 0].plot(done["trial"], done["ndcg@10"].cummax(), color="#c0504d")
    axes[0, 0].set(xlabel="trial", ylabel="NDCG@10 on validation")
    for axis, name in zip(axes[0, 1:], names, strict=True):
        axis.plot(done[name], done["ndcg@10"], ".", color="#3b6ea5")
        axis.set_xlabel(name)
        if spaces()[model][name][0] in (LOG_FLOAT, LOG_INTEGER):
            axis.set_xscale("log")
    figure.savefig(folder / "trials.png", dpi=110, bbox_inches="tight")
    plt.close(figure)
