"""What every peer's adapter has: training data, the interface, and lists from scores.

Read by the peers' own Pythons: NumPy and SciPy only.
"""

from __future__ import annotations

import json
import pickle
import resource
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

MISSING = -1
K, SINGLES = 10, 20
ROWS = 512
"""Users whose scores are held at once."""


@dataclass(frozen=True)
class Train:
    """Interactions to learn from, by user and, of a user, in order of time.

    users, items, places: int (events,); places: 0 for a user's first event. Codes are below
    ``n_users`` and ``n_items``.
    """

    users: np.ndarray
    items: np.ndarray
    places: np.ndarray
    n_users: int
    n_items: int

    def matrix(self) -> sp.csr_matrix:
        """Return float32 CSR (n_users, n_items): 1 at every pair that met."""
        matrix = self.counts()
        matrix.data[:] = 1
        return matrix

    def counts(self) -> sp.csr_matrix:
        """Return float32 CSR (n_users, n_items): events of every pair that met."""
        ones = np.ones(len(self.users), dtype=np.float32)
        shape = (self.n_users, self.n_items)
        return sp.csr_matrix((ones, (self.users, self.items)), shape=shape)

    def offsets(self) -> np.ndarray:
        """Return int (n_users + 1,): where each user's events start."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.users, minlength=self.n_users))])


class Peer(ABC):
    """One model of another library.

    The constructor takes its options. ``prepare`` turns the data into the library's own form and
    is not timed, ``fit`` is.
    """

    def prepare(self, train: Train) -> None:
        self.train = train

    @abstractmethod
    def fit(self) -> None:
        """Fit the model on the prepared data."""

    @abstractmethod
    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        """Return int (len(users), k): item codes, best first, MISSING where a list is short."""

    def save(self, folder: Path) -> None:
        """Write what the lists need: the library's own form, here a pickle of ``self.model``."""
        with (folder / "model.pickle").open("wb") as file:
            pickle.dump(self.model, file)  # type: ignore[attr-defined]


class Scores(Peer):
    """A model whose library gives scores; the lists are made here, in one way for all of them."""

    @abstractmethod
    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return float (len(users), n_items), -inf for items that the model does not know."""

    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        seen = self._seen if exclude_seen else None
        parts = []
        for start in range(0, len(users), ROWS):
            some = users[start : start + ROWS]
            scores = np.array(self.scores(some), dtype=np.float32)
            if seen is not None:
                scores[seen[some].nonzero()] = -np.inf
            parts.append(best(scores, k))
        return np.concatenate(parts)

    @cached_property
    def _seen(self) -> sp.csr_matrix:
        return self.train.matrix()


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return int (rows, k): each row's k highest finite scores, best first; of equal scores the
    lower code. MISSING fills rows with fewer.

    >>> best(np.array([[0.1, 0.3, -np.inf]]), 3).tolist()
    [[1, 0, -1]]
    """
    k_found = min(k, scores.shape[1])
    near = np.sort(np.argpartition(-scores, k_found - 1, axis=1)[:, :k_found], axis=1)
    values = np.take_along_axis(scores, near, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ids = np.take_along_axis(near, order, axis=1)
    ids[~np.isfinite(np.take_along_axis(values, order, axis=1))] = MISSING
    return np.pad(ids, ((0, 0), (0, k - k_found)), constant_values=MISSING)


def write_train(file: Path, train: Train, **more: Any) -> None:
    """Write the training data, and other arrays, for ``run.py``."""
    sizes = {"n_users": train.n_users, "n_items": train.n_items}
    np.savez(file, users=train.users, items=train.items, places=train.places, **sizes, **more)


def read_train(arrays: Any) -> Train:
    """Return the training data of the arrays that ``write_train`` wrote."""
    events = (arrays["users"], arrays["items"], arrays["places"])
    return Train(*events, int(arrays["n_users"]), int(arrays["n_items"]))


def options_of(text: str) -> dict[str, Any]:
    """Return the options of a command line."""
    options: dict[str, Any] = json.loads(text)
    return options


def clocks() -> np.ndarray:
    """Return the seconds of the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def measured(peer: Peer, train: Train, users: np.ndarray, exclude_seen: bool) -> dict[str, Any]:
    """Fit a peer and make the lists.

    Returns ``ids`` (users, K); ``seconds`` of the fit, ``list_seconds`` of all lists in one call
    and ``single_seconds`` a list of SINGLES users in a call each, (2,) by clock and processor;
    ``bytes`` of the saved model; ``peak``, the process's memory in MiB.
    """
    peer.prepare(train)
    began = clocks()
    peer.fit()
    seconds = clocks() - began
    began = clocks()
    ids = peer.lists(users, K, exclude_seen)
    list_seconds = clocks() - began
    some = users[np.linspace(0, len(users) - 1, min(SINGLES, len(users)), dtype=int)]
    began = clocks()
    for user in some:
        peer.lists(np.array([user]), K, exclude_seen)
    single_seconds = (clocks() - began) / len(some)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        peer.save(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return {
        "ids": ids,
        "seconds": seconds,
        "list_seconds": list_seconds,
        "single_seconds": single_seconds,
        "bytes": size,
        "peak": peak,
    }
