"""Recommenders by name: registration, construction with their settings, loading."""

from __future__ import annotations

import json
from pathlib import Path

from components.recommenders.base import Recommender
from components.recommenders.models.als import MatrixFactorisation, RatingFactorisation
from components.recommenders.models.cease import Collective
from components.recommenders.models.content import Content
from components.recommenders.models.ease import Linear
from components.recommenders.models.knn import ItemNeighbours, UserNeighbours
from components.recommenders.models.off_policy.model import Policy
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.rules import Knowledge, load_rules
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.models.tfidf import Words
from components.settings import Settings

MODELS: dict[str, type[Recommender]] = {
    model.name: model
    for model in (
        Popularity,
        ItemNeighbours,
        UserNeighbours,
        MatrixFactorisation,
        RatingFactorisation,
        Linear,
        Collective,
        Content,
        Words,
        Knowledge,
        Sequential,
        Policy,
    )
}
SEEDED = (MatrixFactorisation, RatingFactorisation, Sequential, Policy)


def build(name: str, settings: Settings, root: Path = Path()) -> Recommender:
    """Return the unfitted model ``name`` with its section of ``train``.

    Raises:
        RulesError: the rules file of ``knowledge`` is missing or wrong.
    """
    model, section = MODELS[name], getattr(settings.train, name)
    if model is Knowledge:
        return Knowledge(load_rules(root / section.rules))
    return model(section, settings.seed) if model in SEEDED else model(section)


def load_model(folder: str | Path) -> Recommender:
    """Return the model of ``folder``, of whatever kind it is."""
    name = json.loads((Path(folder) / "model.json").read_text())["name"]
    return MODELS[name].load(folder)
