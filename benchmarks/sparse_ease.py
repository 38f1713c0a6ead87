"""Sparse EASE and CEASE: compiled look-ups against SciPy's indexing: results/sparse_ease.md.

    python -m benchmarks.sparse_ease SHOP [SHOP ...]     # folders with data/prepared

Each item's linear system is filled from the Gram matrix. ``kernels.sparse.submatrices`` does so in
compiled code; the earlier form indexed the SciPy matrix with arrays of rows and columns, a batch of
items at a time. SciPy reads the whole matrix each time to check it, which takes hours where it is
large: there the earlier form solves one batch in SAMPLED, and the seconds of its look-ups are
scaled to all items.

Both fit EASE and CEASE on all events before the test window, one after the other, each in a process
of its own. Reported: the processor seconds of the whole ``fit``, the seconds of the wall clock
unless scaled, the peak memory of the process, and the largest difference of two weights of the
items that both solved (CEASE without ``cold_boost``, which adds columns to others).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp

from components.arrays import FloatArray, IntArray
from components.data.dataset import load_prepared
from components.recommenders.factory import build, load_model
from components.recommenders.models import ease
from components.settings import load_settings

RESULTS = Path("benchmarks/results/sparse_ease.md")
MODELS = ("ease", "cease")
FORMS = ("SciPy", "compiled")
LARGE = 10_000
"""Items from which on the earlier form solves one batch in SAMPLED."""
SAMPLED = 90


@dataclass(frozen=True)
class Cost:
    """What a fit took. share: of the items, that were solved."""

    wall: float
    processor: float
    mib: int
    share: float


def indexed_submatrices(
    matrix: sp.csr_matrix, columns: IntArray, supports: IntArray, sizes: IntArray
) -> tuple[FloatArray, FloatArray]:
    """As ``kernels.sparse.submatrices``, by SciPy's indexing: the form that it replaced."""
    width = supports.shape[1]
    mask = np.arange(width) < sizes[:, None]
    i, j = np.tril_indices(width, -1)
    left = np.zeros((*supports.shape, width), dtype=np.float32)
    lower = _entries(matrix, supports[:, i], supports[:, j])
    left[:, i, j] = lower * (mask[:, i] & mask[:, j])
    right = _entries(matrix, supports, np.broadcast_to(columns[:, None], supports.shape)) * mask
    return left, right


def _entries(matrix: sp.csr_matrix, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return float32, shaped as ``rows`` and ``columns``: the entries of ``matrix`` there."""
    return np.asarray(matrix[rows.ravel(), columns.ravel()]).reshape(rows.shape)


def fitted(form: str, name: str, shop: Path, folder: Path) -> Cost:
    """Fit the sparse form of a model, save it to ``folder``, and return the cost of ``fit``."""
    prepared = load_prepared(shop / "data/prepared")
    train = prepared.interactions.where(prepared.interactions.times < prepared.test_start)
    model = build(name, load_settings())
    changes = {"form": "sparse"}
    if name == "cease":  # columns of sold items would be added to those of unsold ones
        changes |= {"cold_boost": 0.0}
    model.settings = model.settings.model_copy(update=changes)
    look_up = indexed_submatrices if form == "SciPy" else ease.submatrices
    step = SAMPLED if form == "SciPy" and len(prepared.catalogue) > LARGE else 1
    every_batch, looked_up, share = ease._batches, [], 1.0

    def timed(*arguments: IntArray) -> tuple[FloatArray, FloatArray]:
        began = time.thread_time()
        found = look_up(*arguments)
        looked_up.append(time.thread_time() - began)
        return found

    def some_batches(sizes: IntArray) -> list[IntArray]:
        nonlocal share
        batches = every_batch(sizes)
        chosen = batches[step // 2 :: step]
        share = sum(map(len, chosen)) / sum(map(len, batches))
        return chosen

    wall, processor = time.perf_counter(), time.process_time()
    with patch.object(ease, "submatrices", timed), patch.object(ease, "_batches", some_batches):
        model.fit(train, prepared.catalogue)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    model.save(folder)
    return Cost(wall, processor + sum(looked_up) * (1 / share - 1), mib, share)


def difference(one: Path, other: Path) -> float:
    """Return the largest difference of two weights of two saved models, of the columns that the
    first one has."""
    first, second = (load_model(folder).weights for folder in (one, other))
    solved = np.diff(abs(first).tocsc().indptr) > 0
    solved &= np.asarray(abs(first).sum(axis=0)).ravel() > 0
    return float(abs((first - second)[:, np.flatnonzero(solved)]).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", type=Path)
    lines = [
        "# Sparse EASE and CEASE",
        "",
        "Made by `python -m benchmarks.sparse_ease`, whose docstring gives the protocol; "
        f"{os.cpu_count()} cores.",
        "",
        "| shop | items | model | look-ups | processor seconds | seconds | peak MiB | "
        "largest difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    spawn = multiprocessing.get_context("spawn")
    for shop in parser.parse_args().shops:
        n_items = len(load_prepared(shop / "data/prepared").catalogue)
        for name in MODELS:
            with tempfile.TemporaryDirectory(prefix="bowerbird-") as folder:
                places = {form: Path(folder) / form for form in FORMS}
                for form, place in places.items():
                    with spawn.Pool(1) as pool:
                        cost = pool.apply(fitted, (form, name, shop, place))
                    wall = f"{cost.wall:.0f}" if cost.share == 1 else f"{cost.share:.1%} of items"
                    apart = "" if form == FORMS[0] else f"{difference(*places.values()):.1e}"
                    lines.append(
                        f"| {shop.name} | {n_items:,} | {name} | {form} | {cost.processor:.0f} | "
                        f"{wall} | {cost.mib:,} | {apart} |"
                    )
                    print(lines[-1], flush=True)
    RESULTS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
