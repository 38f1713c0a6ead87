"""The one face of every recommender.

A recommender is a function of a *history*, not of a trained user: a new shopper's second click
already counts and nothing is retrained for it.

    model = ItemNeighbours(settings.train.item_neighbours).fit(train, catalogue)
    ids, scores = model.recommend(histories, k=10)     # (batch, 10) each
    model.save("models/candidates/item_neighbours")
    model = ItemNeighbours.load("models/candidates/item_neighbours")

Subclasses write ``fit``, ``score``, ``arrays``/``config`` and ``from_saved``. What is saved is
safetensors and JSON, never pickle: a model folder may come from another machine.
"""

from __future__ import annotations

import json
import mmap
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors.numpy import save_file

from components.data.dataset import Catalogue, Histories, Interactions

DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""The types of our arrays, by their names in a safetensors file."""

MISSING = -1
"""The id ``recommend`` fills with where there are fewer than k items to give."""


class Recommender(ABC):
    """Base of all recommenders: ``score`` is theirs, ``recommend``, ``save``, ``load`` are here."""

    name: ClassVar[str]
    forbids: ClassVar[bool] = False
    """Whether its -inf holds for everybody: the hybrid then shows such an item of no model."""
    unsold_share: float = 0.0
    """The share that an item nobody has bought has of the scores of those most alike to it, where
    the model learned so of such items in training; 0: it has nothing to say of them."""

    @abstractmethod
    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn from ``train`` and return self."""

    @abstractmethod
    def score(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, items): higher is better, -inf means never."""

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        """Return float32 (batch, n): the scores of ``items``, codes (n,), and of no others.

        For catalogues too large to be scored whole: models that can, score less than all.
        """
        return self.score(histories)[:, items]

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the learned arrays by name (for ``save``)."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return what else ``from_saved`` needs, as JSON can hold it."""

    @classmethod
    @abstractmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the model that ``config`` and ``arrays`` describe."""

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: np.ndarray | None = None,
        batch_size: int = 256,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ids int32 (batch, k) and scores float32 (batch, k), best first.

        exclude_seen: leave out the items of each history. available: bool (items,), false leaves
        an item out for everybody. Users are taken ``batch_size`` at a time, so memory stays at
        batch_size × items. Where fewer than k items are left, id MISSING and score -inf.
        """
        ids = np.full((len(histories), k), MISSING, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for start in range(0, len(histories), batch_size):
            batch = histories.take(slice(start, start + batch_size))
            dense = self.score(batch)
            if exclude_seen:
                dense[batch.rows(), batch.items] = -np.inf
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
            ValueError: the folder holds another kind of model.
        """
        folder = Path(folder)
        config = json.loads((folder / "model.json").read_text())
        found = config.pop("name")
        if found != cls.name:
            raise ValueError(f"{folder} holds a {found} model, not {cls.name}")
        return cls.from_saved(config, mapped_arrays(folder / "model.safetensors"))


def mapped_arrays(file: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file by name, read-only, mapped from the file.

    What is read of them is in memory once for all processes; ``safetensors.numpy.load_file`` makes
    a copy in each. The format: eight bytes, the length of a JSON header, the header, the arrays.

    Raises:
        ValueError: the file is damaged or not of that format.
    """
    try:
        with Path(file).open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        content.madvise(mmap.MADV_WILLNEED)  # read ahead: the first to ask should not wait for it
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        arrays = {}
        for name, one in header.items():
            first, last = one["data_offsets"]
            flat = np.frombuffer(content, np.uint8, last - first, start + first)
            arrays[name] = flat.view(DTYPES[one["dtype"]]).reshape(one["shape"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{file} is no whole safetensors file: {error!r}") from error
    return arrays


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids int32 and scores float32, both (batch, k), of each row's k best, best first.

    Equal scores come in order of their ids, so that two runs agree. Where a row has fewer than k
    scores above -inf the rest is MISSING and -inf.
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
