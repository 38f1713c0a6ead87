"""Registration of recommenders: by name to class, to an unfitted model, to a saved one.

The only module that knows the concrete classes. A new recommender is one module in ``models``, one
line in the tuple below and one section in ``components.settings.Train``. Recommenders of other
packages call ``register``, which brings their section too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from components.recommenders.base import NeedsLoggedFeedback, Recommender
from components.recommenders.models.als import MatrixFactorisation, RatingFactorisation
from components.recommenders.models.cease import CEASE
from components.recommenders.models.content import Content
from components.recommenders.models.cross_encoder import DistilledCrossEncoder
from components.recommenders.models.demographic import Demographic
from components.recommenders.models.ease import EASE
from components.recommenders.models.knn import ItemNeighbours, UserNeighbours
from components.recommenders.models.off_policy.model import Policy
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.repeat import RepeatPurchases
from components.recommenders.models.rules import RuleBased
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.models.tfidf import TFIDF
from components.settings import (
    Settings,
    current_model_name,
    register_section,
    unregister_section,
    warn_renamed,
)

MODELS: dict[str, type[Recommender]] = {}
"""The registered recommenders by name."""


def register(model: type[Recommender]) -> None:
    """Make a recommender known: to the settings, to the stages and to serving.

    Call it before the settings are loaded, since ``train.candidates`` may then name the model.

    Raises:
        ValueError: another recommender has the name.
    """
    if MODELS.setdefault(model.name, model) is not model:
        raise ValueError(f"{model.name} is the name of {MODELS[model.name].__qualname__} already")
    register_section(model.name, model.section)


def unregister(name: str) -> None:
    """Take back ``register``."""
    MODELS.pop(name, None)
    unregister_section(name)


for _model in (
    Popularity,
    Demographic,
    ItemNeighbours,
    UserNeighbours,
    MatrixFactorisation,
    RatingFactorisation,
    EASE,
    CEASE,
    RepeatPurchases,
    Content,
    TFIDF,
    RuleBased,
    Sequential,
    DistilledCrossEncoder,
    Policy,
):
    register(_model)


def registered(name: str) -> type[Recommender]:
    """Return the class of a recommender.

    Raises:
        ValueError: no recommender has the name.
    """
    if name not in MODELS:
        raise ValueError(f"there is no recommender {name!r}; there are: {', '.join(MODELS)}")
    return MODELS[name]


def build(name: str, settings: Settings, root: Path = Path()) -> Recommender:
    """Return the unfitted model ``name`` with its section of ``train``.

    Raises:
        ValueError: no recommender has the name.
        RulesError: the rules file is missing or wrong.
    """
    return registered(name).from_settings(settings.train.section(name), settings.seed, root)


def needs_log(name: str) -> bool:
    """Return whether the recommender learns from served lists."""
    return issubclass(registered(name), NeedsLoggedFeedback)


def load_model(folder: str | Path) -> Recommender:
    """Return the fitted model of ``folder``, of any kind.

    Raises:
        ValueError: no recommender has the name that the folder gives.
    """
    folder = Path(folder)
    saved = json.loads((folder / "model.json").read_text())["name"]
    model = registered(current_model_name(saved)).load(folder)
    if isinstance(model, NeedsLoggedFeedback):
        model.start_from(load_model(folder / "base"))
    return model


def load_models(folder: str | Path, names: Iterable[str]) -> dict[str, Recommender]:
    """Return the fitted models of the folders ``names`` in ``folder``, by their current names.

    Warns once if names are those of an earlier version.
    """
    names = list(names)
    warn_renamed(folder, names)
    return {current_model_name(name): load_model(Path(folder) / name) for name in names}
