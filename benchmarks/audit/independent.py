"""Lists as files in TREC's format, and their evaluation by trec_eval.

In: lists and targets. Out: ``run.txt`` and ``qrels.txt``, and the means that trec_eval (through
ir_measures) computes from them, which know nothing of our code.
"""

from __future__ import annotations

from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import Success, nDCG

from components.arrays import Int32Array
from components.data.holdout import Task
from components.recommenders.base import MISSING


def write_run(ids: Int32Array, file: Path) -> None:
    """Write lists (users, k) as ``user Q0 item rank score tag``; users without a list are left out,
    as TREC has it."""
    rows, places = np.nonzero(ids != MISSING)
    items = ids[rows, places]
    file.write_text(
        "".join(
            f"u{user} Q0 i{item} {place + 1} {ids.shape[1] - place} audit\n"
            for user, item, place in zip(
                rows.tolist(), items.tolist(), places.tolist(), strict=True
            )
        )
    )


def write_qrels(task: Task, file: Path) -> None:
    """Write targets as ``user 0 item 1``."""
    rows, items = task.targets.nonzero()
    pairs = zip(rows.tolist(), items.tolist(), strict=True)
    file.write_text("".join(f"u{user} 0 i{item} 1\n" for user, item in pairs))


def trec_eval(run: Path, qrels: Path) -> dict[str, float]:
    """Return NDCG and hit rate at 10, means over the users of ``qrels``."""
    wanted = ir_measures.read_trec_qrels(str(qrels))  # type: ignore[no-untyped-call]
    lists = ir_measures.read_trec_run(str(run))  # type: ignore[no-untyped-call]
    found = ir_measures.calc_aggregate([nDCG @ 10, Success @ 10], wanted, lists)
    return {"ndcg@10": found[nDCG @ 10], "hr@10": found[Success @ 10]}
