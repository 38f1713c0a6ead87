"""The candidate models, fitted twice: the stage ``train``.

In: ``data/prepared``, ``models/vectors``, and ``data/impressions`` for models that learn from
logged feedback. Out: ``models/candidates/{validation,test}/<name>``, each fitted on the data before
that window, and ``training.json`` with the seconds each took. A model that an interrupted run
finished, from the same data and settings, is not fitted again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.data.dataset import Interactions, Prepared, load_prepared
from components.data.impressions import VALID_INTERACTIONS, Log, load_log
from components.language.augmentation import purchases
from components.recommenders.base import (
    KeepsCheckpoint,
    NeedsLoggedFeedback,
    ReadsFiles,
    Recommender,
    TooLittleFeedback,
)
from components.recommenders.factory import build, load_model, load_models, needs_log
from components.settings import Settings

IMPRESSIONS = "data/impressions"


def _fingerprint(settings: Settings, name: str, root: Path) -> str:
    """Return a digest of everything the model ``name`` is made from."""
    digest = hashlib.blake2b(f"{settings.seed} {settings.train.section(name)!r}".encode())
    digest.update(repr(settings.augment).encode())
    files = [*sorted((root / "data/prepared").iterdir()), root / "models/vectors/items.npy"]
    model = build(name, settings, root)
    if isinstance(model, ReadsFiles):
        files += model.input_files(root)
    if isinstance(model, NeedsLoggedFeedback):
        digest.update(_fingerprint(settings, model.base_name(), root).encode())
        files += [*sorted((root / IMPRESSIONS).rglob("*.parquet")), root / VALID_INTERACTIONS]
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def usable_logs(settings: Settings, root: Path, prepared: Prepared) -> dict[str, Log]:
    """Return the served lists for each candidate that learns from them.

    A candidate with too few of them is left out, and a line says why.
    """
    logs = {}
    for name in filter(needs_log, settings.train.candidates):
        model = build(name, settings, root)
        assert isinstance(model, NeedsLoggedFeedback)
        files = root / IMPRESSIONS, root / VALID_INTERACTIONS
        log = load_log(*files, prepared, model.event_rewards())
        try:
            model.check_log(log.before(prepared.validation_start))
        except TooLittleFeedback as error:
            print(f"{error} (before the validation window). It is left out.")
        else:
            logs[name] = log
    return logs


def fit_candidates(
    settings: Settings,
    root: Path,
    prepared: Prepared,
    until: int,
    names: Sequence[str],
    logs: Mapping[str, Log],
    out: Path,
) -> dict[str, float]:
    """Fit the models ``names`` on everything before ``until`` and save each to ``out/<name>``.

    until: seconds since 1970. logs: see ``usable_logs``. A model that is in ``out`` already, made
    from the same data and settings, is not fitted again. Returns the seconds that each took.
    """
    before = prepared.interactions.where(prepared.interactions.times < until)
    if settings.augment.purchases:
        before, made = purchases(before, prepared.catalogue, settings.augment, settings.seed)
        print(f"{out.name:<11}{len(made):,} generated purchases are added to the training data")
    seconds: dict[str, float] = {}
    for name in names:
        folder, mark = out / name, _fingerprint(settings, name, root)
        done = folder / "fitted.json"
        if not done.exists() or json.loads(done.read_text())["fingerprint"] != mark:
            shutil.rmtree(folder, ignore_errors=True)
            log = logs[name].before(until) if name in logs else None
            taken = _fit(build(name, settings, root), before, prepared, log, folder)
            done.write_text(json.dumps({"fingerprint": mark, "seconds": taken}))
        seconds[name] = json.loads(done.read_text())["seconds"]
        print(f"{out.name:<11}{name:<22}{seconds[name]:>8.1f} s")
    return seconds


def _fit(
    model: Recommender, train: Interactions, prepared: Prepared, log: Log | None, folder: Path
) -> float:
    """Fit a model, save it to ``folder`` and return the seconds it took."""
    began = time.perf_counter()
    if isinstance(model, NeedsLoggedFeedback):
        model.start_from(load_model(folder.with_name(model.base_name())), log)
    if isinstance(model, KeepsCheckpoint):
        model.keep_checkpoint(folder.with_name(f"{folder.name}.safetensors"))
    model.fit(train, prepared.catalogue).save(folder)
    return round(time.perf_counter() - began, 2)


def load_candidates(folder: str | Path, names: Sequence[str]) -> dict[str, Recommender]:
    """Return the fitted candidates of ``folder`` by name, in the order of ``names``.

    A candidate that had too little logged feedback was left out in training, and is here.
    """
    there = [name for name in names if not needs_log(name) or (Path(folder) / name).exists()]
    return load_models(folder, there)


def run(settings: Settings, root: Path) -> None:
    """The stage ``train``: data/prepared and models/vectors → models/candidates."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    partial, out = root / "models/.candidates", root / "models/candidates"
    logs = usable_logs(settings, root, prepared)
    names = [name for name in settings.train.candidates if name in logs or not needs_log(name)]
    windows = {"validation": prepared.validation_start, "test": prepared.test_start}
    seconds = {
        window: fit_candidates(settings, root, prepared, until, names, logs, partial / window)
        for window, until in windows.items()
    }
    (partial / "training.json").write_text(json.dumps(seconds, indent=2))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
