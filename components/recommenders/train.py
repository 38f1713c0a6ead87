"""The candidate models, fitted twice: the stage ``train``.

In: ``data/prepared``, ``models/vectors``, and ``data/impressions`` for ``policy``. Out:
``models/candidates/{validation,test}/<name>``, each fitted on what lies before that window, and
``training.json`` with the seconds each took. A model that a killed run had finished, from the same
data and settings, is not fitted again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

from components.data.dataset import Prepared, load_prepared
from components.data.impressions import VALID_INTERACTIONS, Log, load_log
from components.language.augmentation import purchases
from components.recommenders.factory import build, load_model
from components.recommenders.models.off_policy.model import NoLog, Policy, usable
from components.recommenders.models.rules import Knowledge
from components.recommenders.models.sasrec.model import Sequential
from components.settings import Settings

IMPRESSIONS = "data/impressions"


def _fingerprint(settings: Settings, name: str, root: Path) -> str:
    """Return a digest of everything the model ``name`` is made from."""
    digest = hashlib.blake2b(f"{settings.seed} {getattr(settings.train, name)!r}".encode())
    digest.update(repr(settings.augment).encode())
    files = [*sorted((root / "data/prepared").iterdir()), root / "models/vectors/items.npy"]
    if name == Knowledge.name:
        files.append(root / settings.train.knowledge.rules)
    if name == Policy.name:
        base = settings.train.policy.base
        digest.update(_fingerprint(settings, base, root).encode())
        files += [*sorted((root / IMPRESSIONS).rglob("*.parquet")), root / VALID_INTERACTIONS]
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()


def served(settings: Settings, root: Path, prepared: Prepared) -> Log | None:
    """Return the log that ``policy`` learns from; None, and say why, where it cannot."""
    if Policy.name not in settings.train.candidates:
        return None
    section = settings.train.policy
    log = load_log(root / IMPRESSIONS, root / VALID_INTERACTIONS, prepared, section.rewards)
    try:
        usable(log.before(prepared.validation_start), section)
    except NoLog as why:
        print(f"{why} (before the validation window). It is left out.")
        return None
    return log


def fit_candidates(
    settings: Settings,
    root: Path,
    prepared: Prepared,
    until: int,
    names: list[str],
    log: Log | None,
    out: Path,
) -> dict[str, float]:
    """Fit the models ``names`` on everything before ``until`` and save each to ``out/<name>``.

    until: seconds since 1970. log: what ``policy`` learns from, None if it is not among the names.
    A model that is in ``out`` already, made from the same data and settings, is not fitted again.
    Returns the seconds that each took.
    """
    before = prepared.interactions.where(prepared.interactions.times < until)
    if settings.augment.purchases:
        before, made = purchases(before, prepared.catalogue, settings.augment, settings.seed)
        print(f"{out.name:<11}{len(made):,} made-up purchases are learned from")
    seconds: dict[str, float] = {}
    for name in names:
        folder, mark = out / name, _fingerprint(settings, name, root)
        done = folder / "fitted.json"
        if not done.exists() or json.loads(done.read_text())["fingerprint"] != mark:
            shutil.rmtree(folder, ignore_errors=True)
            began = time.perf_counter()
            model = build(name, settings, root)
            if isinstance(model, Policy):
                assert log is not None
                model.base = load_model(out / settings.train.policy.base)
                model.log = log.before(until)
            if isinstance(model, Sequential):  # the longest fit: its epochs are kept
                model.checkpoint = out / "sequential.safetensors"
            model.fit(before, prepared.catalogue).save(folder)
            taken = round(time.perf_counter() - began, 2)
            done.write_text(json.dumps({"fingerprint": mark, "seconds": taken}))
        seconds[name] = json.loads(done.read_text())["seconds"]
        print(f"{out.name:<11}{name:<22}{seconds[name]:>8.1f} s")
    return seconds


def run(settings: Settings, root: Path) -> None:
    """The stage ``train``: data/prepared and models/vectors → models/candidates."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    partial, out = root / "models/.candidates", root / "models/candidates"
    log = served(settings, root, prepared)
    names = [one for one in settings.train.candidates if one != Policy.name or log is not None]
    windows = {"validation": prepared.validation_start, "test": prepared.test_start}
    seconds = {
        window: fit_candidates(settings, root, prepared, until, names, log, partial / window)
        for window, until in windows.items()
    }
    (partial / "training.json").write_text(json.dumps(seconds, indent=2))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
