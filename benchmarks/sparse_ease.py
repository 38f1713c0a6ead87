"""Sparse EASE and CEASE: blocks of items against the whole Gram matrix: results/sparse_ease.md.

    python -m benchmarks.sparse_ease SHOP [SHOP ...]     # folders with data/prepared

The earlier form held the Gram matrix of all pairs of items with a common user, and looked the
entries of each item's linear system up in it. ``solve_sparse`` computes rows of it when they are
needed: once to choose neighbours, and once for each block of items whose systems need them.

Both fit EASE and CEASE on all events before the test window, in turn, each in a process of its own.
Reported: the processor seconds of the whole ``fit``, the seconds of the wall clock, the peak memory
of the process and what it had before ``fit``, and the largest difference of two weights.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
import torch
from sparse_dot_topn import sp_matmul_topn
from threadpoolctl import threadpool_limits

from components.arrays import FloatArray, IntArray
from components.data.dataset import load_prepared
from components.recommenders.factory import build, load_model
from components.recommenders.kernels.jit import compiled
from components.recommenders.models import ease
from components.settings import load_settings

RESULTS = Path("benchmarks/results/sparse_ease.md")
MODELS = ("ease", "cease")
FORMS = ("whole", "blocks")
SCANNED = 50
"""Entries of a row for each one that is looked up, up to which it is read as a whole; longer rows
are searched by bisection."""


@dataclass(frozen=True)
class Cost:
    """What a fit took."""

    wall: float
    processor: float
    before_mib: int
    mib: int


def solve_by_whole_gram(
    matrix: sp.csr_matrix, regularisation: float, neighbours: int
) -> sp.csr_matrix:
    """As ``ease.solve_sparse``: the form that it replaced."""
    n_items = matrix.shape[1]
    gram = (matrix.T.tocsr() @ matrix).tocsr()
    gram.sort_indices()
    diagonal = gram.diagonal()
    scale = sp.diags(1 / np.sqrt(diagonal + np.float32(regularisation)))
    best = sp_matmul_topn(gram, scale.tocsr(), neighbours + 1, n_threads=os.cpu_count())
    best.sort_indices()
    columns = np.repeat(np.arange(n_items), np.diff(best.indptr))
    others = best.indices != columns
    columns, rows = columns[others], best.indices[others]
    sizes = np.bincount(columns, minlength=n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    values = np.zeros(len(rows), dtype=np.float32)

    def solve(batch: IntArray) -> int:
        """Fill ``values`` of the columns ``batch``, which are of similar sizes."""
        place = np.arange(sizes[batch].max())
        mask = place < sizes[batch][:, None]  # (b, width): shorter systems are padded
        at = np.where(mask, starts[batch][:, None] + place, 0)
        support = rows[at]
        left, right = submatrices(gram, batch, support, sizes[batch])
        left[:, place, place] = np.where(mask, diagonal[support] + regularisation, 1.0)
        factor = torch.linalg.cholesky(torch.from_numpy(left))  # reads the lower triangle alone
        solved = torch.cholesky_solve(torch.from_numpy(right)[..., None], factor)[..., 0]
        values[at[mask]] = solved.numpy()[mask]
        return len(batch)

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(solve, _batches(sizes)))
    return sp.csr_matrix((values, (rows, columns)), shape=(n_items, n_items))


def _batches(sizes: IntArray) -> list[IntArray]:
    """Return the columns of ``sizes`` above 0 in batches of similar sizes, at most SYSTEM_NUMBERS
    numbers each."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    batches: list[IntArray] = []
    done = 0
    while done < len(order):
        step = max(
            1, ease.SYSTEM_NUMBERS // int(sizes[order[min(done + 2000, len(order)) - 1]]) ** 2
        )
        batches.append(order[done : done + min(step, 2000)])
        done += len(batches[-1])
    return batches


def submatrices(
    matrix: sp.csr_matrix, columns: IntArray, supports: IntArray, sizes: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return float32 (b, n, n) and (b, n): of each ``column`` c the entries of a symmetric matrix
    between the items of its support, below the diagonal, and those in row c; elsewhere 0.

    matrix: float32 CSR with sorted indices. columns: int (b,). supports: int (b, n), of which the
    first ``sizes[b]``, ascending, count.
    """
    left = np.zeros((*supports.shape, supports.shape[1]), dtype=np.float32)
    right = np.zeros(supports.shape, dtype=np.float32)
    of_matrix = (matrix.data, matrix.indices, matrix.indptr)
    _fill_submatrices(*of_matrix, columns, supports, sizes, left, right)
    return left, right


@compiled
def _fill_submatrices(  # type: ignore[no-untyped-def]
    data, indices, indptr, columns, supports, sizes, left, right
):
    places = np.full(len(indptr) - 1, -1, np.int32)  # of the items of the support
    for at in range(len(columns)):
        own = supports[at, : sizes[at]]
        for place in range(len(own)):
            places[own[place]] = place
        _pick(data, indices, indptr, columns[at], own, places, right[at])
        for place in range(1, len(own)):
            _pick(data, indices, indptr, own[place], own[:place], places, left[at, place])
        for item in own:
            places[item] = -1


@compiled
def _pick(data, indices, indptr, row, wanted, places, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the entries of a row in the columns ``wanted``, ascending."""
    start, stop = indptr[row], indptr[row + 1]
    if stop - start <= SCANNED * len(wanted):
        for entry in range(start, stop):
            if indices[entry] > wanted[-1]:
                break
            place = places[indices[entry]]
            if place >= 0:
                out[place] = data[entry]
        return
    for place in range(len(wanted)):
        start += np.searchsorted(indices[start:stop], wanted[place])
        if start < stop and indices[start] == wanted[place]:
            out[place] = data[start]


def fitted(form: str, name: str, shop: Path, folder: Path) -> Cost:
    """Fit the sparse form of a model, save it to ``folder``, and return the cost of ``fit``."""
    prepared = load_prepared(shop / "data/prepared")
    train = prepared.interactions.where(prepared.interactions.times < prepared.test_start)
    model = build(name, load_settings())
    model.settings = model.settings.model_copy(update={"form": "sparse"})
    solve = solve_by_whole_gram if form == "whole" else ease.solve_sparse
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    wall, processor = time.perf_counter(), time.process_time()
    with patch.object(ease, "solve_sparse", solve):
        model.fit(train, prepared.catalogue)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    model.save(folder)
    return Cost(wall, processor, before, mib)


def difference(one: Path, other: Path) -> float:
    """Return the largest difference of two weights of two saved models."""
    first, second = (load_model(folder).weights for folder in (one, other))
    return float(abs(first - second).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", type=Path)
    lines = [
        "# Sparse EASE and CEASE",
        "",
        "Made by `python -m benchmarks.sparse_ease`, whose docstring gives the protocol; "
        f"{os.cpu_count()} cores.",
        "",
        "| shop | items | model | Gram matrix | processor seconds | seconds | MiB before | "
        "peak MiB | largest difference |",
        "|---|---|---|---|---|---|---|---|---|",
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
                    apart = "" if form == FORMS[0] else f"{difference(*places.values()):.1e}"
                    lines.append(
                        f"| {shop.name} | {n_items:,} | {name} | {form} | {cost.processor:.0f} | "
                        f"{cost.wall:.0f} | {cost.before_mib:,} | {cost.mib:,} | {apart} |"
                    )
                    print(lines[-1], flush=True)
    RESULTS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
