"""Common interface of all recommenders, and the optional capabilities of a model as Protocols.

A recommender is a function of a *history*, not of a trained user: the second click of a new user
already counts, and nothing is trained again for it.

    model = ItemNeighbours(settings.train.item_neighbours).fit(train, catalogue)
    ids, scores = model.recommend(histories, k=10)     # (batch, 10) each
    model.save("models/candidates/item_neighbours")
    model = ItemNeighbours.load("models/candidates/item_neighbours")

A new model is a subclass with ``name``, ``section``, ``fit`` and ``score``; attributes named in
``learned`` are saved and loaded. What a model can do beyond that, it shows by having the methods of
a Protocol below. No other code asks for a model's name or class to know what it can do.

Models are saved as safetensors and JSON, never as pickle: a model folder may come from another
machine.
"""

from __future__ import annotations

import copy
import json
import mmap
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from safetensors.numpy import save_file

from components.arrays import (
    AnyArray,
    BoolArray,
    DoubleArray,
    FloatArray,
    Int32Array,
    Int64Array,
    IntArray,
    RealArray,
)
from components.data.dataset import Catalogue, Histories, Interactions
from components.data.impressions import Log
from components.recommenders.kernels.repeats import Repeats
from components.settings import Event, ModelSection, current_model_name

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""The dtypes of saved arrays, by their names in a safetensors file."""

MISSING = -1
"""The id ``recommend`` fills with where there are fewer than k items to give."""


class TooLittleFeedback(ValueError):
    """There are too few served lists to learn from; the message says how to get them."""


class Recommender(ABC):
    """Base of all recommenders.

    settings: the model's section of ``train``. seed: of whatever is drawn at random.
    """

    name: ClassVar[str]
    """As in ``train.candidates`` and in saved folders."""
    section: ClassVar[type[ModelSection]]
    """The type of ``settings``."""
    search_space: ClassVar[dict[str, Any]] = {}
    """What ``bowerbird tune`` searches (see ``search_space``); empty: nothing."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes, arrays, that ``fit`` sets and ``save`` writes."""
    vetoes: ClassVar[bool] = False
    """Whether a score of -inf excludes the item for every model of the hybrid."""
    trains_in_processes: ClassVar[bool] = False
    """Whether ``fit`` shares its work among the processes that ``torchrun`` started."""
    cold_start_weight: float = 0.0
    """Weight on the mean score of a cold item's nearest warm items, by which the cold-start
    wrapper scores items added after training; 0: they get the model's lowest score."""

    def __init__(self, settings: Any, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    @property
    def trained(self) -> Recommender:
        """The model as it was fitted: this one, unless it wraps another."""
        return self

    @classmethod
    def from_settings(cls, section: Any, seed: int, root: Path) -> Self:
        """Return the unfitted model. section: its section of ``train``. root: of relative paths."""
        return cls(section, seed)

    @abstractmethod
    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn from ``train`` and return self."""

    @abstractmethod
    def score(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, items): higher is better, -inf means never.

        The candidate generator takes the lowest finite score of a row to mean that the model knows
        nothing of the item, and proposes no item that has it. So a model gives all items on which
        it has no evidence the same score, and evidence for an item a higher one. Where weights can
        be negative, as in EASE, an item can also score lower. A model with evidence on every item
        loses only its last one.
        """

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): the scores of ``items``, codes (n,), and of no others.

        For catalogues too large to be scored whole: models override it where they can score a few
        items without scoring all.
        """
        return self.score(histories)[:, items]

    def arrays(self) -> dict[str, AnyArray]:
        """Return the learned arrays by name, for ``save``."""
        return {name: getattr(self, name) for name in self.learned}

    def config(self) -> dict[str, Any]:
        """Return what else ``from_saved`` needs, as JSON can hold it."""
        return {"settings": self.settings.model_dump(mode="json"), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, AnyArray]) -> Self:
        """Return the model that ``config`` and ``arrays`` describe."""
        model = cls(cls.section(**config["settings"]), config.get("seed", 0))
        model.restore(config, arrays)
        return model

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        """Set what ``fit`` learned from what ``config`` and ``arrays`` returned."""
        for name in self.learned:
            setattr(self, name, arrays[name])

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: BoolArray | None = None,
        batch_size: int = 256,
    ) -> tuple[Int32Array, FloatArray]:
        """Return ids int32 (batch, k) and scores float32 (batch, k), best first.

        exclude_seen: leave out the items of each history that it excludes (``Histories.excluded``).
        available: bool (items,); false leaves an item out for all users. Histories are scored
        ``batch_size`` at a time, so memory stays at batch_size × items. Where fewer than k
        items are left: id MISSING and score -inf.
        """
        ids = np.full((len(histories), k), MISSING, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for start in range(0, len(histories), batch_size):
            batch = histories.take(slice(start, start + batch_size))
            dense = self.score(batch)
            excluded = batch.excluded(exclude_seen)
            dense[batch.rows()[excluded], batch.items[excluded]] = -np.inf
            if available is not None:
                dense[:, ~available] = -np.inf
            rows = slice(start, start + len(batch))
            ids[rows], scores[rows] = top_k(dense, k)
        return ids, scores

    def save(self, folder: str | Path) -> None:
        """Write the model to ``folder``: model.safetensors and model.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
        save_file(arrays, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps({"name": self.name, **self.config()}))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model ``save`` wrote to ``folder``.

        Raises:
            ValueError: the folder holds another kind of model, or its arrays are damaged.
        """
        folder = Path(folder)
        config = json.loads((folder / "model.json").read_text())
        found = current_model_name(config.pop("name"))
        if found != cls.name:
            raise ValueError(f"{folder} holds a {found} model, not {cls.name}")
        return cls.from_saved(config, mapped_arrays(folder / "model.safetensors"))


@runtime_checkable
class HasItemVectors(Protocol):
    """Scores by the inner product of a query and item vectors, which are indexed (HNSW) on large
    catalogues."""

    def item_vectors(self) -> FloatArray:
        """Return float32 (items, d)."""

    def queries(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, d): the scores are their inner products with the vectors."""


@runtime_checkable
class EmbedsText(Protocol):
    """Places an item among the others by its text alone, items added after training included."""

    def embed_text(self, vectors: FloatArray) -> FloatArray:
        """Return float32 (n, d), in the space of ``item_vectors``. vectors: the language model's,
        float32 (n, width)."""


@runtime_checkable
class RanksNewcomers(Protocol):
    """Ranks items for users without a history, by what else is known of them."""

    def knows(self, histories: Histories) -> BoolArray:
        """Return bool (batch,): of which users something is known besides the history."""


@runtime_checkable
class FindsNearestItems(Protocol):
    """Finds the best items of one history without scoring the whole catalogue."""

    def nearest_items(self, history: Histories, n: int) -> Int64Array:
        """Return int64 (≤ n,) item codes in no order, for a batch of one history."""


@runtime_checkable
class FindsSimilarItems(Protocol):
    """Tells which items are similar to given items: one of the models behind ``/similar``."""

    def score_similar(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): how similar each of ``items``, codes (n,), is to the items
        of each history; the lowest score of a row means *not similar*."""


@runtime_checkable
class FindsCompanions(Protocol):
    """Tells which items are bought together with given items: what goes with them."""

    def score_companions(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): how often each of ``items``, codes (n,), is bought with the
        items of each history; the lowest score of a row means *not together*."""


@runtime_checkable
class HasItemPopularity(Protocol):
    """Has one popularity of each item, the same for all users."""

    def item_popularity(self) -> FloatArray:
        """Return float32 (items,)."""


@runtime_checkable
class KnowsRepeats(Protocol):
    """Knows when an item of a history is due again: reasons, and features of the ranker."""

    repeat_rate: FloatArray
    """float32 (items,): the share of an item's buyers who bought it again."""
    only_purchases: bool
    """Whether all events that it learned from are purchases."""

    @property
    def ranker_features(self) -> bool:
        """Whether the ranker gets ``two_stage.repeat_features``."""

    def repeats(self, histories: Histories) -> Repeats:
        """Return how often and when the items of each history were chosen."""

    def intervals(self, found: Repeats) -> DoubleArray:
        """Return float64 (entries,): the days between two purchases of an item of a history."""


@runtime_checkable
class CanExtend(Protocol):
    """Covers items added after training by itself; other models get the cold-start wrapper."""

    def extended(self, catalogue: Catalogue) -> Recommender:
        """Return the model for ``catalogue``: the items it was fitted on, then new ones."""


@runtime_checkable
class Refreshable(Protocol):
    """Keeps a part of what it learned when data is added; other models are fitted again."""

    def refreshed(self, train: Interactions, catalogue: Catalogue, known: IntArray) -> Recommender:
        """Return the model for all data so far, without a training.

        train: old and new interactions, in the codes of ``catalogue``. known: int (items,), the
        code that each item has in this model, MISSING for a new item.
        """


@runtime_checkable
class NeedsLoggedFeedback(Protocol):
    """Learns from served lists and what came of them, starting from another candidate."""

    def base_name(self) -> str:
        """Return the name of the candidate that it starts from."""

    def event_rewards(self) -> dict[Event, float]:
        """Return the reward of each kind of event on a shown item."""

    def check_log(self, log: Log) -> None:
        """Raise ``TooLittleFeedback`` if nothing can be learned from ``log``."""

    def start_from(self, base: Recommender, log: Log | None = None) -> None:
        """Take the fitted base and, before ``fit``, the log."""


@runtime_checkable
class KeepsCheckpoint(Protocol):
    """Trains for so long that an interrupted training is continued from a checkpoint."""

    def keep_checkpoint(self, file: Path) -> None:
        """Write a checkpoint to ``file`` while fitting, and continue from the one there."""


@runtime_checkable
class ReadsFiles(Protocol):
    """Is made from files besides the prepared tables; when they change it is fitted again."""

    def input_files(self, root: Path) -> list[Path]:
        """Return the files. root: of relative paths."""


@runtime_checkable
class ExplainsByRules(Protocol):
    """Scores by rules that the shop wrote, which are also the explanation."""

    @property
    def rules(self) -> Any:
        """The rules (``models.rules.Rules``)."""

    def score(self, histories: Histories) -> FloatArray:
        """As ``Recommender.score``: -inf where a rule forbids the item."""

    def explain(self, histories: Histories, items: IntArray) -> list[list[str]]:
        """Return the names of the rules that offer item b to history b. items: int (batch,)."""


def refreshed(
    model: Recommender, train: Interactions, catalogue: Catalogue, known: IntArray
) -> Recommender:
    """Return a fitted model for all data so far: see ``Refreshable``. ``model`` stays as it is."""
    if isinstance(model, Refreshable):
        return model.refreshed(train, catalogue, known)
    return copy.copy(model).fit(train, catalogue)


def carried_rows(array: FloatArray, known: IntArray) -> FloatArray:
    """Return float32 (items, ...): the rows of ``array`` at ``known``, 0 where it is MISSING.

    >>> carried_rows(np.array([[1.0], [2.0]]), np.array([1, MISSING])).tolist()
    [[2.0], [0.0]]
    """
    rows = np.zeros((len(known), *array.shape[1:]), dtype=np.float32)
    there = known != MISSING
    rows[there] = array[known[there]]
    return rows


def mapped_arrays(file: str | Path) -> dict[str, AnyArray]:
    """Return the arrays of a safetensors file by name, read-only, mapped from the file.

    Processes share the memory of what they read; ``safetensors.numpy.load_file`` makes a copy in
    each. The format: eight bytes (the length of a JSON header), the header, the arrays.

    Raises:
        ValueError: the file is damaged or not of that format.
    """
    try:
        with Path(file).open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        content.madvise(mmap.MADV_WILLNEED)  # read ahead of the first request
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        arrays = {}
        for name, one in header.items():
            first, last = one["data_offsets"]
            flat = np.frombuffer(content, np.uint8, last - first, start + first)
            arrays[name] = flat.view(DTYPES[one["dtype"]]).reshape(one["shape"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{file} is not a complete safetensors file: {error!r}") from error
    return arrays


def top_k(scores: RealArray, k: int) -> tuple[Int32Array, FloatArray]:
    """Return ids int32 and scores float32, both (batch, k), of each row's k best, best first.

    Equal scores come in order of their ids, so that two runs agree. Where a row has fewer than k
    scores above -inf the rest is MISSING and -inf.

    >>> top_k(np.array([[0.1, 0.9, -np.inf, 0.5]]), k=2)[0].tolist()
    [[1, 3]]
    """
    batch, n_items = scores.shape
    width = min(k, n_items)
    part = np.argpartition(-scores, width - 1, axis=1)[:, :width] if width < n_items else None
    if part is None:
        part = np.broadcast_to(np.arange(n_items), scores.shape)
    values = np.take_along_axis(scores, part, axis=1)
    order = np.lexsort((part, -values), axis=1)
    ids = np.full((batch, k), MISSING, dtype=np.int32)
    best = np.full((batch, k), -np.inf, dtype=np.float32)
    ids[:, :width] = np.take_along_axis(part, order, axis=1)
    best[:, :width] = np.take_along_axis(values, order, axis=1)
    ids[~np.isfinite(best)] = MISSING
    return ids, best
