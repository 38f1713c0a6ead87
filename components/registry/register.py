"""The stage ``register``: the fitted models become a version, compared with the champion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from components.data.dataset import Prepared, load_prepared
from components.evaluation.compare import Comparison, SeenEvents
from components.notifications import deliver
from components.permissions import close_tree
from components.registry.artifacts import commit, log_version
from components.registry.folders import SERVING, assemble, folder_digest, is_whole, put_in_place
from components.registry.model_card import comparison_section, model_card
from components.registry.promotion import TRAINING, promote_if_better, remove_unused
from components.registry.versions import CHALLENGER, CHAMPION, Registry, reachable
from components.settings import Settings
from components.timeline import record


def run(settings: Settings, root: Path) -> None:
    """Register the models below ``root``; write reports/registration.json.

    A model that is already registered is not registered again. A better model is promoted.

    Raises:
        RegistryError: MLflow cannot be reached.
        ManifestError: a model folder is damaged.
    """
    try:
        with reachable():
            _register(settings, root)
    finally:
        deliver(root, settings)


def _register(settings: Settings, root: Path) -> None:
    registry = Registry(settings, root)
    prepared = load_prepared(root / "data/prepared")
    evaluation = json.loads((root / "reports/evaluation.json").read_text())
    facts = {
        "data_version": folder_digest(root / "data/prepared"),
        "digest": folder_digest(root / "models/served"),
        "commit": commit(root),
        "ratio": evaluation["hybrid_to_best_single"],
    }
    table = pd.read_csv(root / "reports/evaluation.csv")
    card = model_card(settings, prepared, table, facts)
    with registry.lock():
        version = _place(registry, card, facts)
        comparison, not_compared = _promote_or_challenge(registry, version, prepared)
        found = not_compared if comparison is None else comparison_section(comparison.as_dict())
        if found:
            description = f"{card}\n\n## Compared with the champion\n\n{found}\n"
            registry.client.update_model_version(registry.name, version, description)
        remove_unused(registry)
        for folder in (root / SERVING, root / settings.register_.artifacts):
            if folder.is_dir():
                close_tree(folder)
    alias = next((a for a in (CHAMPION, CHALLENGER) if registry.alias(a) == version), "")
    run_id = next(one.run_id for one in registry.versions() if one.version == version)
    registration = {
        "version": version,
        "alias": alias,
        "run_id": run_id,
        "data_version": facts["data_version"],
        "comparison": comparison and comparison.as_dict(),
        "not_compared": not_compared,
    }
    (root / "reports/registration.json").write_text(json.dumps(registration, indent=2))
    print(f"version {version}: {alias or 'neither champion nor challenger'}")


def _place(registry: Registry, card: str, facts: dict[str, Any]) -> str:
    """Return the version of the models, logged in MLflow, with its files in place."""
    folders = registry.folders
    version = registry.find(facts["digest"])
    if version is None or not is_whole(folders.served(version)):
        new = folders.new()
        assemble(registry.settings, registry.root, card, new)
        version = version or log_version(registry, new, card, facts)
        folders.place_evaluated(version)
        put_in_place(new, folders.served(version))
    folders.place_profiles(version)
    return version


def _promote_or_challenge(
    registry: Registry, version: str, prepared: Prepared
) -> tuple[Comparison | None, str | None]:
    """Make ``version`` champion or challenger; return the comparison, and why there is none.

    A version that cannot be compared becomes the challenger.
    """
    try:
        return promote_if_better(registry, version, prepared), None
    except SeenEvents as error:
        registry.set_alias(CHALLENGER, version)
        reason = f"not compared, so not promoted: {error}"
        print(reason)
        text = f"version {version}: {reason}"
        record(registry.root, "refusal", text, TRAINING, {"version": version})
        return None, reason
