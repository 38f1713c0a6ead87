"""Registers a shop's models, and changes them so that they become another version."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np

from components import registry
from components.credentials import Credential
from components.manifest import write_manifest
from components.settings import Settings


def register(shop: tuple[Path, Settings]) -> dict:
    """Run the stage ``register`` and return what it reports."""
    registry.run(shop[1], shop[0])
    return json.loads((shop[0] / "reports/registration.json").read_text())


def stored_at(settings: Settings, artifacts: Path, uri: str | None = None) -> Settings:
    """Return the settings with another place of MLflow's artifacts and another database."""
    values: dict[str, object] = {"artifacts": artifacts}
    if uri is not None:
        values["tracking_uri"] = Credential(uri)
    section = settings.register_.model_copy(update=values)
    return settings.model_copy(update={"register_": section})


def spoil(root: Path) -> None:
    """Put a ranker of one constant tree into both models: lists in the order of item codes."""
    booster = lgb.Booster(model_file=root / "models/hybrid/ranker.txt")
    n = booster.num_feature()
    data = lgb.Dataset(np.zeros((50, n)), np.zeros(50), feature_name=booster.feature_name())
    constant = lgb.train({"verbosity": -1}, data, 1)
    for name in ("hybrid", "served"):
        constant.save_model(root / "models" / name / "ranker.txt")
        write_manifest(root / "models" / name)


def change_served_model(root: Path) -> None:
    """Change the served model; the evaluated model stays."""
    file = root / "models/served/model.json"
    file.write_text(file.read_text() + " ")
    write_manifest(root / "models/served")
